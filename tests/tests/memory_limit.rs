//! A mount in a container with little memory.

use std::fs;
use std::time::Duration;

use forebay_tests::{Bucket, Dataset, Press, Shape, Sizes, wait_until};

const MIB: u64 = 1 << 20;

#[test]
fn sixty_four_readers_are_served_within_128_mib() {
    let pressed = Press {
        memory: 128 * MIB,
        readers: 64,
        bytes: 512 * MIB,
        cache: 192 * MIB,
        limit: Duration::from_secs(180),
    }
    .run("memory-limit");
    println!(
        "peak {} MiB, {} MiB evicted, {:.1?}",
        pressed.peak_bytes / MIB,
        pressed.evicted_bytes / MIB,
        pressed.took
    );
    assert_eq!((pressed.kills, pressed.faults.first()), (0, None));
    assert!(pressed.evicted_bytes > 0, "the cache was never full");
}

/// Memory of process `pid` that is no file's, in bytes.
fn anonymous(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB"));
    let kib: u64 = kib.and_then(|kib| kib.parse().ok()).expect("RssAnon in kB");
    kib << 10
}

#[test]
fn memory_that_fetching_took_is_given_back() {
    let bucket = Bucket::new("memory-given-back", 512 * MIB);
    let dataset = Dataset::new(&Shape {
        files: 1,
        directories: 0,
        sizes: Sizes::Fixed(256 * MIB),
        seed: 7,
    });
    dataset.put_to(bucket.server(), Bucket::NAME, "");
    let mount = bucket.mount("m").start();
    let file = &dataset.files()[0];
    file.compare(&mount.path().join(&file.path)).expect("right");
    let now = || anonymous(mount.pid());
    let fetched = now();
    let is_less = wait_until(Duration::from_secs(10), || now() + 4 * MIB < fetched);
    assert!(
        is_less,
        "{fetched} bytes when all was there, {} later",
        now()
    );
}
