//! A warm-up brings what it was told, and proves it; what it cannot bring it names.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::process::{Child, Output};
use std::time::Duration;

use forebay_loopback_s3::{Action, Fault};
use forebay_tests::{Bucket, Mount, stream, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const MIB: u64 = 1 << 20;
/// For what is to happen at once, on a busy machine.
const LIMIT: Duration = Duration::from_secs(5);

/// A bucket with a few files of several chunks.
fn bucket() -> Bucket {
    let bucket = Bucket::new("cli", 200 * MIB);
    bucket.put_stream("train/a", 2 * MIB, 1);
    bucket.put_stream("train/b", MIB + 1, 2);
    bucket.put_stream("train/deep/c", 5, 3);
    bucket.put("val/empty", "");
    bucket
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn warm_up(mount: &Mount, args: &[&str]) -> (Option<i32>, Value, String) {
    let path = mount.path();
    let command = ["warmup", path.to_str().unwrap(), "--json"];
    let Output {
        status,
        stdout,
        stderr,
    } = mount.run(&[&command, args].concat());
    let said = text(&stdout);
    let last = said
        .lines()
        .last()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let summary = last
        .map(|mut last| last["summary"].take())
        .unwrap_or_default();
    (status.code(), summary, text(&stderr))
}

#[test]
fn a_warm_up_brings_what_it_was_told_and_proves_it() {
    let bucket = bucket();
    let mount = bucket.mount("m").start();
    let (code, summary, said) = warm_up(&mount, &["train/deep/**", "val"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(summary["complete"], true);
    assert_eq!(summary["progress"]["files_done"], 2, "{summary:#}");
    assert_eq!(mount.status()["cached_bytes"], 5);
    let (code, summary, said) = warm_up(&mount, &[]);
    assert_eq!(code, Some(0), "{said}");
    let progress = &summary["progress"];
    for (field, value) in [("files_done", 4), ("files_total", 4), ("files_failed", 0)] {
        assert_eq!(progress[field], value, "{summary:#}");
    }
    assert_eq!(progress["bytes_done"], 3 * MIB + 6);
    assert_eq!(summary["failed"], serde_json::json!([]));
    assert!(summary["seconds"].as_f64().unwrap() >= 0.0);
    // From here on the origin is not needed.
    bucket.server().pause();
    assert_eq!(mount.status()["cached_files"], 4);
    assert!(fs::read(mount.path().join("train/b")).unwrap() == stream(2, MIB + 1));
    assert!(fs::read(mount.path().join("train/a")).unwrap() == stream(1, 2 * MIB));
    let (code, summary, _) = warm_up(&mount, &[]);
    assert_eq!((code, &summary["complete"]), (Some(0), &true.into()));
    mount.assert_quiet();
    mount.unmount();
}

#[test]
fn a_warm_up_names_what_it_cannot_bring_and_brings_the_rest() {
    let bucket = bucket();
    let mount = bucket.mount("m").start();
    bucket.remove("train/b");
    bucket.spoil_reads(
        Fault::new(Action::status(403, "AccessDenied"))
            .key("train/deep/c")
            .always(),
    );
    let (code, summary, said) = warm_up(&mount, &[]);
    assert_eq!(code, Some(7), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("2 of 4 files"), "{said}");
    assert_eq!(summary["complete"], false);
    assert_eq!(summary["progress"]["files_done"], 2);
    assert_eq!(summary["progress"]["files_failed"], 2);
    let failed = summary["failed"].as_array().unwrap();
    let reasons: Vec<_> = failed
        .iter()
        .map(|file| {
            (
                file["path"].as_str().unwrap(),
                file["reason"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(reasons[0].0, "train/b");
    assert!(reasons[0].1.contains("does not exist"), "{reasons:?}");
    assert_eq!(reasons[1].0, "train/deep/c");
    assert!(reasons[1].1.contains("AccessDenied"), "{reasons:?}");
    assert!(fs::read(mount.path().join("train/a")).unwrap() == stream(1, 2 * MIB));
    // What matches nothing is a mistake, and told before anything is fetched.
    let (code, _, said) = warm_up(&mount, &["train/a", "tarin/*"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("tarin/*"), "{said}");
    mount.unmount();
}

#[test]
fn a_warm_up_finds_what_the_disk_has_lost_and_brings_it_again() {
    let bucket = bucket();
    let mount = bucket.mount("m").start();
    assert_eq!(warm_up(&mount, &[]).0, Some(0));
    mount.unmount();
    let objects = bucket.mount("m").cache_dir().join("disk/objects");
    let spoiled = fs::read_dir(objects)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let spoiled = fs::read_dir(spoiled)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let size = fs::metadata(&spoiled).unwrap().len();
    fs::write(&spoiled, vec![0xaa; usize::try_from(size).unwrap()]).unwrap();
    let mount = bucket.mount("m").start();
    let (code, summary, said) = warm_up(&mount, &[]);
    assert_eq!(
        (code, &summary["complete"]),
        (Some(0), &true.into()),
        "{said}"
    );
    let status = mount.status();
    assert_eq!(status["origin"]["bytes"], size);
    assert_eq!(status["corrupt_chunks"], size.div_ceil(MIB));
    mount.unmount();
}

/// A warm-up that will not end by itself.
fn endless(bucket: &Bucket, mount: &Mount) -> Child {
    bucket.spoil_reads(Fault::new(Action::Delay(Duration::from_secs(600))).always());
    let requests = mount.status()["origin"]["requests"].as_u64().unwrap();
    let warmup = bucket
        .mount("m")
        .started(&["warmup", mount.path().to_str().unwrap()]);
    let asked = || mount.status()["origin"]["requests"].as_u64().unwrap() > requests;
    assert!(wait_until(LIMIT, asked));
    warmup
}

#[test]
fn a_warm_up_that_is_interrupted_leaves_the_mount_as_it_is() {
    let bucket = bucket();
    let mount = bucket.mount("m").args(&["--origin-timeout", "2s"]).start();
    let mut warmup = endless(&bucket, &mount);
    let pid = Pid::from_child(&warmup);
    kill_process(pid, Signal::INT).unwrap();
    assert!(wait_until(LIMIT, || warmup.try_wait().unwrap().is_some()));
    assert_eq!(warmup.wait().unwrap().code(), Some(7));
    bucket.server().faults().clear();
    assert!(fs::read(mount.path().join("train/a")).unwrap() == stream(1, 2 * MIB));
    assert_eq!(warm_up(&mount, &[]).0, Some(0));
    mount.unmount();
}

#[test]
fn an_unmount_ends_a_warm_up_at_once() {
    let bucket = bucket();
    let mount = bucket.mount("m").start();
    let mut warmup = endless(&bucket, &mount);
    mount.unmount();
    assert!(wait_until(LIMIT, || warmup.try_wait().unwrap().is_some()));
    assert_eq!(warmup.wait().unwrap().code(), Some(7));
}
