//! Many readers at once: each byte is fetched once, each reader gets the right ones.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Barrier;
use std::thread;

use forebay_loopback_s3::{Action, Fault};
use forebay_tests::{Bucket, Dataset, Mount, Random, Shape, Sizes, open_random, stream, stream_at};

const MIB: u64 = 1 << 20;

fn origin(mount: &Mount, field: &str) -> u64 {
    mount.status()["origin"][field].as_u64().unwrap()
}

#[test]
fn readers_of_one_cold_file_share_its_fetches() {
    let bucket = Bucket::new("many", 200 * MIB);
    bucket.put_stream("file", 24 * MIB + 9, 1);
    let mount = bucket.mount("m").start();
    let path = mount.path().join("file");
    let start = Barrier::new(8);
    thread::scope(|scope| {
        for number in 0..8 {
            let (path, start) = (&path, &start);
            scope.spawn(move || {
                start.wait();
                if number % 2 == 0 {
                    return assert!(fs::read(path).unwrap() == stream(1, 24 * MIB + 9));
                }
                read_backwards(path);
            });
        }
    });
    assert_eq!(origin(&mount, "bytes"), 24 * MIB + 9);
    mount.assert_quiet();
    mount.unmount();
}

fn read_backwards(path: &Path) {
    let file = open_random(path).unwrap();
    let mut buffer = vec![0; MIB as usize];
    for number in (0..24).rev() {
        file.read_exact_at(&mut buffer, number * MIB).unwrap();
        assert!(buffer == stream_at(1, number * MIB, MIB), "at {number} MiB");
    }
}

/// Reads at random, as a data loader with several workers does.
fn read_at_random(dataset: &Dataset, root: &Path, mut random: Random) {
    for _ in 0..60 {
        let file = random.pick(dataset.files());
        let opened = open_random(&root.join(&file.path)).unwrap();
        let offset = random.below(file.size);
        let len = (1 + random.below(300 << 10)).min(file.size - offset);
        let mut buffer = vec![0; len as usize];
        opened.read_exact_at(&mut buffer, offset).unwrap();
        assert!(
            buffer == stream_at(file.seed, offset, len),
            "{} at {offset}",
            file.path
        );
    }
}

fn many_read_at_random(bucket: &Bucket, mount: &Mount, seed: u64) {
    let dataset = Dataset::new(&Shape {
        files: 30,
        directories: 3,
        sizes: Sizes::Skewed(1, 8 * MIB),
        seed: 4,
    });
    dataset.put_to(bucket.server(), Bucket::NAME, "");
    mount.ask("refresh", &[]);
    thread::scope(|scope| {
        for number in 0..6 {
            let (dataset, root) = (&dataset, mount.path());
            scope.spawn(move || read_at_random(dataset, &root, Random::new(seed + number)));
        }
    });
    dataset.assert_at(&mount.path());
    let status = mount.status();
    let room = status["cache"]["capacity_bytes"].as_u64().unwrap();
    if room > dataset.bytes() * 2 {
        assert_eq!(status["origin"]["bytes"], dataset.bytes(), "fetched twice");
        assert_eq!(status["cached_bytes"], dataset.bytes());
    }
    mount.assert_quiet();
}

fn mounted(bucket: &Bucket, size: &str) -> Mount {
    bucket.put("first", "so that there is something to list");
    bucket.mount("m").args(&["--cache-size", size]).start()
}

#[test]
fn readers_at_random_fetch_each_byte_once() {
    let bucket = Bucket::new("many", 500 * MIB);
    let mount = mounted(&bucket, "400MiB");
    many_read_at_random(&bucket, &mount, 10);
    mount.unmount();
}

#[test]
fn readers_at_random_get_right_bytes_while_the_cache_evicts() {
    let bucket = Bucket::new("many", 500 * MIB);
    let mount = mounted(&bucket, "10MiB");
    many_read_at_random(&bucket, &mount, 20);
    mount.unmount();
}

#[test]
fn readers_at_random_get_right_bytes_from_an_origin_that_fails_often() {
    let bucket = Bucket::new("many", 500 * MIB);
    let mount = mounted(&bucket, "400MiB");
    for number in 0..40 {
        let action = match number % 4 {
            0 => Action::status(503, "SlowDown"),
            1 => Action::TruncateAfter(number << 10),
            2 => Action::Disconnect,
            _ => Action::SlowBody(2 << 20),
        };
        bucket.spoil_reads(Fault::new(action).after(2));
    }
    many_read_at_random(&bucket, &mount, 30);
    assert!(origin(&mount, "errors") >= 20);
    mount.unmount();
}
