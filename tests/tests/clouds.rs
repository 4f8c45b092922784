//! Sources that are not S3, each from a server that speaks its protocol.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use forebay_tests::{Cloud, Protocol, Scratch, errno, stream};
use rustix::io::Errno;

const MIB: u64 = 1 << 20;
const LIMIT: Duration = Duration::from_secs(15);

/// More than a page of a listing at each level, and more than a chunk in a file.
const OBJECTS: [(&str, u64); 11] = [
    ("a.txt", 5),
    ("b & c<d>.txt", 6),
    ("big.bin", 3 * MIB + 17),
    ("dir/1", 100_000),
    ("dir/2", 1),
    ("dir/3", MIB),
    ("dir/4", 2),
    ("dir/deep/c d+e%.txt", 7),
    ("dir/empty", 0),
    ("dir-beside/x", 1),
    ("é/ü", 3),
];

fn assert_right(root: &Path) {
    for (seed, (key, size)) in OBJECTS.iter().enumerate() {
        let read = fs::read(root.join(key)).unwrap();
        assert!(read == stream(seed as u64, *size), "{key}");
    }
}

fn is_a_source(protocol: Protocol) {
    let scratch = Scratch::new("clouds", 100 * MIB);
    let cloud = Cloud::start(protocol);
    for (seed, (key, size)) in OBJECTS.iter().enumerate() {
        cloud.put(key, stream(seed as u64, *size));
    }
    cloud.put("late", "as it was listed");
    let command = cloud.mount(Cloud::NAME, &scratch.dir("m"));
    let mount = command.clone().start();
    assert_right(&mount.path());
    assert_eq!(mount.status()["files"], OBJECTS.len() as u64 + 1);
    mount.assert_quiet();

    cloud.put("late", "as it is now: ..");
    let late = mount.path().join("late");
    assert_eq!(errno(&fs::read(&late)), Some(Errno::STALE));
    mount.ask("refresh", &[]);
    assert_eq!(fs::read(&late).unwrap(), b"as it is now: ..");
    mount.unmount();

    let reads = cloud.reads();
    let mount = command.start();
    assert_right(&mount.path());
    assert_eq!(cloud.reads(), reads, "what is cached is not read again");
    mount.unmount();

    let other = cloud.mount("nowhere", &scratch.dir("other"));
    let (status, said) = other.refused(LIMIT);
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains("nowhere"), "{said}");
}

#[test]
fn a_bucket_of_google_is_a_source() {
    is_a_source(Protocol::Google);
}

#[test]
fn a_container_of_azure_is_a_source() {
    is_a_source(Protocol::Azure);
}

#[test]
fn a_collection_of_webdav_is_a_source() {
    is_a_source(Protocol::WebDav);
}

#[test]
fn a_key_that_azure_refuses_is_told_and_not_shown() {
    let scratch = Scratch::new("clouds", MIB);
    let cloud = Cloud::start(Protocol::Azure);
    let command = cloud
        .mount(Cloud::NAME, &scratch.dir("m"))
        .args(&["--anonymous"]);
    let (status, said) = command.refused(LIMIT);
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains("403") && !said.contains("aHVudGVy"), "{said}");
}
