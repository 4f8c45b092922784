//! Another version under a mount that lives.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use forebay_fuse_client::Refreshed;

use crate::memory_cache::{Fixture, Serve};
use crate::mounted::{Mounted, options};

const OLD: &[(&str, &[u8])] = &[
    ("changed", b"old bytes"),
    ("dir/changed", b"old inner bytes"),
    ("dir/gone", b"gone"),
    ("same", b"the same"),
    ("to-dir", b"a file"),
];
const NEW: &[(&str, &[u8])] = &[
    ("added", b"added"),
    ("changed", b"new bytes, and more of them"),
    ("dir/added", b"added inside"),
    ("dir/changed", b"new inner bytes"),
    ("same", b"the same"),
    ("to-dir/file", b"now a directory"),
];

fn names(mounted: &Mounted, dir: &str) -> Vec<String> {
    let entries = fs::read_dir(mounted.path(dir)).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn new_opens_see_the_new_version_and_only_that() {
    // promise S-18: After a refresh, every path that is looked up from the root on leads to the new version.
    let mounted = Mounted::new(OLD);
    // Let the kernel know the old version well, its absent names included.
    for path in ["changed", "dir/changed", "dir/gone", "same", "to-dir"] {
        fs::read(mounted.path(path)).unwrap();
    }
    fs::metadata(mounted.path("added")).unwrap_err();
    fs::metadata(mounted.path("dir/added")).unwrap_err();
    assert_eq!(names(&mounted, ""), ["changed", "dir", "same", "to-dir"]);
    let before = fs::metadata(mounted.mount.mountpoint()).unwrap();

    let next = mounted.fixture.version(NEW);
    let refreshed = mounted.mount.refresh(next.clone()).unwrap();
    assert!(matches!(refreshed, Refreshed::Changed { to, .. } if to == next.version()));

    for (path, bytes) in NEW {
        assert_eq!(fs::read(mounted.path(path)).unwrap(), *bytes, "{path}");
    }
    fs::metadata(mounted.path("dir/gone")).unwrap_err();
    assert_eq!(
        names(&mounted, ""),
        ["added", "changed", "dir", "same", "to-dir"]
    );
    assert_eq!(names(&mounted, "dir"), ["added", "changed"]);
    assert_eq!(
        fs::metadata(mounted.mount.mountpoint()).unwrap().ino(),
        before.ino()
    );
}

#[test]
fn open_files_and_directories_keep_their_version() {
    // promise S-19: An open file, a mapping and a working directory keep the version in which they were found, for as long as they are held.
    let mounted = Mounted::new(OLD);
    let file = File::open(mounted.path("changed")).unwrap();
    let dir = File::open(mounted.path("dir")).unwrap();
    let before = file.metadata().unwrap();
    mounted.mount.refresh(mounted.fixture.version(NEW)).unwrap();
    let mut bytes = Vec::new();
    (&file).read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"old bytes");
    let after = file.metadata().unwrap();
    assert_eq!((after.len(), after.ino()), (before.len(), before.ino()));
    assert_ne!(
        fs::metadata(mounted.path("changed")).unwrap().ino(),
        before.ino()
    );
    // Below the directory that is held, every path is of its version.
    let read = |name: &str| {
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&dir, name, flags, rustix::fs::Mode::empty())?;
        let mut bytes = Vec::new();
        File::from(fd).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    };
    assert_eq!(read("changed").unwrap(), b"old inner bytes");
    assert_eq!(read("gone").unwrap(), b"gone");
    read("added").unwrap_err();
}

#[test]
fn the_same_version_again_changes_nothing() {
    let mounted = Mounted::new(OLD);
    let refreshed = mounted.mount.refresh(mounted.fixture.version(OLD)).unwrap();
    assert_eq!(refreshed, Refreshed::Unchanged);
    assert_eq!(mounted.mount.fs().versions().len(), 1);
}

#[test]
fn a_version_can_come_back() {
    let mounted = Mounted::new(OLD);
    let inode = fs::metadata(mounted.path("changed")).unwrap().ino();
    let _held = File::open(mounted.path("dir")).unwrap();
    mounted.mount.refresh(mounted.fixture.version(NEW)).unwrap();
    assert_eq!(
        fs::read(mounted.path("changed")).unwrap(),
        b"new bytes, and more of them"
    );
    mounted.mount.refresh(mounted.fixture.version(OLD)).unwrap();
    assert_eq!(fs::read(mounted.path("changed")).unwrap(), b"old bytes");
    assert_eq!(
        fs::read(mounted.path("dir/changed")).unwrap(),
        b"old inner bytes"
    );
    assert_eq!(fs::metadata(mounted.path("changed")).unwrap().ino(), inode);
    fs::metadata(mounted.path("added")).unwrap_err();
}

#[test]
fn no_read_open_file_or_walk_mixes_versions_while_they_change() {
    // promise S-14: One read, one open file and one path from the root down never mix two versions.
    let contents: Vec<Vec<u8>> = (1..=6u8).map(|version| vec![version; 300_000]).collect();
    let files = |content: &'static [u8]| -> Vec<(&'static str, &'static [u8])> {
        vec![("dir/file", content), ("file", content)]
    };
    let contents: &'static [Vec<u8>] = contents.leak();
    let mounted = Mounted::new(&files(&contents[0]));
    for path in ["file", "dir/file"] {
        mounted
            .fixture
            .serve(path, Serve::Later(Duration::from_micros(300)));
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = |path: &'static str| {
            let (mounted, done) = (&mounted, &done);
            move || {
                while !done.load(Ordering::Relaxed) {
                    let file = File::open(mounted.path(path)).unwrap();
                    let mut bytes = vec![0; 300_000];
                    // In two halves, so that versions change in between.
                    file.read_exact_at(&mut bytes[150_000..], 150_000).unwrap();
                    file.read_exact_at(&mut bytes[..150_000], 0).unwrap();
                    assert!(bytes.iter().all(|byte| *byte == bytes[0]), "mixed");
                }
            }
        };
        scope.spawn(reader("file"));
        scope.spawn(reader("dir/file"));
        for content in contents.iter().skip(1).chain(contents) {
            mounted
                .mount
                .refresh(mounted.fixture.version(&files(content)))
                .unwrap();
            thread::sleep(Duration::from_millis(20));
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(fs::read(mounted.path("file")).unwrap() == contents[5]);
}

#[test]
fn a_listing_of_the_root_that_has_begun_stays_with_its_version() {
    let names_of =
        |prefix: &str| -> Vec<String> { (0..4000).map(|n| format!("{prefix}-{n}")).collect() };
    let (old, new) = (names_of("old"), names_of("new"));
    let fixture = Fixture::new();
    let listed =
        |names: &[String]| fixture.manifest(names.iter().map(|name| (name.as_bytes(), &b""[..])));
    let (old_version, new_version) = (listed(&old), listed(&new));
    let mounted = Mounted::with(fixture, old_version, &options());
    let mut listing = fs::read_dir(mounted.mount.mountpoint()).unwrap();
    let first = listing.next().unwrap().unwrap();
    // Whoever looks up what it lists gets the attributes along with the listing.
    first.metadata().unwrap();
    mounted.mount.refresh(new_version).unwrap();
    let rest: Vec<String> = listing
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(rest.len() + 1, 4000);
    assert!(first.file_name().to_str().unwrap().starts_with("old-"));
    assert!(rest.iter().all(|name| name.starts_with("old-")));
    // What it listed leads nowhere any more.
    for name in &rest {
        fs::metadata(mounted.path(name)).unwrap_err();
    }
    assert!(
        names(&mounted, "")
            .iter()
            .all(|name| name.starts_with("new-"))
    );
}
