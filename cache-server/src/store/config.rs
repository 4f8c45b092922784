//! Where a store keeps its bytes, and how many.

use std::path::PathBuf;
use std::time::Duration;

use forebay_core::chunk::CHUNK_SIZE;

use super::StoreError;
use super::share::{ShareId, Terms, indistinct};
use crate::eviction::PolicyKind;

/// What a tier's directory lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TierKind {
    /// A directory on a tmpfs: gone after a reboot, so nothing is synced.
    Memory,
    /// A directory on a local file system.
    Disk,
}

/// One directory of the cache.
#[derive(Clone, Debug, PartialEq)]
pub struct TierConfig {
    /// What the directory lies on.
    pub kind: TierKind,
    /// The directory; created if it is missing. One process at a time uses it.
    pub dir: PathBuf,
    /// Most bytes of objects kept there. The index comes on top: 64 bytes a chunk, 32 bytes
    /// a packed object.
    pub quota: u64,
    /// Eviction begins when this share of the quota is in use.
    pub high: f64,
    /// Eviction ends when no more than this share of the quota is in use.
    pub low: f64,
    /// Bytes of the file system that are left free for others. `None`: 1 % of it, at
    /// most 512 MiB.
    pub min_free: Option<u64>,
}

impl TierConfig {
    /// A tier with the default watermarks.
    pub fn new(kind: TierKind, dir: impl Into<PathBuf>, quota: u64) -> Self {
        // 5 % between the marks: each eviction frees enough to be worth its while,
        // and 90 % of what the user gave is in use at all times.
        Self {
            kind,
            dir: dir.into(),
            quota,
            high: 0.95,
            low: 0.90,
            min_free: None,
        }
    }

    /// The bytes in use above which eviction begins.
    pub(super) fn high_bytes(&self) -> u64 {
        (self.quota as f64 * self.high) as u64
    }

    /// The bytes in use at which eviction ends.
    pub(super) fn low_bytes(&self) -> u64 {
        (self.quota as f64 * self.low) as u64
    }
}

/// What [`Store::open`](super::Store::open) needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreConfig {
    /// The tiers, the preferred one for new objects first. Usually disk, then memory:
    /// the kernel's page cache already is the memory above a disk, so a memory tier
    /// takes what the disk cannot.
    pub tiers: Vec<TierConfig>,
    /// Which objects go first when a tier is full.
    pub policy: PolicyKind,
    /// How often written chunks are made durable. It bounds what a power failure costs:
    /// fetching that much again. A killed process loses nothing, since the kernel still
    /// has what it wrote.
    pub flush_interval: Duration,
    /// Bytes a second that are read and compared with their checksums in the background;
    /// 0 for none.
    pub scrub_rate: u64,
    /// Objects of fewer bytes are packed, many in one file; at most a chunk. 0 packs
    /// none.
    pub pack_below: u64,
    /// The datasets that are told apart, each by its own name.
    pub datasets: Vec<Terms>,
}

impl StoreConfig {
    /// A store of `tiers` with the defaults: S3-FIFO, a flush every 30 seconds, a scrub at 16 MiB a second.
    pub fn new(tiers: Vec<TierConfig>) -> Self {
        Self {
            tiers,
            policy: PolicyKind::default(),
            // What the kernel gives dirty pages by itself (vm.dirty_expire_centisecs): a
            // shorter time makes the disk write while the origin is being read.
            flush_interval: Duration::from_secs(30),
            // A terabyte in 18 hours, for a hundredth of what a disk can read.
            scrub_rate: 16 << 20,
            pack_below: CHUNK_SIZE,
            datasets: Vec::new(),
        }
    }

    pub(super) fn validate(&self) -> Result<(), StoreError> {
        let refuse = |reason: String| Err(StoreError::Config { reason });
        if self.tiers.is_empty() {
            return refuse("no cache tier: give --cache-dir or --memory-size".into());
        }
        if self.pack_below > CHUNK_SIZE {
            let (below, most) = (self.pack_below, CHUNK_SIZE);
            return refuse(format!(
                "objects below {below} bytes are to be packed: at most {most}"
            ));
        }
        if self.tiers.len() > MOST_TIERS {
            return refuse(format!(
                "{} cache tiers: at most {MOST_TIERS}",
                self.tiers.len()
            ));
        }
        if let Some((one, other)) = indistinct(&self.datasets) {
            return refuse(format!(
                "the datasets {one:?} and {other:?} cannot be told apart: rename one"
            ));
        }
        if self.datasets.len() > ShareId::MOST {
            let (count, most) = (self.datasets.len(), ShareId::MOST);
            return refuse(format!("{count} datasets: at most {most}"));
        }
        for tier in &self.tiers {
            let dir = tier.dir.display();
            if tier.quota == 0 {
                return refuse(format!(
                    "the cache in {dir} has a size of 0: give --cache-size"
                ));
            }
            if !(tier.low > 0.0 && tier.low <= tier.high && tier.high <= 1.0) {
                return refuse(format!(
                    "the watermarks of {dir} are {} and {}: need 0 < low <= high <= 1",
                    tier.low, tier.high
                ));
            }
        }
        Ok(())
    }
}

/// Tiers are told apart by a small number in each object.
const MOST_TIERS: usize = 16;
