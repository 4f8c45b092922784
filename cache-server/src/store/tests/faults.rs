//! Faults of real file systems: small ones, full ones, read-only ones.
//!
//! They are mounted for the test, which takes root. Without it the tests fail, unless
//! `FOREBAY_SKIP_ROOT_TESTS` is set.

use std::ffi::CString;
use std::path::PathBuf;

use forebay_core::ErrorKind;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_remount, unmount};

use super::*;

const MIB: u64 = CHUNK_SIZE;

/// A directory with something mounted on it.
struct Mounted {
    at: PathBuf,
    _dir: Option<TempDir>,
}

impl Mounted {
    /// A tmpfs with `options`; `None` if the tests that need root are to be skipped.
    fn tmpfs(options: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            let skip = std::env::var_os("FOREBAY_SKIP_ROOT_TESTS").is_some();
            assert!(
                skip,
                "mounting a tmpfs takes root; set FOREBAY_SKIP_ROOT_TESTS to skip"
            );
            eprintln!("skipped: mounting a tmpfs takes root");
            return None;
        }
        let dir = scratch();
        let options = CString::new(options).unwrap();
        mount(
            "none",
            dir.path(),
            "tmpfs",
            MountFlags::empty(),
            options.as_c_str(),
        )
        .unwrap();
        Some(Self {
            at: dir.path().to_path_buf(),
            _dir: Some(dir),
        })
    }

    /// Covers `dir` by a read-only view of itself, as a file system is after an error.
    fn read_only_over(dir: &Path) -> Self {
        mount_bind(dir, dir).unwrap();
        let flags = MountFlags::BIND | MountFlags::RDONLY;
        mount_remount(dir, flags, "").unwrap();
        Self {
            at: dir.to_path_buf(),
            _dir: None,
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(&self.at, UnmountFlags::DETACH).unwrap();
    }
}

fn samples(count: u64) -> Vec<Sample> {
    (0..count).map(|number| Sample::new(number, MIB)).collect()
}

#[test]
fn a_full_disk_evicts_and_goes_on() {
    let Some(disk) = Mounted::tmpfs("size=24m") else {
        return;
    };
    let store = Store::open(config(&disk.at)).unwrap();
    let samples = samples(60);
    for sample in &samples {
        let lease = sample.lease(&store);
        sample.fill(&lease);
        assert_eq!(sample.present(&lease), [0]);
    }
    let stats = store.stats();
    assert!(stats.enospc > 0 && stats.evicted_objects > 0, "{stats:?}");
    assert_eq!((stats.full_writes, stats.failed_tiers), (0, 0));
    audit(&store, &samples);
}

#[test]
fn a_disk_full_of_objects_in_use_refuses_and_harms_nobody() {
    let Some(disk) = Mounted::tmpfs("size=6m") else {
        return;
    };
    let store = Store::open(config(&disk.at)).unwrap();
    let samples = samples(9);
    let leases: Vec<_> = samples.iter().map(|sample| sample.lease(&store)).collect();
    let taken: Vec<_> = samples
        .iter()
        .zip(&leases)
        .map(|(s, lease)| s.write(lease, 0).is_ok())
        .collect();
    assert!(taken[0] && !taken[8], "{taken:?}");
    for ((sample, lease), taken) in samples.iter().zip(&leases).zip(&taken) {
        assert_eq!(sample.present(lease).len(), usize::from(*taken));
    }
    // What did not fit has left nothing that takes up room.
    assert_eq!(
        data_files(&disk.at).len(),
        taken.iter().filter(|taken| **taken).count()
    );
    assert_eq!(store.stats().failed_tiers, 0);
    audit(&store, &samples);
    drop(leases);
    samples[8].put(&store);
    assert_eq!(samples[8].present(&samples[8].lease(&store)), [0]);
}

#[test]
fn the_memory_tier_takes_what_a_full_disk_cannot() {
    let Some(disk) = Mounted::tmpfs("size=4m") else {
        return;
    };
    let memory = scratch();
    let mut config = config(&disk.at);
    config
        .tiers
        .push(TierConfig::new(TierKind::Memory, memory.path(), 1 << 30));
    let store = Store::open(config).unwrap();
    let samples = samples(10);
    let leases: Vec<_> = samples.iter().map(|sample| sample.lease(&store)).collect();
    for (sample, lease) in samples.iter().zip(&leases) {
        sample.fill(lease);
        assert_eq!(sample.present(lease), [0]);
    }
    let files = (data_files(&disk.at).len(), data_files(memory.path()).len());
    assert!(
        files.0 > 0 && files.1 > 0 && files.0 + files.1 == 10,
        "{files:?}"
    );
    audit(&store, &samples);
}

#[test]
fn a_file_system_without_inodes_evicts_and_goes_on() {
    let Some(disk) = Mounted::tmpfs("size=128m,nr_inodes=30") else {
        return;
    };
    let store = Store::open(config(&disk.at)).unwrap();
    let samples = samples(60);
    let kept = samples
        .iter()
        .filter(|s| s.write(&s.lease(&store), 0).is_ok())
        .count();
    // Directories take inodes as well, and are not given back.
    assert!(kept > 10, "{kept} of 60");
    assert!(store.stats().enospc > 0);
    assert_eq!(store.stats().failed_tiers, 0);
    audit(&store, &samples);
}

#[test]
fn the_reserve_of_the_file_system_is_left_to_others() {
    let Some(disk) = Mounted::tmpfs("size=32m") else {
        return;
    };
    let mut config = config(&disk.at);
    config.tiers[0].min_free = Some(20 * MIB);
    let store = Store::open(config).unwrap();
    let samples = samples(40);
    for sample in &samples {
        sample.put(&store);
        let free = rustix::fs::statvfs(&disk.at).unwrap();
        assert!(free.f_bavail * free.f_frsize >= 18 * MIB);
    }
    let stats = store.stats();
    assert!(
        stats.objects >= 8,
        "the reserve emptied the cache: {stats:?}"
    );
    assert_eq!(stats.full_writes, 0);
    audit(&store, &samples);
}

#[test]
fn a_disk_that_turns_read_only_is_read_on_and_no_longer_written() {
    let Some(disk) = Mounted::tmpfs("size=64m") else {
        return;
    };
    let memory = scratch();
    let mut config = config(&disk.at);
    config
        .tiers
        .push(TierConfig::new(TierKind::Memory, memory.path(), 1 << 30));
    let store = Store::open(config).unwrap();
    let samples = samples(4);
    let partial = Sample::new(50, 2 * MIB);
    samples[0].put(&store);
    partial.write(&partial.lease(&store), 0).unwrap();
    let cover = Mounted::read_only_over(&disk.at);
    for sample in &samples[1..] {
        sample.put(&store);
        assert_eq!(sample.present(&sample.lease(&store)), [0]);
    }
    assert_eq!(store.stats().failed_tiers, 1);
    assert_eq!(data_files(memory.path()).len(), 3);
    assert_eq!(samples[0].present(&samples[0].lease(&store)), [0]);
    // What has bytes there cannot go on elsewhere.
    let lease = partial.lease(&store);
    assert_eq!(partial.write(&lease, 1), Err(WriteError::Full));
    assert_eq!(partial.present(&lease), [0]);
    drop((lease, store, cover));
}

#[test]
fn a_read_only_directory_is_refused() {
    let Some(disk) = Mounted::tmpfs("size=8m") else {
        return;
    };
    drop(Store::open(config(&disk.at.join("old"))).unwrap());
    let _cover = Mounted::read_only_over(&disk.at);
    for name in ["old", "new"] {
        let error = Store::open(config(&disk.at.join(name))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(
            error.to_string().contains("read-only file system"),
            "{error}"
        );
    }
}

#[test]
fn a_directory_without_room_is_refused() {
    let Some(disk) = Mounted::tmpfs("size=64k") else {
        return;
    };
    fs::write(disk.at.join("ballast"), vec![1; 64 << 10]).unwrap();
    let error = Store::open(config(&disk.at.join("cache"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    assert!(error.to_string().contains("no room left"), "{error}");
}

#[test]
fn a_cache_that_is_removed_while_in_use_is_no_error_for_readers() {
    let dir = scratch();
    let cache = dir.path().join("cache");
    let store = Store::open(config(&cache)).unwrap();
    let (open, shut) = (Sample::new(1, MIB), Sample::new(2, MIB));
    let lease = open.lease(&store);
    open.fill(&lease);
    let _ = open.present(&lease);
    shut.put(&store);
    fs::remove_dir_all(&cache).unwrap();
    assert_eq!(open.present(&lease), [0]);
    assert!(shut.lease(&store).backing().is_none());
    assert_eq!(shut.write(&shut.lease(&store), 0), Err(WriteError::Full));
    assert_eq!(store.stats().failed_tiers, 1);
    drop((lease, store));
    assert!(!cache.exists());
}
