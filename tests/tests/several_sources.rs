//! Several sources in one tree, parts of sources, and a local directory as a source.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use forebay_tests::{
    Bucket, Mount, MountCommand, Scratch, drop_pages, errno, open_random, stream, stream_at,
};
use rustix::io::Errno;

const MIB: u64 = 1 << 20;

/// The paths of all files below `root`.
fn files(root: &Path) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    let mut open = vec![PathBuf::new()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(root.join(&dir)).unwrap() {
            let path = dir.join(entry.as_ref().unwrap().file_name());
            match entry.unwrap().file_type().unwrap().is_dir() {
                true => open.push(path),
                false => drop(files.insert(path.to_str().unwrap().to_owned())),
            }
        }
    }
    files
}

fn put(dir: &Path, path: &str, content: impl AsRef<[u8]>) {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

#[test]
fn each_source_is_a_directory_of_its_name() {
    let bucket = Bucket::new("sources", 100 * MIB);
    bucket.put_stream("train/deep/object", 2 * MIB, 1);
    bucket.put("train/small", "from the bucket");
    bucket.put("val/other", "elsewhere");
    let dir = bucket.scratch().dir("directory");
    put(&dir, "sub/file", "from the directory");
    put(&dir, "small", "of the same name");
    let directory = format!("local=file://{}", dir.display());
    let command = MountCommand::without_source(&bucket.scratch().dir("m"))
        .endpoint(bucket.endpoint())
        .args(&["--source", "train=s3://data/train", "--source", &directory]);
    let mount = command.clone().start();
    let expected = [
        "local/small",
        "local/sub/file",
        "train/deep/object",
        "train/small",
    ];
    assert_eq!(files(&mount.path()), expected.map(str::to_owned).into());
    let read = |path: &str| fs::read(mount.path().join(path)).unwrap();
    assert_eq!(read("train/small"), b"from the bucket");
    assert_eq!(read("local/small"), b"of the same name");
    assert_eq!(read("local/sub/file"), b"from the directory");
    assert!(read("train/deep/object") == stream(1, 2 * MIB));
    let status = mount.status();
    let sources: Vec<_> = status["sources"].as_array().unwrap().iter().collect();
    let names: BTreeSet<_> = sources
        .iter()
        .map(|s| s["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["local", "train"].into());
    let urls: Vec<_> = sources.iter().map(|s| s["url"].as_str().unwrap()).collect();
    assert!(
        urls.iter()
            .any(|url| url.contains("data") && url.ends_with("/train")),
        "{urls:?}"
    );
    assert!(
        urls.contains(&&*format!("file://{}", dir.display())),
        "{urls:?}"
    );
    // A change in either is drift of the whole.
    bucket.put("train/small", "changed");
    put(&dir, "added", "added");
    let drift = &mount.ask("refresh", &[])["drift"];
    assert_eq!(
        (&drift["added"], &drift["changed"]),
        (&1.into(), &1.into()),
        "{drift}"
    );
    assert_eq!(
        fs::read(mount.path().join("local/added")).unwrap(),
        b"added"
    );
    mount.assert_quiet();
    mount.unmount();
    // All of it is in one cache, by whatever source it came.
    let mount = command.start();
    assert_eq!(
        fs::read(mount.path().join("local/sub/file")).unwrap(),
        b"from the directory"
    );
    assert!(fs::read(mount.path().join("train/deep/object")).unwrap() == stream(1, 2 * MIB));
    assert_eq!(mount.status()["origin"]["bytes"], 0);
    mount.unmount();
}

#[test]
fn globs_say_what_is_in_the_tree() {
    let bucket = Bucket::new("sources", 100 * MIB);
    let keys = [
        "train/a.tar",
        "train/a.json",
        "train/skip/b.tar",
        "val/c.tar",
        "top.tar",
    ];
    for key in keys {
        bucket.put(key, key);
    }
    let tree = |name: &str, args: &[&str]| {
        let mount = bucket.mount(name).args(args).start();
        let files = files(&mount.path());
        assert_eq!(
            mount.status()["skipped"]["total"],
            0,
            "filtered is not skipped"
        );
        mount.unmount();
        files.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(
        tree("a", &["--include", "train/**"]),
        ["train/a.json", "train/a.tar", "train/skip/b.tar"]
    );
    let globs = [
        "--include",
        "**/*.tar",
        "--exclude",
        "train/skip/**",
        "--exclude",
        "val/*",
    ];
    assert_eq!(tree("b", &globs), ["top.tar", "train/a.tar"]);
    assert_eq!(tree("c", &["--include", "*.tar"]), ["top.tar"]);
}

/// A mount of a local directory.
fn mounted(scratch: &Scratch) -> Mount {
    let source = format!("file://{}", scratch.dir("source").display());
    MountCommand::new(&source, &scratch.dir("m")).start()
}

#[test]
fn a_file_of_a_directory_that_changes_under_the_mount_is_stale_where_it_is_not_cached() {
    // promise S-15: An object that was overwritten or deleted at the origin is read in its pinned version where that is cached; elsewhere the read fails with ESTALE.
    let scratch = Scratch::new("sources", 100 * MIB);
    let source = scratch.dir("source");
    for name in ["written", "replaced", "removed", "cut", "grown", "kept"] {
        put(&source, name, stream(1, 4 * MIB));
    }
    let mount = mounted(&scratch);
    let open = |name: &str| open_random(&mount.path().join(name)).unwrap();
    let names = ["written", "replaced", "removed", "cut", "grown"];
    for name in names {
        open(name).read_exact_at(&mut [0; 100], 0).unwrap();
    }
    let at_source = |name: &str| File::options().write(true).open(source.join(name)).unwrap();
    at_source("written").write_all_at(b"x", 3 * MIB).unwrap();
    put(&source, "new", stream(2, 4 * MIB));
    fs::rename(source.join("new"), source.join("replaced")).unwrap();
    fs::remove_file(source.join("removed")).unwrap();
    at_source("cut").set_len(10).unwrap();
    let mut grown = File::options()
        .append(true)
        .open(source.join("grown"))
        .unwrap();
    grown.write_all(b"more").unwrap();
    for name in names {
        let file = open(name);
        drop_pages(&mount.path().join(name));
        let mut buffer = [0; 100];
        file.read_exact_at(&mut buffer, 1000).unwrap();
        assert_eq!(buffer[..], stream_at(1, 1000, 100), "{name}");
        let stale = file.read_at(&mut buffer, 3 * MIB);
        assert_eq!(errno(&stale), Some(Errno::STALE), "{name}: {stale:?}");
    }
    assert!(fs::read(mount.path().join("kept")).unwrap() == stream(1, 4 * MIB));
    mount.ask("refresh", &[]);
    assert!(fs::read(mount.path().join("replaced")).unwrap() == stream(2, 4 * MIB));
    assert_eq!(fs::metadata(mount.path().join("cut")).unwrap().len(), 10);
    mount.unmount();
}

#[test]
fn names_of_a_directory_are_shown_byte_for_byte() {
    let scratch = Scratch::new("sources", 100 * MIB);
    let source = scratch.dir("source");
    let names: [&[u8]; 6] = [b"\xff\xfe", b"\xc3", b"a\nb", b"a\\b", b" ", b"%00?#&"];
    for name in names {
        let dir = source.join(OsStr::from_bytes(name));
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join(OsStr::from_bytes(name)), name).unwrap();
    }
    let mount = mounted(&scratch);
    for name in names {
        let name = OsStr::from_bytes(name);
        let content = fs::read(mount.path().join(name).join(name)).unwrap();
        assert_eq!(content, name.as_bytes());
    }
    let listed: BTreeSet<_> = fs::read_dir(mount.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().as_bytes().to_vec())
        .collect();
    assert_eq!(listed, names.map(<[u8]>::to_vec).into());
    mount.assert_quiet();
    mount.unmount();
}

#[test]
fn links_to_files_are_files_and_what_no_file_system_can_read_is_counted() {
    // promise S-04: An object that cannot be shown is left out, counted, and listed by `forebay status` with its reason.
    let scratch = Scratch::new("sources", 100 * MIB);
    let source = scratch.dir("source");
    put(&source, "blobs/blob", "linked");
    put(&source, "file", "plain");
    symlink("blobs/blob", source.join("link")).unwrap();
    symlink("nowhere", source.join("dangling")).unwrap();
    symlink(".", source.join("loop")).unwrap();
    let _socket = UnixListener::bind(source.join("socket")).unwrap();
    let mount = mounted(&scratch);
    let expected = ["blobs/blob", "file", "link"];
    assert_eq!(files(&mount.path()), expected.map(str::to_owned).into());
    assert_eq!(fs::read(mount.path().join("link")).unwrap(), b"linked");
    let status = mount.status();
    assert_eq!(status["skipped"]["total"], 3, "{:#}", status["skipped"]);
    let sample = status["skipped"]["sample"].as_array().unwrap().iter();
    let keys: BTreeSet<_> = sample
        .map(|object| object["key"].as_str().unwrap())
        .collect();
    assert_eq!(keys, ["dangling", "loop", "socket"].into());
    mount.unmount();
}
