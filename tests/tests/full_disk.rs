//! A cache that cannot keep what is read: readers get every byte all the same.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use forebay_tests::{Bucket, Dataset, Mount, Shape, Sizes, Tmpfs, drop_pages, wait_until};
use serde_json::Value;

const MIB: u64 = 1 << 20;
const LIMIT: Duration = Duration::from_secs(15);
/// The exit code for a cache directory that cannot be used.
const CACHE_DIR: Option<i32> = Some(5);

/// Files that are not read before there is room for them.
const FRESH: u64 = 500;

/// About 40 MiB in files of up to 4 MiB.
fn dataset(bucket: &Bucket) -> Dataset {
    let dataset = Dataset::new(&Shape {
        files: 20,
        directories: 0,
        sizes: Sizes::Even(1, 4 * MIB),
        seed: 8,
    });
    dataset.put_to(bucket.server(), Bucket::NAME, "");
    dataset
}

/// Reads everything as if for the first time.
#[track_caller]
fn read_all(dataset: &Dataset, mount: &Mount) {
    for number in 0..dataset.files().len() {
        drop_pages(&dataset.path_of(number, &mount.path()));
    }
    dataset.assert_at(&mount.path());
}

fn cache_use(mount: &Mount, field: &str) -> u64 {
    mount.status()["cache"][field].as_u64().unwrap()
}

/// Only that there is no room may be said, and no reader may hear of it.
#[track_caller]
fn assert_no_read_failed(mount: &Mount) {
    let failed = |line: &&String| line.contains("request failed") || line.contains("ERROR");
    let alarms = mount.alarms();
    assert_eq!(alarms.iter().find(failed), None, "{alarms:#?}");
}

/// Takes all room that is left.
fn fill(dir: &Path) -> File {
    let mut file = File::create(dir.join("not ours")).unwrap();
    let block = vec![1; 64 << 10];
    while file.write_all(&block).is_ok() {}
    file
}

#[test]
fn a_dataset_larger_than_the_file_system_of_the_cache_is_read_right_twice() {
    // promise S-25: A full cache or a full disk never fails a read.
    let bucket = Bucket::new("full", 10 * MIB);
    let command = bucket.mount("m").args(&["--cache-size", "10GiB"]);
    let _disk = Tmpfs::mount(command.cache_dir(), 24 * MIB);
    let dataset = dataset(&bucket);
    let mount = command.start();
    read_all(&dataset, &mount);
    assert!(cache_use(&mount, "evicted_bytes") > 0);
    let used = cache_use(&mount, "used_bytes");
    assert!(used > 12 * MIB && used < 24 * MIB, "{used}");
    read_all(&dataset, &mount);
    assert_no_read_failed(&mount);
    mount.unmount();
}

#[test]
fn a_disk_that_others_fill_up_slows_reads_down_and_fails_none() {
    // promise S-25: A full cache or a full disk never fails a read.
    let bucket = Bucket::new("full", 10 * MIB);
    let command = bucket.mount("m").args(&["--cache-size", "10GiB"]);
    let cache = command.cache_dir().to_owned();
    let _disk = Tmpfs::mount(&cache, 96 * MIB);
    let dataset = dataset(&bucket);
    for number in 0..FRESH {
        bucket.put_stream(&format!("fresh/{number}"), 1000, number);
    }
    let mount = command.start();
    let taken = fill(&cache);
    read_all(&dataset, &mount);
    read_all(&dataset, &mount);
    assert_no_read_failed(&mount);
    // Room comes back: what is read from then on is kept again.
    drop(taken);
    fs::remove_file(cache.join("not ours")).unwrap();
    let before = mount.status()["cached_bytes"].as_u64().unwrap();
    let mut fresh = (0..FRESH).map(|number| mount.path().join(format!("fresh/{number}")));
    let kept = || {
        fs::read(fresh.next().unwrap()).unwrap();
        mount.status()["cached_bytes"].as_u64().unwrap() > before
    };
    assert!(wait_until(LIMIT, kept), "{:#}", mount.status());
    mount.unmount();
}

#[test]
fn a_quota_smaller_than_the_dataset_is_kept_and_every_byte_is_right() {
    let policies = ["s3-fifo", "lru"];
    policies.iter().for_each(|policy| a_quota_is_kept(policy));
}

fn a_quota_is_kept(policy: &str) {
    let args = ["--cache-size", "12MiB", "--policy", policy];
    let bucket = Bucket::new("full", 100 * MIB);
    let dataset = dataset(&bucket);
    // Larger than the whole cache, in one file.
    bucket.put_stream("large", 20 * MIB, 1);
    let mount = bucket.mount("m").args(&args).start();
    let large = mount.path().join("large");
    for _ in 0..2 {
        read_all(&dataset, &mount);
        drop_pages(&large);
        assert!(fs::read(&large).unwrap() == forebay_tests::stream(1, 20 * MIB));
        let used = cache_use(&mount, "used_bytes");
        assert!(used > 0 && used <= 12 * MIB, "{used}");
    }
    assert_eq!(cache_use(&mount, "capacity_bytes"), 12 * MIB);
    assert_no_read_failed(&mount);
    mount.unmount();
    // What was kept is right, too.
    let mount = bucket.mount("m").args(&args).start();
    read_all(&dataset, &mount);
    assert_eq!(mount.status()["corrupt_chunks"], 0);
    mount.unmount();
}

/// The directory of a cache in memory, which outlives its mount. Removed when dropped.
struct Memory(PathBuf);

impl Memory {
    /// That of a process, by the number in its lock.
    fn of(pid: u32) -> Self {
        let dirs = fs::read_dir("/dev/shm").unwrap().map(Result::unwrap);
        let held = |dir: &PathBuf| {
            let lock = fs::read_to_string(dir.join("LOCK"));
            lock.is_ok_and(|lock| lock.trim() == pid.to_string())
        };
        let mut dirs = dirs.map(|entry| entry.path());
        Self(dirs.find(held).unwrap())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn what_the_disk_has_no_room_for_is_kept_in_memory() {
    let bucket = Bucket::new("full", 10 * MIB);
    let args = ["--cache-size", "10GiB", "--memory-size", "128MiB"];
    let command = bucket.mount("m").args(&args);
    let _disk = Tmpfs::mount(command.cache_dir(), 32 * MIB);
    let dataset = dataset(&bucket);
    let mount = command.clone().start();
    let _memory = Memory::of(mount.pid());
    let _taken = fill(command.cache_dir());
    read_all(&dataset, &mount);
    let fetched = mount.status()["origin"]["bytes"].clone();
    assert_eq!(fetched, dataset.bytes());
    read_all(&dataset, &mount);
    assert_eq!(mount.status()["origin"]["bytes"], fetched);
    assert_eq!(mount.status()["cached_bytes"], dataset.bytes());
    assert_no_read_failed(&mount);
    mount.unmount();
}

#[test]
fn a_warm_up_that_does_not_fit_says_so_and_harms_no_reader() {
    let bucket = Bucket::new("full", 100 * MIB);
    let dataset = dataset(&bucket);
    let mount = bucket.mount("m").args(&["--cache-size", "12MiB"]).start();
    let warmup = mount.run(&["warmup", mount.path().to_str().unwrap(), "--json"]);
    assert_eq!(warmup.status.code(), Some(7), "{warmup:?}");
    let said = String::from_utf8(warmup.stdout).unwrap();
    let summary: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(summary["summary"]["complete"], false, "{summary:#}");
    read_all(&dataset, &mount);
    assert_no_read_failed(&mount);
    mount.unmount();
}

/// The one line that a refused mount ends with.
#[track_caller]
fn assert_refused(command: forebay_tests::MountCommand, words: &[&str]) {
    let (ended, log) = command.refused(LIMIT);
    assert_eq!(ended.code(), CACHE_DIR, "{log}");
    let errors: Vec<_> = log.lines().filter(|line| line.contains("error")).collect();
    assert_eq!(errors.len(), 1, "{log}");
    for word in words {
        assert!(
            errors[0].contains(word),
            "{word:?} is not in: {}",
            errors[0]
        );
    }
}

#[test]
fn a_cache_directory_on_a_read_only_file_system_is_refused_and_kept() {
    let bucket = Bucket::new("full", 10 * MIB);
    let disk = Tmpfs::mount(bucket.mount("m").cache_dir(), 128 * MIB);
    let dataset = dataset(&bucket);
    let mount = bucket.mount("m").start();
    read_all(&dataset, &mount);
    mount.unmount();
    disk.set_read_only(true);
    let command = bucket.mount("m");
    let dir = command.cache_dir().display().to_string();
    assert_refused(command, &[&dir, "ead-only", "--cache-dir"]);
    disk.set_read_only(false);
    let mount = bucket.mount("m").start();
    read_all(&dataset, &mount);
    assert_eq!(mount.status()["origin"]["bytes"], 0);
    mount.unmount();
}

#[test]
fn a_cache_directory_without_room_is_refused() {
    let bucket = Bucket::new("full", 10 * MIB);
    bucket.put("file", "content");
    let command = bucket.mount("m");
    let _disk = Tmpfs::mount(command.cache_dir(), 4 * MIB);
    let dir = command.cache_dir().display().to_string();
    assert_refused(command.clone(), &[&dir, "no room", "--cache-dir"]);
    let _taken = fill(command.cache_dir());
    let again = bucket.mount("n").cache(command.cache_dir());
    assert_refused(again, &[&dir, "no room", "--cache-dir"]);
}

#[test]
fn a_cache_directory_in_use_is_refused_with_the_process_that_has_it() {
    let bucket = Bucket::new("full", 100 * MIB);
    let dataset = dataset(&bucket);
    let mount = bucket.mount("m").start();
    let shared = bucket.mount("m").cache_dir().to_owned();
    let pid = format!("process {}", mount.pid());
    assert_refused(bucket.mount("other").cache(&shared), &["in use", &pid]);
    read_all(&dataset, &mount);
    mount.assert_quiet();
    mount.unmount();
    // Free again, with all that was kept.
    let mount = bucket.mount("other").cache(&shared).start();
    read_all(&dataset, &mount);
    assert_eq!(mount.status()["origin"]["bytes"], 0);
    mount.unmount();
}

#[test]
fn a_directory_with_files_of_somebody_else_is_refused_and_left_alone() {
    let bucket = Bucket::new("full", 10 * MIB);
    bucket.put("file", "content");
    let command = bucket.mount("m");
    let precious = command.cache_dir().join("disk/precious");
    fs::create_dir_all(precious.parent().unwrap()).unwrap();
    fs::write(&precious, "do not touch").unwrap();
    assert_refused(command, &["precious", "--cache-dir"]);
    assert_eq!(fs::read(&precious).unwrap(), b"do not touch");
}
