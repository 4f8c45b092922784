//! Nothing can be changed.

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FileType, Mode, Timespec, Timestamps, UTIME_NOW, XattrFlags,
    fallocate, mknodat, removexattr, setxattr, utimensat,
};

use crate::mounted::Mounted;

const EROFS: i32 = 30;

#[test]
fn every_change_is_refused_with_erofs() {
    // promise S-21: The tree is read-only: whatever would change it fails with EROFS.
    let mounted = Mounted::new(&[("file", b"bytes"), ("dir/inner", b"x")]);
    let path = |name| mounted.path(name);
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_NOW,
    };
    let times = Timestamps {
        last_access: now,
        last_modification: now,
    };
    let mut changes: Vec<(&str, std::io::Result<()>)> = vec![
        (
            "open for writing",
            OpenOptions::new().write(true).open(path("file")).map(drop),
        ),
        (
            "open for appending",
            OpenOptions::new().append(true).open(path("file")).map(drop),
        ),
        (
            "open for both",
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(path("file"))
                .map(drop),
        ),
        ("create", File::create_new(path("new")).map(drop)),
        (
            "truncate",
            OpenOptions::new()
                .write(true)
                .truncate(true)
                .open(path("file"))
                .map(drop),
        ),
        ("mkdir", fs::create_dir(path("newdir"))),
        ("rmdir", fs::remove_dir(path("dir"))),
        ("unlink", fs::remove_file(path("file"))),
        ("rename", fs::rename(path("file"), path("file2"))),
        ("rename over", fs::rename(path("file"), path("dir/inner"))),
        ("link", fs::hard_link(path("file"), path("link"))),
        ("symlink", symlink("file", path("symlink"))),
        (
            "chmod",
            fs::set_permissions(path("file"), Permissions::from_mode(0o777)),
        ),
        ("chown", chown(path("file"), Some(1), Some(1))),
    ];
    let calls = [
        (
            "utimens",
            utimensat(CWD, path("file"), &times, AtFlags::empty()),
        ),
        (
            "mknod",
            mknodat(CWD, path("fifo"), FileType::Fifo, Mode::RUSR, 0),
        ),
        (
            "setxattr",
            setxattr(path("file"), "user.x", b"y", XattrFlags::empty()),
        ),
        (
            "removexattr",
            removexattr(path("file"), "user.forebay.etag"),
        ),
        (
            "access for writing",
            rustix::fs::access(path("file"), rustix::fs::Access::WRITE_OK),
        ),
    ];
    changes.extend(calls.map(|(name, result)| (name, result.map_err(Into::into))));
    for (name, result) in changes {
        let error = result.expect_err(name);
        assert_eq!(error.raw_os_error(), Some(EROFS), "{name}: {error}");
    }
    assert_eq!(fs::read(path("file")).unwrap(), b"bytes");
}

#[test]
fn a_file_open_for_reading_cannot_be_written_through() {
    let mounted = Mounted::new(&[("file", b"bytes")]);
    let file = File::open(mounted.path("file")).unwrap();
    // These fail because of how the file was opened, before the file system is asked.
    assert!(file.set_len(0).is_err());
    assert!(fallocate(&file, FallocateFlags::empty(), 0, 10).is_err());
    assert!(rustix::io::write(&file, b"x").is_err());
    file.sync_all().expect("there is nothing to write back");
}
