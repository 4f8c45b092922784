//! Prefetch of a whole mount: what the origin is asked, when, and for nothing.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use forebay_loopback_s3::{Action, Fault};
use forebay_tests::{Bucket, Mount, Random, open_random, stream, wait_until};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const LIMIT: Duration = Duration::from_secs(30);

fn name(number: u64) -> String {
    format!("train/f{number:04}.bin")
}

/// A bucket with so many files of 40 KiB, on a server that takes its time.
fn bucket(test: &str, files: u64) -> Bucket {
    let bucket = Bucket::new(test, 400 * MIB);
    for number in 0..files {
        bucket.put_stream(&name(number), 40 * KIB, number);
    }
    bucket.spoil_reads(Fault::new(Action::Delay(Duration::from_millis(20))).always());
    bucket
}

fn metric(mount: &Mount, name: &str) -> f64 {
    let address = mount.status()["metrics"].as_str().unwrap().to_owned();
    let mut stream = UnixStream::connect(address.strip_prefix("unix:").unwrap()).unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nhost: forebay\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    let mut lines = page.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value
        .unwrap_or_else(|| panic!("no {name}"))
        .parse()
        .unwrap()
}

fn read(mount: &Mount, number: u64) {
    let content = fs::read(mount.path().join(name(number))).unwrap();
    assert!(content == stream(number, 40 * KIB), "file {number}");
}

fn plan(mount: &Mount, dir: &Path, text: &str) -> serde_json::Value {
    let file = dir.join("plan");
    fs::write(&file, text).unwrap();
    mount.ask("plan", &["--from", file.to_str().unwrap()])
}

/// The numbers from 0 on in another order.
fn shuffled(count: u64, seed: u64) -> Vec<u64> {
    let mut random = Random::new(seed);
    let mut order: Vec<_> = (0..count).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, random.below(at as u64 + 1) as usize);
    }
    order
}

fn lines(order: &[u64]) -> String {
    order.iter().map(|&number| name(number) + "\n").collect()
}

#[test]
fn a_plan_brings_files_before_anybody_asks_for_them() {
    let bucket = bucket("plan", 200);
    let mount = bucket.mount("m").start();
    let order = shuffled(200, 1);
    let said = plan(&mount, bucket.scratch().path(), &lines(&order));
    assert_eq!(
        (&said["entries"], &said["bytes"]),
        (&200.into(), &(200 * 40 * KIB).into())
    );
    let all = 200 * 40 * KIB;
    assert!(wait_until(LIMIT, || mount.status()["cached_bytes"] == all));
    let ahead = mount.status()["plan"].clone();
    assert_eq!(
        (&ahead["position"], &ahead["ahead_bytes"]),
        (&0.into(), &all.into())
    );
    for &number in &order[..150] {
        read(&mount, number);
    }
    assert!(wait_until(LIMIT, || mount.status()["plan"]["position"] == 150));
    order[150..].iter().for_each(|&number| read(&mount, number));
    assert!(wait_until(LIMIT, || mount.status()["plan"].is_null()));
    assert_eq!(bucket.reads(), 200, "each file once");
    assert_eq!(metric(&mount, "forebay_fuse_waiting_reads_total"), 0.0);
    mount.assert_quiet();
    mount.unmount();
}

#[test]
fn a_plan_by_seed_is_followed_within_its_window() {
    let bucket = Bucket::new("plan-seed", 400 * MIB);
    for number in 0..60 {
        bucket.put_stream(&name(number), MIB, number);
    }
    let mount = bucket
        .mount("m")
        .args(&["--prefetch-budget", "8MiB"])
        .start();
    let dir = bucket.scratch().path();
    plan(
        &mount,
        dir,
        r#"{"seed": 7, "glob": "train/*.bin", "len": 60}"#,
    );
    // Half of the budget lies ahead of the readers, and no more than one file beside it.
    let ahead = |mount: &Mount| mount.status()["plan"]["ahead_bytes"].as_u64().unwrap();
    assert!(wait_until(LIMIT, || ahead(&mount) >= 4 * MIB));
    assert!(
        wait_until(LIMIT, || bucket.reads() == 4),
        "{}",
        bucket.reads()
    );
    assert!(ahead(&mount) <= 4 * MIB);
    assert!(metric(&mount, "forebay_prefetch_window_bytes") <= (8 * MIB) as f64);
    mount.assert_quiet();
    mount.unmount();
}

#[test]
fn files_read_in_order_are_there_before_they_are_opened() {
    let bucket = bucket("neighbours", 300);
    let mount = bucket.mount("m").start();
    (0..300).for_each(|number| read(&mount, number));
    assert_eq!(bucket.reads(), 300, "each file once");
    let waits = metric(&mount, "forebay_fuse_waiting_reads_total");
    assert!(waits < 150.0, "{waits} of 300 reads waited");
    mount.assert_quiet();
    mount.unmount();
}

#[test]
fn files_read_at_random_bring_nothing_else() {
    let bucket = bucket("shuffled", 400);
    let mount = bucket.mount("m").start();
    for &number in &shuffled(400, 3)[..200] {
        read(&mount, number);
    }
    assert!((200..=215).contains(&bucket.reads()), "{}", bucket.reads());
    mount.unmount();
}

#[test]
fn steps_of_one_length_are_fetched_ahead_and_random_reads_are_not() {
    let bucket = Bucket::new("stride", 400 * MIB);
    bucket.put_stream("columns", 200 * MIB, 1);
    bucket.put_stream("random", 200 * MIB, 2);
    let mount = bucket.mount("m").args(&["--open-mode", "plain"]).start();
    let mut buffer = vec![0; 64 << 10];
    let columns = open_random(&mount.path().join("columns")).unwrap();
    for step in 0..10 {
        use std::os::unix::fs::FileExt;
        columns.read_exact_at(&mut buffer, step * 7 * MIB).unwrap();
    }
    assert!(
        wait_until(LIMIT, || bucket.reads() > 12),
        "{}",
        bucket.reads()
    );
    drop(columns);
    assert!(wait_until(LIMIT, || metric(
        &mount,
        "forebay_prefetch_window_bytes"
    ) == 0.0));
    let before = bucket.server().stats().object_bytes_sent;
    let random = open_random(&mount.path().join("random")).unwrap();
    let mut numbers = Random::new(5);
    for _ in 0..40 {
        use std::os::unix::fs::FileExt;
        let at = numbers.below(190) * MIB + 1000;
        random.read_exact_at(&mut buffer, at).unwrap();
    }
    let sent = bucket.server().stats().object_bytes_sent - before;
    assert!(sent <= 40 * 2 * MIB, "{sent}");
    mount.unmount();
}

#[test]
fn a_reader_is_served_while_prefetch_hangs() {
    let bucket = Bucket::new("hanging", 400 * MIB);
    for number in 0..300 {
        bucket.put_stream(&name(number), 40 * KIB, number);
    }
    bucket.put_stream("other", MIB, 999);
    for number in 0..300 {
        let hang = Action::Delay(Duration::from_secs(100));
        bucket.spoil_reads(Fault::new(hang).key(name(number)).always());
    }
    let mount = bucket.mount("m").start();
    plan(
        &mount,
        bucket.scratch().path(),
        r#"{"seed": 1, "glob": "train/*"}"#,
    );
    assert!(wait_until(LIMIT, || bucket.reads() >= 8));
    assert!(fs::read(mount.path().join("other")).unwrap() == stream(999, MIB));
    mount.unmount();
}

#[test]
fn without_a_budget_only_what_is_read_is_fetched() {
    let bucket = bucket("no-budget", 100);
    let mount = bucket.mount("m").args(&["--prefetch-budget", "0"]).start();
    plan(&mount, bucket.scratch().path(), &lines(&shuffled(100, 1)));
    (0..50).for_each(|number| read(&mount, number));
    assert_eq!(bucket.reads(), 50);
    mount.unmount();
}
