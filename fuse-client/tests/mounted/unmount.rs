//! The end of a mount, at rest and in the middle of things.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use forebay_fuse_client::{MountError, Unmount, mount_at, unmount};

use crate::memory_cache::Serve;
use crate::mounted::{Mounted, SOON, until};

const EIO: i32 = 5;
const ECONNABORTED: i32 = 103;
const ENOTCONN: i32 = 107;

fn is_mounted(mounted: &Mounted) -> bool {
    mount_at(mounted.mount.mountpoint()).unwrap().is_some()
}

#[test]
fn a_mount_that_nobody_uses_unmounts_cleanly() {
    let mounted = Mounted::new(&[("file", b"x")]);
    fs::read(mounted.path("file")).unwrap();
    mounted.mount.unmount(Unmount::Clean).unwrap();
    assert!(!is_mounted(&mounted) && mounted.mount.has_ended());
    assert_eq!(fs::read_dir(mounted.mount.mountpoint()).unwrap().count(), 0);
    // Again is no error.
    mounted.mount.unmount(Unmount::Clean).unwrap();
    mounted.mount.unmount(Unmount::Detach).unwrap();
}

#[test]
fn a_clean_unmount_leaves_a_mount_in_use_alone() {
    // promise S-28: A clean unmount of a mount in use fails and changes nothing.
    let mounted = Mounted::new(&[("file", b"bytes")]);
    let file = File::open(mounted.path("file")).unwrap();
    let error = mounted.mount.unmount(Unmount::Clean).expect_err("in use");
    assert!(matches!(error, MountError::InUse { .. }), "{error}");
    let mut buffer = [0; 5];
    file.read_exact_at(&mut buffer, 0).unwrap();
    assert_eq!(&buffer, b"bytes");
    fs::metadata(mounted.path("file")).unwrap();
    drop(file);
    mounted.mount.unmount(Unmount::Clean).unwrap();
}

#[test]
fn a_forced_unmount_ends_a_mount_in_use() {
    // promise S-29: A forced unmount always ends the mount; files that are still open fail with ENOTCONN from then on.
    let mounted = Mounted::new(&[("file", b"bytes"), ("other", b"more")]);
    let file = File::open(mounted.path("file")).unwrap();
    mounted.mount.unmount(Unmount::Detach).unwrap();
    assert!(!is_mounted(&mounted) && mounted.mount.has_ended());
    let error = file
        .read_at(&mut [0; 5], 0)
        .expect_err("the mount has gone");
    assert_eq!(error.raw_os_error(), Some(ENOTCONN));
}

#[test]
fn a_forced_unmount_answers_reads_that_wait() {
    // promise S-30: When a mount is told to end, reads that wait fail at once, as a rule with EIO; no process is left waiting.
    let mounted = Mounted::new(&[("never", &[1u8; 100_000][..]), ("also-never", b"x")]);
    mounted.fixture.serve("never", Serve::Never);
    mounted.fixture.serve("also-never", Serve::Never);
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let reads = ["never", "also-never"].map(|path| {
            let (mounted, ended) = (&mounted, &ended);
            scope.spawn(move || {
                let result = File::open(mounted.path(path)).unwrap().read(&mut [0; 10]);
                assert!(
                    ended.load(Ordering::SeqCst),
                    "before the mount was told to end"
                );
                result
                    .expect_err("it waits for what never comes")
                    .raw_os_error()
            })
        });
        mounted.until_waiting(2);
        thread::sleep(Duration::from_millis(100));
        ended.store(true, Ordering::SeqCst);
        let start = Instant::now();
        mounted.mount.unmount(Unmount::Detach).unwrap();
        for read in reads {
            let errno = read.join().unwrap().expect("from the kernel");
            assert!([EIO, ECONNABORTED, ENOTCONN].contains(&errno), "{errno}");
        }
        assert!(start.elapsed() < SOON);
    });
    assert_eq!(mounted.mount.fs().stats().snapshot().waiting, 0);
    assert!(mounted.mount.has_ended());
}

#[test]
fn a_clean_unmount_does_not_wait_for_readahead_that_nobody_needs() {
    let mounted = Mounted::new(&[("file", &vec![7u8; 8 << 20])]);
    let file = File::open(mounted.path("file")).unwrap();
    let mut buffer = vec![0; 256 << 10];
    file.read_exact_at(&mut buffer, 0).unwrap();
    mounted.fixture.serve("file", Serve::Never);
    // The kernel now reads ahead of a sequential reader, into the void.
    rustix::fs::fadvise(&file, 1 << 20, None, rustix::fs::Advice::WillNeed).unwrap();
    mounted.until_waiting(1);
    drop(file);
    let start = Instant::now();
    mounted.mount.unmount(Unmount::Clean).unwrap();
    assert!(start.elapsed() < SOON);
    assert!(!is_mounted(&mounted));
}

#[test]
fn an_unmount_by_anybody_ends_the_wait() {
    for how in [Unmount::Clean, Unmount::Detach] {
        let mounted = Mounted::new(&[("file", b"x")]);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| runtime.block_on(mounted.mount.wait()));
            assert!(!mounted.mount.has_ended());
            unmount(mounted.mount.mountpoint(), how).unwrap();
            waiting.join().unwrap();
        });
        assert!(mounted.mount.has_ended());
    }
}

#[test]
fn a_lazy_unmount_by_somebody_else_ends_with_the_last_open_file() {
    let mounted = Mounted::new(&[("file", b"bytes")]);
    let file = File::open(mounted.path("file")).unwrap();
    let lazily = rustix::mount::UnmountFlags::DETACH;
    rustix::mount::unmount(mounted.mount.mountpoint(), lazily).unwrap();
    // It still works for who has it open, and is still in use.
    let mut buffer = [0; 5];
    file.read_exact_at(&mut buffer, 0).unwrap();
    let error = mounted.mount.unmount(Unmount::Clean).expect_err("in use");
    assert!(matches!(error, MountError::InUse { .. }), "{error}");
    drop(file);
    until("the kernel ends the connection", || {
        mounted.mount.has_ended()
    });
}

#[test]
fn dropping_a_mount_takes_it_away() {
    let mounted = Mounted::new(&[("file", b"x")]);
    let (mountpoint, file) = (
        mounted.mount.mountpoint().to_owned(),
        File::open(mounted.path("file")).unwrap(),
    );
    drop(mounted);
    assert!(mount_at(&mountpoint).unwrap().is_none());
    drop(file);
}
