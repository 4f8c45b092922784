//! The process is killed, the machine keeps running: nothing wrong is ever read, and what
//! was cached is not fetched again.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use forebay_tests::{
    Bucket, Dataset, Difference, Mount, Random, Shape, Sizes, drop_pages, read_at, stream_at,
    wait_until,
};

const MIB: u64 = 1 << 20;
const SOON: Duration = Duration::from_secs(30);

fn dataset(bucket: &Bucket) -> Dataset {
    let dataset = Dataset::new(&Shape {
        files: 24,
        directories: 3,
        sizes: Sizes::Even(0, 6 * MIB),
        seed: 11,
    });
    dataset.put_to(bucket.server(), Bucket::NAME, "");
    dataset
}

fn fetched(mount: &Mount) -> u64 {
    mount.status()["origin"]["bytes"].as_u64().unwrap()
}

fn cached(mount: &Mount) -> u64 {
    mount.status()["cached_bytes"].as_u64().unwrap()
}

/// Reads files in an order of its own until the mount dies; whatever it gets is right.
fn read_until_the_end(dataset: &Dataset, root: &Path, mut random: Random) {
    loop {
        let file = random.pick(dataset.files());
        match file.compare(&root.join(&file.path)) {
            Ok(()) => {}
            Err(Difference::Unreadable(_)) => return,
            Err(wrong) => panic!("{}: {wrong:?}", file.path),
        }
    }
}

#[test]
fn a_mount_killed_while_it_fills_its_cache_comes_back_with_right_bytes_and_keeps_them() {
    let bucket = Bucket::new("crash", 1 << 30);
    let dataset = dataset(&bucket);
    let mut random = Random::new(1);
    for _ in 0..5 {
        let mount = bucket.mount("m").start();
        let before = bucket.server().stats().object_bytes_sent;
        let enough = before + random.below(dataset.bytes() / 5);
        thread::scope(|scope| {
            for _ in 0..3 {
                let (root, random) = (mount.path(), Random::new(random.word()));
                let dataset = &dataset;
                scope.spawn(move || read_until_the_end(dataset, &root, random));
            }
            let sent = || bucket.server().stats().object_bytes_sent;
            wait_until(Duration::from_secs(1), || sent() >= enough);
            mount.crash();
        });
        mount.kill();
    }
    let mount = bucket.mount("m").start();
    let kept = cached(&mount);
    assert!(kept > 0, "five processes have left nothing in the cache");
    dataset.assert_at(&mount.path());
    let status = mount.status();
    assert_eq!(status["origin"]["bytes"], dataset.bytes() - kept);
    assert_eq!(status["corrupt_chunks"], 0);
    assert_eq!(status["cached_bytes"], dataset.bytes());
    mount.unmount();
}

#[test]
fn a_mount_killed_while_it_evicts_comes_back_with_right_bytes() {
    let bucket = Bucket::new("crash", 1 << 30);
    let dataset = dataset(&bucket);
    let mut random = Random::new(2);
    for _ in 0..4 {
        let mount = bucket.mount("m").args(&["--cache-size", "12MiB"]).start();
        let before = bucket.server().stats().object_bytes_sent;
        let enough = before + 10 * MIB + random.below(20 * MIB);
        thread::scope(|scope| {
            for _ in 0..2 {
                let (root, random) = (mount.path(), Random::new(random.word()));
                let dataset = &dataset;
                scope.spawn(move || read_until_the_end(dataset, &root, random));
            }
            let sent = || bucket.server().stats().object_bytes_sent;
            assert!(wait_until(SOON, || sent() >= enough));
            mount.crash();
        });
        mount.kill();
    }
    let mount = bucket.mount("m").args(&["--cache-size", "12MiB"]).start();
    dataset.assert_at(&mount.path());
    let status = mount.status();
    assert_eq!(status["corrupt_chunks"], 0);
    assert!(status["cache"]["used_bytes"].as_u64().unwrap() <= 12 * MIB);
    mount.unmount();
}

#[test]
fn a_restart_after_kill_9_fetches_nothing_again() {
    // promise S-26: After a crash or a restart, cached bytes are given out only if they have the right checksum; others are fetched again.
    let bucket = Bucket::new("crash", 1 << 30);
    let dataset = dataset(&bucket);
    let mount = bucket.mount("m").start();
    dataset.assert_at(&mount.path());
    mount.kill();
    let reads = bucket.reads();
    let mount = bucket.mount("m").start();
    dataset.assert_at(&mount.path());
    assert_eq!(fetched(&mount), 0);
    assert_eq!(bucket.reads(), reads);
    mount.assert_quiet();
    mount.unmount();
}

#[test]
fn pages_that_random_reads_brought_outlast_kill_9() {
    const SIZE: u64 = 256 * MIB;
    const READ: u64 = 128 << 10;
    let bucket = Bucket::new("crash", 1 << 30);
    bucket.put_stream("large", SIZE, 3);
    let mut random = Random::new(5);
    let places: Vec<u64> = (0..200).map(|_| random.below(SIZE - READ)).collect();
    let read = |mount: &Mount| {
        let path = mount.path().join("large");
        for &place in &places {
            let expected = stream_at(3, place, READ);
            assert!(
                read_at(&path, place, expected.len()).unwrap() == expected,
                "at {place}"
            );
        }
    };
    let mount = bucket.mount("m").start();
    read(&mount);
    let (asked, brought) = (200 * READ, fetched(&mount));
    assert!(brought <= asked * 11 / 10, "{brought} bytes for {asked}");
    mount.kill();
    let mount = bucket.mount("m").start();
    read(&mount);
    assert_eq!((fetched(&mount), cached(&mount)), (0, brought));
    mount.assert_quiet();
    mount.unmount();
}

#[test]
fn an_unmount_right_after_the_last_read_loses_nothing_of_the_cache() {
    let bucket = Bucket::new("crash", 1 << 30);
    let dataset = dataset(&bucket);
    let mount = bucket.mount("m").start();
    dataset.assert_at(&mount.path());
    mount.unmount();
    let mount = bucket.mount("m").start();
    assert_eq!(cached(&mount), dataset.bytes());
    dataset.assert_at(&mount.path());
    assert_eq!(fetched(&mount), 0);
    // The other way to end it.
    let ended = mount.terminate(SOON);
    assert!(ended.is_some_and(|ended| ended.success()), "{ended:?}");
    mount.assert_quiet();
    drop(mount);
    let mount = bucket.mount("m").start();
    dataset.assert_at(&mount.path());
    assert_eq!(fetched(&mount), 0);
    mount.unmount();
}

/// The files of the disk tier that hold bytes of objects: those of one each, and packs.
fn data_files(cache: &Path) -> Vec<PathBuf> {
    let entries = |dir: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let mut files: Vec<_> = entries(&cache.join("disk/objects"))
        .iter()
        .flat_map(|dir| entries(dir))
        .collect();
    files.extend(entries(&cache.join("disk/packs")));
    files.sort();
    assert!(!files.is_empty());
    files
}

#[test]
fn cached_bytes_that_changed_on_disk_are_never_given_out() {
    // promise S-26: After a crash or a restart, cached bytes are given out only if they have the right checksum; others are fetched again.
    let bucket = Bucket::new("crash", 1 << 30);
    let dataset = dataset(&bucket);
    let mount = bucket.mount("m").start();
    dataset.assert_at(&mount.path());
    mount.kill();
    let command = bucket.mount("m");
    let files = data_files(command.cache_dir());
    for (number, path) in files.iter().enumerate() {
        let file = File::options().read(true).write(true).open(path).unwrap();
        let len = file.metadata().unwrap().len();
        match number % 4 {
            0 => flip(&file, len / 2),
            1 => flip(&file, len - 1),
            2 => file.set_len(len / 2).unwrap(),
            _ => {}
        }
    }
    fs::remove_file(files.last().unwrap()).unwrap();
    let mount = command.start();
    dataset.assert_at(&mount.path());
    let status = mount.status();
    // Every fourth file was flipped in the middle, and every fourth at its end.
    let flipped = files.len().div_ceil(4) + (files.len() - 1).div_ceil(4);
    let corrupt = status["corrupt_chunks"].as_u64().unwrap();
    assert!(corrupt + 1 >= flipped as u64, "{corrupt} of {flipped}");
    let fetched = status["origin"]["bytes"].as_u64().unwrap();
    assert!(fetched > 0 && fetched < dataset.bytes(), "{fetched}");
    // What was wrong is right again on the disk.
    mount.unmount();
    let mount = bucket.mount("m").start();
    dataset.assert_at(&mount.path());
    assert_eq!(mount.status()["origin"]["bytes"], 0);
    assert_eq!(mount.status()["corrupt_chunks"], 0);
    mount.unmount();
}

#[test]
fn a_damaged_journal_costs_cached_bytes_and_never_a_wrong_one() {
    let bucket = Bucket::new("crash", 1 << 30);
    let dataset = dataset(&bucket);
    let journal = bucket.mount("m").cache_dir().join("disk/journal");
    let mut random = Random::new(3);
    for round in 0..4 {
        let mount = bucket.mount("m").start();
        dataset.assert_at(&mount.path());
        mount.kill();
        let file = File::options()
            .read(true)
            .write(true)
            .open(&journal)
            .unwrap();
        let len = file.metadata().unwrap().len();
        match round {
            0 => (0..5).for_each(|_| flip(&file, random.below(len))),
            1 => file.set_len(random.below(len)).unwrap(),
            2 => file.set_len(0).unwrap(),
            _ => file.write_all_at(&[0xff; 1000], len).unwrap(),
        }
    }
    let mount = bucket.mount("m").start();
    dataset.assert_at(&mount.path());
    mount.unmount();
}

#[test]
fn cached_files_that_somebody_removes_under_a_running_mount_are_fetched_again() {
    let bucket = Bucket::new("crash", 1 << 30);
    let dataset = dataset(&bucket);
    let mount = bucket.mount("m").start();
    dataset.assert_at(&mount.path());
    for path in data_files(bucket.mount("m").cache_dir()) {
        fs::remove_file(path).unwrap();
    }
    for number in 0..dataset.files().len() {
        drop_pages(&dataset.path_of(number, &mount.path()));
    }
    dataset.assert_at(&mount.path());
    mount.unmount();
    let mount = bucket.mount("m").start();
    dataset.assert_at(&mount.path());
    mount.unmount();
}

#[test]
fn a_damaged_stored_version_is_never_mounted() {
    let bucket = Bucket::new("crash", 1 << 30);
    let dataset = dataset(&bucket);
    let mount = bucket.mount("m").start();
    let version = mount.status()["version"].as_str().unwrap().to_owned();
    mount.unmount();
    let manifests = bucket.mount("m").cache_dir().join("manifests");
    let of_dataset = fs::read_dir(manifests).unwrap().next().unwrap().unwrap();
    let path = of_dataset.path().join(format!("{version}.manifest"));
    let file = File::options().read(true).write(true).open(path).unwrap();
    flip(&file, file.metadata().unwrap().len() / 2);
    let pinned = bucket.mount("m").args(&["--version", &version]);
    let (ended, log) = pinned.refused(SOON);
    assert_eq!(ended.code(), Some(5), "{log}");
    let said = log.lines().last().unwrap();
    assert!(
        said.contains(&version) && said.contains("--version"),
        "{said}"
    );
    // The origin is there: its listing takes the place of the damaged one.
    let mount = bucket.mount("m").start();
    assert_eq!(mount.status()["version"], *version);
    dataset.assert_at(&mount.path());
    mount.unmount();
    let mount = bucket.mount("m").args(&["--version", &version]).start();
    dataset.assert_at(&mount.path());
    mount.unmount();
}

fn flip(file: &File, at: u64) {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[!byte[0]], at).unwrap();
}
