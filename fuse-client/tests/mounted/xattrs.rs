//! Extended attributes, as the system calls give them.

use std::collections::BTreeSet;

use rustix::fs::{getxattr, getxattr_query, listxattr, listxattr_query};
use rustix::io::Errno;

use crate::mounted::Mounted;

#[test]
fn files_and_directories_say_where_they_come_from() {
    // promise S-08: Files carry the attributes `user.forebay.version`, `etag`, `key`, `source` and `cached_bytes`; directories carry `user.forebay.version`.
    let mounted = Mounted::new(&[("dir/file", b"twelve bytes")]);
    let value = |path: &str, name: &str| {
        let mut buffer = [0u8; 256];
        let len = getxattr(mounted.path(path), name, &mut buffer)?;
        Ok::<_, Errno>(String::from_utf8(buffer[..len].to_vec()).unwrap())
    };
    let version = mounted.mount.fs().version().to_string();
    for path in ["", "dir", "dir/file"] {
        assert_eq!(value(path, "user.forebay.version").unwrap(), version);
    }
    assert_eq!(value("dir/file", "user.forebay.key").unwrap(), "dir/file");
    assert_eq!(
        value("dir/file", "user.forebay.source").unwrap(),
        "test://fixture"
    );
    assert_eq!(
        value("dir/file", "user.forebay.cached_bytes").unwrap(),
        "12"
    );
    assert!(
        value("dir/file", "user.forebay.etag")
            .unwrap()
            .starts_with('"')
    );
    assert_eq!(value("dir", "user.forebay.etag"), Err(Errno::NODATA));
    assert_eq!(value("dir/file", "user.unknown"), Err(Errno::NODATA));
}

#[test]
fn a_call_without_a_buffer_gets_the_size_and_a_short_buffer_is_refused() {
    let mounted = Mounted::new(&[("file", b"x")]);
    let file = mounted.path("file");
    let key = "user.forebay.key";
    assert_eq!(getxattr_query(&file, key), Ok(4));
    assert_eq!(getxattr(&file, key, &mut [0u8; 3]), Err(Errno::RANGE));
    assert_eq!(getxattr(&file, key, &mut [0u8; 4]), Ok(4));
    let size = listxattr_query(&file).unwrap();
    assert_eq!(
        listxattr(&file, &mut vec![0u8; size - 1]),
        Err(Errno::RANGE)
    );
    let mut names = vec![0u8; size];
    assert_eq!(listxattr(&file, &mut names), Ok(size));
    let listed: BTreeSet<&[u8]> = names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .collect();
    let expected: [&[u8]; 5] = [
        b"user.forebay.cached_bytes",
        b"user.forebay.etag",
        b"user.forebay.key",
        b"user.forebay.source",
        b"user.forebay.version",
    ];
    assert_eq!(listed, expected.into_iter().collect());
}
