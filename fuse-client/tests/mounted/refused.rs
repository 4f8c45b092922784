//! Mounts that cannot be made, and what is said about it.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use forebay_fuse_client::{DatasetFs, Mount, MountError, MountOptions, Unmount, unmount};
use rustix::mount::UnmountFlags;

use crate::memory_cache::Fixture;
use crate::mounted::{Mounted, until};

const ENOTCONN: i32 = 107;

fn try_mount(at: &Path) -> Result<Mount, MountError> {
    let fixture = Fixture::new();
    let options = MountOptions::default();
    let fs = DatasetFs::new(fixture.version(&[("a", b"x")]), fixture.cache(), &options);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let mount = Mount::start(Arc::new(fs), at, &options, runtime.handle().clone());
    // Nothing is read through a mount that should not have been made.
    drop(runtime);
    mount
}

#[test]
fn a_mount_point_that_is_taken_is_refused_with_what_is_mounted_there() {
    let mounted = Mounted::new(&[("file", b"x")]);
    let error = try_mount(mounted.mount.mountpoint()).expect_err("taken");
    assert!(
        matches!(error, MountError::AlreadyMounted { .. }),
        "{error}"
    );
    assert!(
        error.to_string().contains("forebay:dataset (fuse.forebay)"),
        "{error}"
    );
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("link");
    symlink(mounted.mount.mountpoint(), &link).unwrap();
    assert!(matches!(
        try_mount(&link),
        Err(MountError::AlreadyMounted { .. })
    ));
    assert_eq!(fs::read(mounted.path("file")).unwrap(), b"x");
}

#[test]
fn a_missing_mount_point_and_a_file_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let missing = try_mount(&dir.path().join("missing")).expect_err("missing");
    assert!(missing.to_string().contains("create it"), "{missing}");
    fs::write(dir.path().join("file"), b"").unwrap();
    let file = try_mount(&dir.path().join("file")).expect_err("a file");
    assert!(matches!(file, MountError::NotADirectory { .. }));
}

#[test]
fn a_directory_that_is_not_empty_is_hidden_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("below"), b"below").unwrap();
    let mount = try_mount(dir.path()).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    assert!(fs::metadata(dir.path().join("a")).is_ok());
    drop(mount);
    assert_eq!(fs::read(dir.path().join("below")).unwrap(), b"below");
}

/// What a crash leaves behind: the mount, and nobody who serves it.
fn abort(mounted: &Mounted) {
    let file = File::open(mounted.path("file")).unwrap();
    // Busy, so that it stays; but the connection is over.
    rustix::mount::unmount(mounted.mount.mountpoint(), UnmountFlags::FORCE).expect_err("in use");
    until("the connection ends", || mounted.mount.has_ended());
    drop(file);
}

#[test]
fn a_mount_that_lost_its_process_is_named_and_can_be_cleared_away() {
    // promise S-31: When the process that serves a mount has died and no keeper has the mount, whatever needs it fails with ENOTCONN and does not hang; `forebay umount` takes the mount away.
    let mounted = Mounted::new(&[("file", b"x")]);
    abort(&mounted);
    let mountpoint = mounted.mount.mountpoint();
    let error = fs::read(mounted.path("file")).expect_err("nobody serves it");
    assert_eq!(error.raw_os_error(), Some(ENOTCONN));
    let error = try_mount(mountpoint).expect_err("stale");
    assert!(matches!(error, MountError::StaleMount { .. }), "{error}");
    assert!(error.to_string().contains("run forebay umount"), "{error}");
    unmount(mountpoint, Unmount::Detach).unwrap();
    try_mount(mountpoint).expect("free again");
}

#[test]
fn a_mount_that_lost_its_connection_is_taken_away_with_the_rest() {
    let mounted = Mounted::new(&[("file", b"x")]);
    abort(&mounted);
    mounted.mount.unmount(Unmount::Clean).unwrap();
    assert_eq!(fs::read_dir(mounted.mount.mountpoint()).unwrap().count(), 0);
}

#[test]
fn a_mount_made_later_at_the_same_place_is_left_alone() {
    let first = Mounted::new(&[("file", b"x")]);
    unmount(first.mount.mountpoint(), Unmount::Clean).unwrap();
    until("the connection ends", || first.mount.has_ended());
    let second = try_mount(first.mount.mountpoint()).unwrap();
    first.mount.unmount(Unmount::Detach).unwrap();
    assert!(!second.has_ended());
    assert!(fs::metadata(second.mountpoint().join("a")).is_ok());
}
