//! Names, attributes and listings.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::Path;

use forebay_fuse_client::{MountOptions, mount_at};

use crate::memory_cache::{Fixture, MODIFIED};
use crate::mounted::{Mounted, options};

/// Every path below `dir`, with the size of files.
fn walk(dir: &Path) -> BTreeMap<Vec<u8>, Option<u64>> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            assert_eq!(entry.file_type().unwrap(), metadata.file_type());
            assert_eq!(entry.ino(), metadata.ino());
            let below = entry.path().strip_prefix(dir).unwrap().to_owned();
            let size = metadata.is_file().then_some(metadata.len());
            assert_eq!(found.insert(below.into_os_string().into_vec(), size), None);
            if metadata.is_dir() {
                open.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn a_walk_finds_every_object_once() {
    // promise S-01: The tree shows every object of the version that a file system can show, once, and nothing else.
    let mounted = Mounted::new(&[
        ("a/b/c", b"1"),
        ("a/b/d", b"22"),
        ("a/empty", b""),
        ("z", b"333"),
        ("A", b"4444"),
    ]);
    let expected: BTreeMap<Vec<u8>, Option<u64>> = [
        ("A", Some(4)),
        ("a", None),
        ("a/b", None),
        ("a/b/c", Some(1)),
        ("a/b/d", Some(2)),
        ("a/empty", Some(0)),
        ("z", Some(3)),
    ]
    .map(|(path, size)| (path.as_bytes().to_vec(), size))
    .into();
    assert_eq!(walk(mounted.mount.mountpoint()), expected);
}

#[test]
fn odd_names_are_listed_and_found_as_they_are() {
    // promise S-02: A name is the exact bytes of a part of the key; nothing is escaped, folded or translated.
    let long = vec![b'n'; 255];
    let names: Vec<&[u8]> = vec![
        b"new\nline",
        b"back\\slash",
        b"\xff\xfe not utf-8",
        b"...",
        b" ",
        b"a=b,c",
        &long,
    ];
    let fixture = Fixture::new();
    let files: Vec<(&[u8], &[u8])> = names.iter().map(|name| (*name, *name)).collect();
    let manifest = fixture.version(&files);
    let mounted = Mounted::with(fixture, manifest, &options());
    let listed = walk(mounted.mount.mountpoint());
    assert_eq!(listed.len(), names.len());
    for name in names {
        assert!(listed.contains_key(name));
        let path = mounted.mount.mountpoint().join(OsStr::from_bytes(name));
        assert_eq!(fs::read(path).unwrap(), name);
    }
}

#[test]
fn keys_that_are_no_paths_have_the_names_that_were_made_up_for_them() {
    // promise S-03: A key that is not a path appears under the name that the table below gives it.
    let fixture = Fixture::new();
    let objects: [(&[u8], &[u8]); 8] = [
        (b"a", b"1"),
        (b"a/b", b"22"),
        (b"c//d", b"333"),
        (b"marker/", b""),
        (b"full/", b"4444"),
        (b"./dot", b""),
        (b"x/../y", b""),
        (b"nul\0byte", b""),
    ];
    let manifest = fixture.manifest(objects.into_iter());
    let mounted = Mounted::with(fixture, manifest, &options());
    let expected: BTreeMap<Vec<u8>, Option<u64>> = [
        ("a", None),
        ("a.forebay-object", Some(1)),
        ("a/b", Some(2)),
        ("c", None),
        ("c/.forebay-empty", None),
        ("c/.forebay-empty/d", Some(3)),
        ("full", None),
        ("full/.forebay-empty", Some(4)),
        ("marker", None),
    ]
    .map(|(path, size)| (path.as_bytes().to_vec(), size))
    .into();
    assert_eq!(walk(mounted.mount.mountpoint()), expected);
}

#[test]
fn names_that_do_not_exist_are_not_found_however_often_they_are_asked_for() {
    let mounted = Mounted::new(&[("file", b"x"), ("dir/inner", b"y")]);
    for _ in 0..2 {
        for (path, kind) in [
            ("missing", ErrorKind::NotFound),
            ("dir/missing", ErrorKind::NotFound),
            ("missing/below", ErrorKind::NotFound),
            ("file/below", ErrorKind::NotADirectory),
        ] {
            assert_eq!(
                fs::metadata(mounted.path(path)).unwrap_err().kind(),
                kind,
                "{path}"
            );
        }
        let too_long = mounted.path(&"n".repeat(256));
        assert_eq!(
            fs::metadata(too_long).unwrap_err().kind(),
            ErrorKind::InvalidFilename
        );
    }
}

#[test]
fn attributes_are_those_of_the_listing_and_the_options() {
    // promise S-06: Size and modification time are those of the listing; access and change time equal the modification time.
    // promise S-07: Owner and permission bits are those of the mount's options, the same for all files and the same for all directories.
    let fixture = Fixture::new();
    let manifest = fixture.version(&[("dir/file", &[0u8; 1000][..])]);
    let options = MountOptions {
        uid: 1234,
        gid: 2345,
        file_mode: 0o640,
        dir_mode: 0o750,
        ..options()
    };
    let mounted = Mounted::with(fixture, manifest, &options);
    let file = fs::metadata(mounted.path("dir/file")).unwrap();
    assert_eq!((file.len(), file.blocks(), file.nlink()), (1000, 2, 1));
    assert_eq!(file.blksize(), 128 << 10);
    assert_eq!(
        (file.uid(), file.gid(), file.mode()),
        (1234, 2345, 0o100_640)
    );
    for (seconds, nanos) in [
        (file.mtime(), file.mtime_nsec()),
        (file.atime(), file.atime_nsec()),
        (file.ctime(), file.ctime_nsec()),
    ] {
        assert_eq!(seconds * 1_000_000_000 + nanos, MODIFIED);
    }
    for dir in ["", "dir"] {
        let dir = fs::metadata(mounted.path(dir)).unwrap();
        assert_eq!((dir.len(), dir.blocks(), dir.nlink()), (0, 0, 2));
        assert_eq!((dir.uid(), dir.gid(), dir.mode()), (1234, 2345, 0o040_750));
    }
    fs::File::open(mounted.path("dir/file")).unwrap();
    assert_eq!(
        fs::metadata(mounted.path("dir/file")).unwrap().atime(),
        file.atime()
    );
}

#[test]
fn inode_numbers_are_positions_and_the_same_in_every_mount() {
    // promise S-05: A file has the same inode number in every mount of the same version, and no two entries of a mount share one.
    let files: &[(&str, &[u8])] = &[("b/x", b"1"), ("a", b"2"), ("b/y", b"3")];
    let numbers = || {
        let mounted = Mounted::new(files);
        ["", "a", "b", "b/x", "b/y"].map(|path| fs::metadata(mounted.path(path)).unwrap().ino())
    };
    let first = numbers();
    assert_eq!(first, numbers());
    assert_eq!(first[0], 1);
    let mut unique = first.to_vec();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), first.len());
}

#[test]
fn statfs_shows_a_full_file_system_of_the_datasets_size() {
    // promise S-09: `statfs` shows the dataset's bytes and entries, and no room for more.
    let mounted = Mounted::new(&[("big", &[1u8; 10_000][..]), ("dir/small", b"x")]);
    let stat = rustix::fs::statvfs(mounted.mount.mountpoint()).unwrap();
    assert_eq!((stat.f_blocks, stat.f_frsize), (3, 4096));
    assert_eq!((stat.f_bfree, stat.f_bavail), (0, 0));
    // The root, "dir" and the two files.
    assert_eq!((stat.f_files, stat.f_ffree), (4, 0));
    assert_eq!(stat.f_namemax, 255);
}

#[test]
fn the_mount_table_says_what_is_mounted() {
    let fixture = Fixture::new();
    let manifest = fixture.version(&[("a", b"")]);
    let options = MountOptions {
        dataset: "my,data".to_owned(),
        ..options()
    };
    let mounted = Mounted::with(fixture, manifest, &options);
    let entry = mount_at(mounted.mount.mountpoint()).unwrap().unwrap();
    assert_eq!(
        (&*entry.fs_type, &*entry.source),
        ("fuse.forebay", "forebay:my_data")
    );
    let knob = format!("/sys/class/bdi/{}/read_ahead_kb", entry.device);
    assert_eq!(fs::read_to_string(knob).unwrap().trim(), "1024");
}

#[test]
fn a_listing_that_was_interrupted_goes_on_where_it_was() {
    let names: Vec<String> = (0..500).map(|n| format!("dir/file-{n:04}")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (&**name, &b""[..])).collect();
    let mounted = Mounted::new(&files);
    let mut listing = fs::read_dir(mounted.path("dir")).unwrap();
    let mut seen: Vec<_> = listing
        .by_ref()
        .take(100)
        .map(|e| e.unwrap().file_name())
        .collect();
    // Others list the directory meanwhile.
    assert_eq!(fs::read_dir(mounted.path("dir")).unwrap().count(), 500);
    seen.extend(listing.map(|entry| entry.unwrap().file_name()));
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 500);
}
