//! What a mount is made of: one version of the bucket, until it is told to move on.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use forebay_tests::{Bucket, Mount, drop_pages, errno, open_random, stream};
use rustix::io::Errno;

const MIB: u64 = 1 << 20;
const LIMIT: Duration = Duration::from_secs(30);

fn version(mount: &Mount) -> String {
    mount.status()["version"].as_str().unwrap().to_owned()
}

fn fetched(mount: &Mount) -> u64 {
    mount.status()["origin"]["bytes"].as_u64().unwrap()
}

/// Whether all of the file is what `seed` gives.
fn has(path: &Path, size: u64, seed: u64) -> bool {
    fs::read(path).unwrap() == stream(seed, size)
}

#[test]
fn without_a_refresh_the_tree_stays_as_it_was_listed() {
    // promise S-20: Without a refresh a mount shows the version with which it was made, whatever happens at the origin.
    let bucket = Bucket::new("versions", 200 * MIB);
    bucket.put("kept", "kept");
    bucket.put("deleted", "deleted");
    bucket.put("overwritten", "old");
    let mount = bucket.mount("m").start();
    let before = version(&mount);
    assert_eq!(fs::read(mount.path().join("overwritten")).unwrap(), b"old");
    bucket.put("added", "added");
    bucket.remove("deleted");
    bucket.put("overwritten", "another");
    let mut names: Vec<_> = fs::read_dir(mount.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["deleted", "kept", "overwritten"]);
    assert_eq!(
        fs::metadata(mount.path().join("overwritten"))
            .unwrap()
            .len(),
        3
    );
    drop_pages(&mount.path().join("overwritten"));
    assert_eq!(fs::read(mount.path().join("overwritten")).unwrap(), b"old");
    assert_eq!(version(&mount), before);
    mount.unmount();
}

#[test]
fn a_refresh_tells_the_drift_and_shows_the_new_version_to_new_opens() {
    let bucket = Bucket::new("versions", 200 * MIB);
    bucket.put_stream("kept", 2 * MIB, 1);
    bucket.put_stream("dir/changed", 2 * MIB, 2);
    bucket.put_stream("dir/removed", MIB, 3);
    let mount = bucket.mount("m").start();
    let root = mount.path();
    let old = version(&mount);
    assert!(has(&root.join("kept"), 2 * MIB, 1));
    assert!(has(&root.join("dir/changed"), 2 * MIB, 2));
    let open = open_random(&root.join("dir/changed")).unwrap();
    let removed = open_random(&root.join("dir/removed")).unwrap();
    removed.read_exact_at(&mut [0; 4096], 0).unwrap();
    assert!(mount.status()["drift"].is_null());

    bucket.put_stream("dir/changed", 3 * MIB, 20);
    bucket.remove("dir/removed");
    bucket.put_stream("new/added", MIB, 4);
    let refreshed = mount.ask("refresh", &[]);
    let new = version(&mount);
    assert_ne!(old, new);
    let expected = [("added", 1), ("removed", 1), ("changed", 1)];
    for (what, count) in expected {
        assert_eq!(refreshed["drift"][what], count, "{refreshed:#}");
    }
    assert_eq!(refreshed["drift"]["from_version"], *old);
    assert_eq!(refreshed["drift"]["to_version"], *new);
    assert_eq!(
        (&refreshed["files"], &refreshed["bytes"]),
        (&3.into(), &(6 * MIB).into())
    );
    assert_eq!(mount.status()["drift"], refreshed["drift"]);

    // What has not changed is not fetched again; the rest is.
    let before = fetched(&mount);
    assert!(has(&root.join("kept"), 2 * MIB, 1));
    assert_eq!(fetched(&mount), before);
    assert!(has(&root.join("dir/changed"), 3 * MIB, 20));
    assert!(has(&root.join("new/added"), MIB, 4));
    assert_eq!(
        errno(&fs::metadata(root.join("dir/removed"))),
        Some(Errno::NOENT)
    );
    // What is open stays what it was.
    let mut buffer = vec![0; 2 * MIB as usize];
    open.read_exact_at(&mut buffer, 0).unwrap();
    assert!(buffer == stream(2, 2 * MIB), "an open file has changed");
    assert_eq!(open.metadata().unwrap().len(), 2 * MIB);
    removed.read_exact_at(&mut buffer[..4096], 0).unwrap();
    assert!(buffer[..4096] == stream(3, 4096));
    mount.assert_quiet();
    drop((open, removed));
    mount.unmount();
}

#[test]
fn a_refresh_that_finds_nothing_new_changes_nothing() {
    let bucket = Bucket::new("versions", 200 * MIB);
    bucket.put("file", "content");
    let mount = bucket.mount("m").start();
    let before = version(&mount);
    let refreshed = mount.ask("refresh", &[]);
    for what in ["added", "removed", "changed"] {
        assert_eq!(refreshed["drift"][what], 0, "{refreshed:#}");
    }
    assert_eq!(version(&mount), before);
    assert_eq!(mount.ask("versions", &[]).as_array().unwrap().len(), 1);
    mount.unmount();
}

#[test]
fn a_refresh_that_fails_leaves_the_mount_as_it_is() {
    let bucket = Bucket::new("versions", 200 * MIB);
    bucket.put("file", "content");
    let mount = bucket.mount("m").args(&["--origin-timeout", "1s"]).start();
    let before = version(&mount);
    assert_eq!(fs::read(mount.path().join("file")).unwrap(), b"content");
    bucket.server().pause();
    let refused = mount.run(&["refresh", mount.path().to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("s3://data"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_eq!(version(&mount), before);
    drop_pages(&mount.path().join("file"));
    assert_eq!(fs::read(mount.path().join("file")).unwrap(), b"content");
    bucket.server().resume().unwrap();
    mount.ask("refresh", &[]);
    mount.unmount();
}

#[test]
fn an_old_version_is_mounted_by_its_first_digits_and_read_from_the_cache_without_its_origin() {
    let bucket = Bucket::new("versions", 200 * MIB);
    bucket.put_stream("cached", 2 * MIB, 1);
    bucket.put_stream("not cached", 2 * MIB, 2);
    let mount = bucket.mount("m").start();
    assert!(has(&mount.path().join("cached"), 2 * MIB, 1));
    let old = version(&mount);
    bucket.put_stream("cached", MIB, 10);
    mount.ask("refresh", &[]);
    let new = version(&mount);
    let versions = mount.ask("versions", &[]);
    let listed = versions.as_array().unwrap().iter();
    let listed: Vec<_> = listed
        .map(|found| (&found["version"], &found["current"]))
        .collect();
    assert_eq!(
        listed,
        [
            (&new.clone().into(), &true.into()),
            (&old.clone().into(), &false.into())
        ]
    );
    assert_eq!(versions[1]["bytes"], 4 * MIB);
    assert!(versions[1]["listed_unix_seconds"].as_u64().unwrap() > 1_700_000_000);
    mount.unmount();

    bucket.server().pause();
    let pinned = bucket
        .mount("m")
        .args(&["--version", &old[..8], "--origin-timeout", "1s"]);
    let mount = pinned.start();
    assert_eq!(version(&mount), old);
    assert!(has(&mount.path().join("cached"), 2 * MIB, 1));
    let gone = fs::read(mount.path().join("not cached"));
    assert_eq!(errno(&gone), Some(Errno::IO), "{gone:?}");
    bucket.server().resume().unwrap();
    assert!(has(&mount.path().join("not cached"), 2 * MIB, 2));
    mount.unmount();
}

#[test]
fn a_version_that_is_not_stored_is_had_as_long_as_the_source_holds_it() {
    let bucket = Bucket::new("versions", 200 * MIB);
    bucket.put("file", "content");
    let mount = bucket.mount("m").start();
    let pinned = version(&mount);
    mount.unmount();
    let elsewhere = bucket
        .mount("elsewhere")
        .args(&["--version", &pinned[..8]])
        .start();
    assert_eq!(version(&elsewhere), pinned);
    elsewhere.unmount();
    bucket.put("another", "content");
    let too_late = bucket.mount("late").args(&["--version", &pinned]);
    let (ended, log) = too_late.refused(LIMIT);
    assert_eq!(ended.code(), Some(2), "{log}");
    let again = bucket
        .mount("elsewhere")
        .args(&["--version", &pinned])
        .start();
    assert_eq!(version(&again), pinned);
    again.unmount();
}

#[test]
fn a_version_that_is_not_stored_is_refused_with_those_that_are() {
    let bucket = Bucket::new("versions", 200 * MIB);
    bucket.put("file", "content");
    let mount = bucket.mount("m").start();
    let stored = version(&mount);
    mount.unmount();
    let other = if stored.starts_with("0000") {
        "1111"
    } else {
        "0000"
    };
    let pinned = bucket.mount("m").args(&["--version", other]);
    let (ended, log) = pinned.refused(LIMIT);
    assert_eq!(ended.code(), Some(2), "{log}");
    assert!(log.lines().last().unwrap().contains(&stored), "{log}");
}
