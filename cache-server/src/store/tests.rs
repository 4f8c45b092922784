//! The store's promises, each under the fault that would break it.
//!
//! Nothing here reads a cached byte without comparing it with what it must be.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use forebay_core::chunk::{self, CHUNK_SIZE, PAGE_SIZE};
use forebay_core::{ByteRange, ETag, ObjectId};
use tempfile::TempDir;

use super::journal::{BootId, this_boot};
use super::*;

mod basics;
mod crash;
mod damage;
mod directories;
mod faults;
mod model;
mod others;
mod packs;
mod room;
mod scrub;
mod shares;
mod stress;

/// A boot that is not this one.
const ANOTHER_BOOT: BootId = [0x5a; 16];

pub(super) fn scratch() -> TempDir {
    tempfile::Builder::new()
        .prefix("forebay-store-")
        .tempdir()
        .unwrap()
}

/// A store of one disk tier in `dir` that flushes only when told.
fn config(dir: &Path) -> StoreConfig {
    let tier = TierConfig {
        min_free: Some(0),
        ..TierConfig::new(TierKind::Disk, dir, 1 << 30)
    };
    StoreConfig {
        flush_interval: Duration::from_secs(3600),
        scrub_rate: 0,
        ..StoreConfig::new(vec![tier])
    }
}

fn config_with_quota(dir: &Path, quota: u64) -> StoreConfig {
    let mut config = config(dir);
    config.tiers[0].quota = quota;
    config
}

/// An object whose bytes follow from its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Sample {
    number: u64,
    size: u64,
}

impl Sample {
    fn new(number: u64, size: u64) -> Self {
        Self { number, size }
    }

    fn id(self) -> ObjectId {
        ObjectId::derive(
            "test",
            &self.number.to_le_bytes(),
            &ETag::new("1"),
            self.size,
        )
    }

    fn lease(self, store: &Arc<Store>) -> ObjectLease {
        store.lease(self.id(), self.size)
    }

    fn chunks(self) -> u64 {
        chunk::count(self.size)
    }

    fn bytes(self, index: u64) -> Vec<u8> {
        let len = chunk::range(index, self.size).len() as usize;
        let seed = self
            .number
            .wrapping_mul(31)
            .wrapping_add(index)
            .wrapping_mul(0x9e37_79b9)
            | 1;
        // Never zero, so that a hole cannot pass for data.
        let pattern: Vec<u8> = (0..251)
            .map(|at| (seed.wrapping_mul(at + 7) >> 13) as u8 | 1)
            .collect();
        let mut bytes = pattern.repeat(len.div_ceil(pattern.len()));
        bytes.truncate(len);
        bytes
    }

    fn write(self, lease: &ObjectLease, index: u64) -> Result<(), WriteError> {
        let bytes = Bytes::from(self.bytes(index));
        let cut = bytes.len() / 3;
        lease.write(index, &[bytes.slice(..cut), bytes.slice(cut..)])
    }

    fn fill(self, lease: &ObjectLease) {
        (0..self.chunks()).for_each(|index| self.write(lease, index).unwrap());
    }

    /// Fills the object and lets go of it.
    fn put(self, store: &Arc<Store>) {
        self.fill(&self.lease(store));
    }

    /// Verifies what is there, compares every byte of it, and says which chunks those are.
    fn present(self, lease: &ObjectLease) -> Vec<u64> {
        (0..self.chunks())
            .filter(|&index| {
                lease.verify(index) && self.is_right(lease, chunk::range(index, self.size))
            })
            .collect()
    }

    /// Compares bytes of one chunk that are present; false if its file is found damaged at
    /// this moment.
    fn is_right(self, lease: &ObjectLease, range: ByteRange) -> bool {
        let Some(backing) = lease.backing() else {
            return false;
        };
        let index = range.start() / CHUNK_SIZE;
        let from = (range.start() - index * CHUNK_SIZE) as usize;
        let expected = &self.bytes(index)[from..][..range.len() as usize];
        let mut found = vec![0; expected.len()];
        backing
            .file
            .read_exact_at(&mut found, backing.offset + range.start())
            .unwrap();
        assert!(found == expected, "wrong bytes {range} of {self:?}");
        true
    }
}

/// Tells a thread that watches to stop, also when the test fails meanwhile.
#[derive(Default)]
struct Done(AtomicBool);

impl Done {
    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn on_drop(&self) -> impl Drop + '_ {
        struct Set<'a>(&'a AtomicBool);
        impl Drop for Set<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        Set(&self.0)
    }
}

/// What a crash at this moment would leave behind.
fn snapshot(dir: &Path) -> TempDir {
    let copy = scratch();
    copy_tree(dir, copy.path());
    copy
}

fn copy_tree(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The data files below a cache directory.
fn data_files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for shard in fs::read_dir(dir.join("objects")).unwrap() {
        let listed = fs::read_dir(shard.unwrap().path()).unwrap();
        files.extend(listed.map(|file| file.unwrap().path()));
    }
    files.sort();
    files
}

/// The packs below a cache directory.
fn pack_files(dir: &Path) -> Vec<std::path::PathBuf> {
    let listed = fs::read_dir(dir.join("packs")).unwrap();
    let mut files: Vec<_> = listed.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

/// Checks that the accounts agree with each other and with what leases say.
fn audit(store: &Arc<Store>, samples: &[Sample]) {
    let held = samples.iter().map(|sample| store.cached_bytes(sample.id()));
    let (mut objects, mut bytes) = (0, 0);
    for held in held {
        objects += u64::from(held > 0);
        bytes += held;
    }
    let stats = store.stats();
    assert_eq!((stats.objects, stats.bytes), (objects, bytes));
    assert_eq!(store.usage().used_bytes, bytes + stats.dead_bytes);
}
