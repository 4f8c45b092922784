//! Objects that change at the origin under a running mount: the pinned version or ESTALE,
//! never a mix.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use forebay_loopback_s3::{Action, Fault};
use forebay_tests::{
    Bucket, Random, drop_pages, errno, open_random, read_at, stream, stream_at, wait_until,
};
use rustix::fs::{Advice, fadvise};
use rustix::io::Errno;

const MIB: u64 = 1 << 20;
const LIMIT: Duration = Duration::from_secs(30);

/// Whether all of the file is what `seed` gives.
fn has(path: &Path, size: u64, seed: u64) -> bool {
    fs::read(path).unwrap() == stream(seed, size)
}

#[test]
fn an_object_overwritten_when_half_of_it_is_cached_is_read_in_its_old_half_and_stale_in_the_other()
{
    // promise S-15: An object that was overwritten or deleted at the origin is read in its pinned version where that is cached; elsewhere the read fails with ESTALE.
    let bucket = Bucket::new("versions", 200 * MIB);
    bucket.put_stream("file", 8 * MIB, 1);
    let mount = bucket.mount("m").start();
    let path = mount.path().join("file");
    let file = open_random(&path).unwrap();
    let mut buffer = vec![0; MIB as usize];
    file.read_exact_at(&mut buffer, 2 * MIB).unwrap();
    bucket.put_stream("file", 8 * MIB, 2);
    // The file that is open, and one that is opened now.
    for file in [&file, &open_random(&path).unwrap()] {
        drop_pages(&path);
        file.read_exact_at(&mut buffer, 2 * MIB).unwrap();
        assert!(buffer == stream_at(1, 2 * MIB, MIB), "not the old bytes");
        for at in [0, MIB, 3 * MIB, 7 * MIB] {
            let stale = file.read_at(&mut buffer, at);
            assert_eq!(errno(&stale), Some(Errno::STALE), "at {at}: {stale:?}");
        }
    }
    assert_eq!(fs::metadata(&path).unwrap().len(), 8 * MIB);
    let alarms = mount.alarms();
    assert!(
        alarms.iter().all(|line| line.contains("was overwritten")),
        "{alarms:?}"
    );
    mount.unmount();
}

#[test]
fn an_object_overwritten_between_two_pieces_of_one_read_is_stale() {
    let bucket = Bucket::new("versions", 200 * MIB);
    bucket.put_stream("file", MIB, 1);
    let mount = bucket.mount("m").start();
    bucket.spoil_reads(Fault::new(Action::TruncateAfter(MIB / 2)));
    bucket.spoil_reads(Fault::new(Action::status(503, "SlowDown")).always());
    let path = mount.path().join("file");
    let read = thread::spawn(move || fs::read(path));
    // The first half has come, and the second is asked for.
    assert!(wait_until(LIMIT, || bucket.reads() >= 2));
    bucket.put_stream("file", MIB, 2);
    bucket.server().faults().clear();
    let read = read.join().unwrap();
    assert_eq!(errno(&read), Some(Errno::STALE), "{read:?}");
    mount.unmount();
}

#[test]
fn a_cached_object_is_read_in_its_pinned_version_after_it_was_overwritten_or_deleted() {
    let bucket = Bucket::new("versions", 200 * MIB);
    let names = ["overwritten", "deleted", "shorter"];
    for name in names {
        bucket.put_stream(name, 3 * MIB + 7, 1);
    }
    let mount = bucket.mount("m").start();
    let root = mount.path();
    assert!(
        names
            .iter()
            .all(|name| has(&root.join(name), 3 * MIB + 7, 1))
    );
    bucket.put_stream("overwritten", 3 * MIB + 7, 2);
    bucket.remove("deleted");
    bucket.put_stream("shorter", MIB, 2);
    for name in names {
        drop_pages(&root.join(name));
        assert!(has(&root.join(name), 3 * MIB + 7, 1), "{name}");
    }
    mount.assert_quiet();
    mount.unmount();
}

#[test]
fn an_object_deleted_or_cut_before_it_was_read_is_stale() {
    let bucket = Bucket::new("versions", 200 * MIB);
    for name in ["deleted", "shorter", "longer"] {
        bucket.put_stream(name, MIB, 1);
    }
    let mount = bucket.mount("m").start();
    bucket.remove("deleted");
    bucket.put_stream("shorter", 10, 1);
    bucket.put_stream("longer", 2 * MIB, 1);
    for name in ["deleted", "shorter", "longer"] {
        let stale = fs::read(mount.path().join(name));
        assert_eq!(errno(&stale), Some(Errno::STALE), "{name}: {stale:?}");
    }
    mount.unmount();
}

/// What each object has ever been: the seeds of its versions.
type History = BTreeMap<String, Vec<u64>>;

const OBJECTS: u64 = 4;
const SIZE: u64 = 2 * MIB + 4096;

fn key(number: u64) -> String {
    format!("object {number}")
}

/// The bytes of one open file, until the end or the first that is stale.
fn read_some(path: &Path, random: &mut Random) -> io::Result<Vec<u8>> {
    let file = open_random(path)?;
    let mut content = Vec::new();
    let mut buffer = vec![0; 64 << 10 << random.below(5)];
    loop {
        let read = file.read_at(&mut buffer, content.len() as u64);
        match read {
            Ok(read) if read > 0 => content.extend_from_slice(&buffer[..read]),
            Ok(_) => break,
            Err(_) => {
                assert_eq!(errno(&read), Some(Errno::STALE), "{read:?}");
                break;
            }
        }
    }
    if random.below(2) == 0 {
        fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(content)
}

fn assert_of_one_version(content: &[u8], history: &History, key: &str) {
    let versions = &history[key];
    let of = |seed: &&u64| content == stream(**seed, content.len() as u64);
    assert!(
        versions.iter().find(of).is_some(),
        "{key}: {} bytes are mixed",
        content.len()
    );
}

#[test]
fn no_read_ever_mixes_versions_while_objects_are_overwritten_and_the_mount_is_refreshed() {
    let bucket = Bucket::new("versions", 400 * MIB);
    let mut random = Random::new(5);
    let mut history = History::new();
    for number in 0..OBJECTS {
        history.insert(key(number), vec![number]);
        bucket.put_stream(&key(number), SIZE, number);
    }
    // All that will ever be there, so that readers can tell right from wrong.
    let plan: Vec<_> = (0..30)
        .map(|round| (key(random.below(OBJECTS)), 100 + round))
        .collect();
    for (key, seed) in &plan {
        history.get_mut(key).unwrap().push(*seed);
    }
    let mount = bucket.mount("m").start();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            let (mut random, root) = (Random::new(random.word()), mount.path());
            let (history, done) = (&history, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let key = key(random.below(OBJECTS));
                    let path = root.join(&key);
                    match read_some(&path, &mut random) {
                        Ok(content) => assert_of_one_version(&content, history, &key),
                        // The path led to a version that a refresh has just replaced.
                        Err(error) => assert_eq!(error.raw_os_error(), Some(116), "{error}"),
                    }
                }
            });
        }
        for (key, seed) in &plan {
            let before = bucket.reads();
            bucket.put_stream(key, SIZE, *seed);
            if random.below(3) == 0 {
                mount.ask("refresh", &[]);
            }
            // Readers come in between.
            wait_until(Duration::from_millis(100), || bucket.reads() > before + 1);
        }
        done.store(true, Ordering::Relaxed);
    });
    mount.ask("refresh", &[]);
    for (key, versions) in &history {
        assert!(
            has(&mount.path().join(key), SIZE, *versions.last().unwrap()),
            "{key}"
        );
    }
    mount.unmount();
}

#[test]
fn a_read_across_cached_and_overwritten_bytes_never_has_the_new_ones() {
    let bucket = Bucket::new("versions", 200 * MIB);
    bucket.put_stream("file", 3 * MIB, 1);
    let mount = bucket.mount("m").start();
    let path = mount.path().join("file");
    let edge = 2 * MIB - 10;
    assert!(read_at(&path, edge, 10).unwrap() == stream_at(1, edge, 10));
    bucket.put_stream("file", 3 * MIB, 2);
    drop_pages(&path);
    let mut buffer = [0; 20];
    let across = open_random(&path).unwrap().read_at(&mut buffer, edge);
    // As much as is there, as on any file system, or the error at once.
    match across {
        Ok(read) => assert_eq!(buffer[..read], stream_at(1, edge, 10)),
        Err(_) => assert_eq!(errno(&across), Some(Errno::STALE)),
    }
    mount.unmount();
}
