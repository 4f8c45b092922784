//! Somebody writes to, cuts, removes or replaces the cache's files under a running mount.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use forebay_tests::{Bucket, Mount, drop_pages, open_random, read_at, stream, stream_at};

const MIB: u64 = 1 << 20;
const SIZE: u64 = 6 * MIB + 777;

/// What is done to a file of the cache.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Cut,
    Lengthen,
    Remove,
    Replace,
    Overwrite,
}

const ALL: [Damage; 5] = [
    Damage::Cut,
    Damage::Lengthen,
    Damage::Remove,
    Damage::Replace,
    Damage::Overwrite,
];

impl Damage {
    fn inflict(self, path: &Path) {
        let file = File::options().write(true).open(path).unwrap();
        match self {
            Self::Cut => file.set_len(MIB / 2).unwrap(),
            Self::Lengthen => file.set_len(SIZE + 1).unwrap(),
            Self::Remove => fs::remove_file(path).unwrap(),
            Self::Replace => {
                let other = path.with_extension("other");
                fs::write(&other, vec![0; SIZE as usize]).unwrap();
                fs::rename(other, path).unwrap();
            }
            Self::Overwrite => file.write_all_at(&[0; 5000], 3 * MIB).unwrap(),
        }
    }
}

/// The one file of the cache in which the object lies.
fn cache_file(bucket: &Bucket) -> PathBuf {
    let objects = bucket.mount("m").cache_dir().join("disk/objects");
    let shards = fs::read_dir(objects).unwrap().map(Result::unwrap);
    let mut files = shards.flat_map(|shard| fs::read_dir(shard.path()).unwrap());
    let file = files.next().unwrap().unwrap().path();
    assert!(files.next().is_none());
    file
}

fn mounted(bucket: &Bucket, mode: &str) -> Mount {
    bucket.put_stream("large", SIZE, 9);
    let mount = bucket.mount("m").args(&["--open-mode", mode]).start();
    assert!(fs::read(mount.path().join("large")).unwrap() == stream(9, SIZE));
    mount
}

#[test]
fn a_cache_file_that_is_damaged_before_an_open_gives_no_wrong_byte() {
    // promise S-32: A cached file that others have written to, cut, lengthened, removed or replaced is verified anew before it is opened again; what is wrong is fetched again.
    for mode in ["plain", "passthrough"] {
        for damage in ALL {
            let bucket = Bucket::new("damage", 1 << 30);
            let mount = mounted(&bucket, mode);
            let path = mount.path().join("large");
            // The first open after a file has become complete is passed through.
            assert!(fs::read(&path).unwrap() == stream(9, SIZE));
            damage.inflict(&cache_file(&bucket));
            for _ in 0..2 {
                drop_pages(&path);
                assert!(
                    fs::read(&path).unwrap() == stream(9, SIZE),
                    "{mode}, {damage:?}"
                );
            }
            let fetched = mount.status()["origin"]["bytes"].as_u64().unwrap() - SIZE;
            match damage {
                Damage::Overwrite => assert_eq!(fetched, MIB, "only what is wrong"),
                _ => assert!(fetched > 0 && fetched <= 2 * SIZE, "{damage:?}: {fetched}"),
            }
            mount.unmount();
        }
    }
}

#[test]
fn a_cache_file_that_is_cut_or_removed_under_an_open_file_gives_no_wrong_byte() {
    // promise S-33: A file that is open through the mount's process is read right to its end when its cached file is cut short, removed or replaced meanwhile.
    for damage in [Damage::Cut, Damage::Remove, Damage::Replace] {
        let bucket = Bucket::new("damage", 1 << 30);
        let mount = mounted(&bucket, "plain");
        let path = mount.path().join("large");
        let open = open_random(&path).unwrap();
        drop_pages(&path);
        damage.inflict(&cache_file(&bucket));
        for at in [0, MIB - 7, 2 * MIB, SIZE - 1000] {
            let mut found = [0; 1000];
            open.read_exact_at(&mut found, at).unwrap();
            assert!(found[..] == stream_at(9, at, 1000), "{damage:?} at {at}");
        }
        drop(open);
        drop_pages(&path);
        assert!(read_at(&path, 0, SIZE as usize).unwrap() == stream(9, SIZE));
        mount.unmount();
    }
}

/// Gives all files below `dir` the time `time`.
fn set_times(dir: &Path, time: SystemTime) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            set_times(&entry.path(), time);
        } else {
            File::open(entry.path())
                .unwrap()
                .set_modified(time)
                .unwrap();
        }
    }
}

#[test]
fn a_clock_that_jumps_costs_no_cached_byte() {
    let bucket = Bucket::new("damage", 1 << 30);
    bucket.put("small", "small");
    let mount = mounted(&bucket, "plain");
    assert_eq!(fs::read(mount.path().join("small")).unwrap(), b"small");
    mount.unmount();
    let a_century = Duration::from_secs(100 * 365 * 24 * 3600);
    let times = [SystemTime::UNIX_EPOCH, SystemTime::now() + a_century];
    for time in times {
        set_times(bucket.mount("m").cache_dir(), time);
        let mount = bucket.mount("m").start();
        assert!(fs::read(mount.path().join("large")).unwrap() == stream(9, SIZE));
        assert_eq!(fs::read(mount.path().join("small")).unwrap(), b"small");
        let status = mount.status();
        assert_eq!(status["origin"]["bytes"], 0, "{time:?}");
        assert_eq!(status["corrupt_chunks"], 0);
        mount.assert_quiet();
        mount.unmount();
    }
}
