//! The harness mounts, asks, kills and cleans up as its other tests need it.

use std::time::Duration;

use forebay_tests::{Dataset, Endpoint, MountCommand, Scratch, Shape, Sizes};

fn dataset() -> Dataset {
    let sizes = Sizes::Skewed(1, 1 << 20);
    Dataset::new(&Shape {
        files: 40,
        directories: 3,
        sizes,
        seed: 1,
    })
}

#[test]
fn a_mounted_bucket_is_read_asked_and_unmounted() {
    let (server, endpoint) = Endpoint::loopback();
    let scratch = Scratch::new("mount", 1 << 30);
    let dataset = dataset();
    dataset.put_to(&server, "bucket", "prefix/");
    let command = MountCommand::new("s3://bucket/prefix", scratch.path()).endpoint(&endpoint);
    let mount = command.clone().start();
    dataset.assert_at(&mount.path());
    let status = mount.status();
    assert_eq!(status["files"], 40, "{status:#}");
    assert_eq!(status["pid"], mount.pid(), "{status:#}");
    mount.unmount();

    // The same directory again, as after a crash.
    let mount = command.clone().start();
    dataset.assert_at(&mount.path());
    mount.kill();
    assert!(!command.path().join("dir-0000").exists());
}

#[test]
fn a_mount_that_cannot_be_is_refused_in_time() {
    let (_server, endpoint) = Endpoint::loopback();
    let scratch = Scratch::new("mount", 1 << 30);
    let command = MountCommand::new("s3://no-such-bucket", scratch.path()).endpoint(&endpoint);
    let (ended, log) = command.refused(Duration::from_secs(15));
    assert!(
        !ended.success() && log.contains("no-such-bucket"),
        "{ended}: {log}"
    );
}

#[test]
fn a_test_that_hangs_loses_its_mount() {
    let (server, endpoint) = Endpoint::loopback();
    let scratch = Scratch::new("mount", 1 << 30);
    server.put("bucket", "key", "content");
    let command = MountCommand::new("s3://bucket", scratch.path()).endpoint(&endpoint);
    let mount = command.limit(Duration::from_secs(2)).start();
    server.pause();
    assert!(std::fs::read(mount.path().join("key")).is_err());
    assert!(mount.wait(Duration::from_secs(1)).is_some());
    server.resume().unwrap();
}
