//! The cached bytes of a node.
//!
//! # Mechanics
//! A store has **tiers**: directories with a quota, on a disk or on a tmpfs. An object
//! of a chunk and more lies in one tier, as one sparse file of the object's full size, so
//! that a complete one can be handed to the kernel as it is. Its chunks come in any order,
//! and chunks of large objects page by page where they are read so. What is here is told
//! by two bits a chunk in memory ([`ChunkState`]), by the extents of chunks that are
//! partly here, and by the tier's journal on disk, with a CRC32C for each chunk and each
//! extent. Smaller objects share files: see [`pack`].
//!
//! A new object goes to the first tier that can take it; where that one is full of
//! objects in use, out of space, read-only or broken, the next one is asked. When all
//! refuse, [`ObjectLease::write`] says [`WriteError::Full`], and the bytes are read
//! through. No fault of a tier ever becomes an error for a reader.
//!
//! # What is promised
//! - A chunk is [`ChunkState::Present`] only if this process wrote it or compared it
//!   with its checksum. A wrong or torn chunk is a miss, and is counted.
//! - A killed process loses nothing it has cached. After a power failure only chunks
//!   whose data was durable before their record are believed, and even they are
//!   verified before their first use.
//! - While an [`ObjectLease`] lives, its object is not evicted; a packed one that it has
//!   found present stays readable even if its pack is. Eviction unlinks and never
//!   truncates: an open file stays readable.
//! - The bytes of a tier, writes under way included, never exceed its quota, and those of
//!   a dataset in all tiers not the quota of its [`Terms`].
//!
//! # Names of files
//! An object's file is named by its id and a **generation** that is never used twice.
//! So an evicted file is unlinked outside of every lock while the same object is
//! already being fetched anew, and a record of the old file says nothing about the new
//! one. A chunk that is found wrong is only forgotten, not punched out: the next fetch
//! writes over it, and a hole could hit a write of the same chunk that has just ended.

use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use forebay_core::ObjectId;
use forebay_core::cache::Usage;
use tracing::error;

mod chunks;
mod config;
mod data;
mod directory;
mod dirty;
mod error;
mod extents;
mod flusher;
mod identity;
mod index;
mod journal;
mod lease;
mod object;
mod pack;
mod pages;
mod pieces;
mod room;
mod scrub;
mod share;
mod shelf;
mod spot;
mod stats;
mod stop;
#[cfg(test)]
mod tests;
mod tier;

pub(crate) use data::read_into_memory;

pub use chunks::ChunkState;
pub use config::{StoreConfig, TierConfig, TierKind};
pub use error::{StoreError, WriteError};
pub use lease::ObjectLease;
pub use object::Turn;
pub use pieces::Pieces;
pub use share::{ShareId, ShareUse, Terms};
pub use spot::{HeldPack, Spot};
pub use stats::StoreStats;

use flusher::Flusher;
use index::Index;
use journal::BootId;
use object::{Object, Place};
use pack::{Pack, PackIndex, PackedLease};
use scrub::{Pace, Scrubber};
use share::{Class, Shares};
use stats::{Counters, add};
use tier::{Commons, NewBytes, Refusal, Tier};

/// The tiers of one node and what lies in them.
pub struct Store {
    shared: Arc<Shared>,
    // None once the store is closed.
    flusher: Mutex<Option<Flusher>>,
    // None without a rate, too.
    scrubber: Mutex<Option<Scrubber>>,
}

/// What the flusher shares with the store.
struct Shared {
    tiers: Vec<Tier>,
    index: Arc<Index>,
    packed: Arc<PackIndex>,
    // Objects below this size are packed, unless a file of theirs was found: caches of
    // before packs have such.
    pack_below: u64,
    has_small_files: bool,
    counters: Arc<Counters>,
    shares: Arc<Shares>,
    // True once the store is closed. Writers hold it for reading, so that closing waits
    // for those at work and nobody begins afterwards.
    closed: RwLock<bool>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("usage", &self.usage())
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Takes the tiers' directories, recovers what they hold and starts the flusher.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another process has a directory, [`StoreError::Config`]
    /// for a contradictory configuration, the other variants as the file system answers.
    /// Damaged contents are no error: they are dropped and counted.
    pub fn open(config: StoreConfig) -> Result<Arc<Self>, StoreError> {
        Self::open_under(config, journal::this_boot())
    }

    fn open_under(config: StoreConfig, boot: BootId) -> Result<Arc<Self>, StoreError> {
        config.validate()?;
        let first_dir = config
            .tiers
            .first()
            .map_or_else(PathBuf::new, |tier| tier.dir.clone());
        let commons = Commons {
            index: Arc::default(),
            packed: Arc::default(),
            counters: Arc::default(),
            shares: Arc::new(Shares::new(config.datasets)),
            policy: config.policy,
            boot,
        };
        let mut tiers = Vec::with_capacity(config.tiers.len());
        for (number, tier) in (0..).zip(config.tiers) {
            tiers.push(Tier::open(number, tier, &commons)?);
        }
        let Commons {
            index,
            packed,
            counters,
            shares,
            ..
        } = commons;
        let pack_below = config.pack_below;
        let has_small_files = index.any(|object| (1..pack_below).contains(&object.size()));
        let shared = Arc::new(Shared {
            tiers,
            index,
            packed,
            pack_below,
            has_small_files,
            counters,
            shares,
            closed: RwLock::new(false),
        });
        let flusher = Flusher::start(Arc::clone(&shared), config.flush_interval)
            .map_err(|error| StoreError::from_io(&first_dir, "start the flusher", error))?;
        let scrubber = (config.scrub_rate > 0)
            .then(|| Scrubber::start(Arc::clone(&shared), config.scrub_rate))
            .transpose()
            .map_err(|error| StoreError::from_io(&first_dir, "start the scrub", error))?;
        Ok(Arc::new(Self {
            shared,
            flusher: Mutex::new(Some(flusher)),
            scrubber: Mutex::new(scrubber),
        }))
    }

    /// Takes a lease on the object `id` of `size` bytes. No I/O.
    ///
    /// The policy learns of it as one access. If the object is not known, the lease is
    /// on an object without chunks.
    pub fn lease(self: &Arc<Self>, id: ObjectId, size: u64) -> ObjectLease {
        self.lease_for(ShareId::NOBODY, id, size)
    }

    /// The same, for the dataset `share`: what is not here yet is its own from the first
    /// byte on. What another one has brought stays that one's.
    pub fn lease_for(self: &Arc<Self>, share: ShareId, id: ObjectId, size: u64) -> ObjectLease {
        if self.shared.is_for_packs(id, size) {
            if let Some((pack, _)) = self.shared.packed.find(id) {
                self.shared.accessed_packed(&pack, 1);
            }
            return ObjectLease::packed(Arc::clone(self), id, size, share);
        }
        let object = self.shared.index.pin(id, size, share);
        if let Some(tier) = self.shared.tier_of(&object) {
            tier.accessed(object.class(), id);
        }
        ObjectLease::new(Arc::clone(self), object)
    }

    /// The bytes of object `id` that are here, verified or not.
    pub fn cached_bytes(&self, id: ObjectId) -> u64 {
        if let Some((_, entry)) = self.shared.packed.find(id) {
            return entry.len();
        }
        let object = self.shared.index.get(id);
        object.map_or(0, |object| object.chunks.held_bytes())
    }

    /// The quotas of the tiers together, and the bytes in use, writes under way included.
    pub fn usage(&self) -> Usage {
        self.shared
            .tiers
            .iter()
            .map(Tier::usage)
            .fold(Usage::default(), |sum, tier| Usage {
                capacity_bytes: sum.capacity_bytes + tier.capacity_bytes,
                used_bytes: sum.used_bytes + tier.used_bytes,
            })
    }

    /// The dataset of this name, if the store was told of it.
    pub fn share(&self, dataset: &str) -> Option<ShareId> {
        self.shared.shares.find(dataset)
    }

    /// What each dataset has, in the order in which the store was told of them.
    pub fn shares(&self) -> Vec<ShareUse> {
        self.shared.shares.uses()
    }

    /// The bytes of copies of what other nodes keep.
    pub fn copied_bytes(&self) -> u64 {
        self.shared.tiers.iter().map(Tier::copied_bytes).sum()
    }

    /// What the store holds and has done.
    pub fn stats(&self) -> StoreStats {
        self.shared.counters.snapshot()
    }

    /// Makes every chunk written so far durable, and records it. Blocks for the time of
    /// the sync. Nothing to do, and `Ok`, once the store is closed.
    ///
    /// # Errors
    /// The first tier's error; the other tiers are flushed all the same. The chunks in
    /// question are not kept, and the tier takes no more.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.shared.flush()
    }

    /// Compares everything that is here with its checksums, as fast as it can be read;
    /// what is wrong is dropped and counted. Blocks.
    pub fn scrub(&self) {
        self.shared.scrub(&Pace::default());
    }

    /// Flushes, stops the flusher and gives the directories back. Leases stay valid for
    /// reading; every later write is refused. Blocks; may be called more than once.
    pub fn close(&self) {
        let mut flusher = self.flusher.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(flusher) = flusher.take() else {
            return;
        };
        let mut scrubber = self.scrubber.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(scrubber) = scrubber.take() {
            scrubber.stop();
        }
        *self
            .shared
            .closed
            .write()
            .unwrap_or_else(PoisonError::into_inner) = true;
        flusher.stop();
        if let Err(error) = self.shared.flush() {
            error!(%error, "the cache was closed with chunks that are not durable");
        }
        self.shared.tiers.iter().for_each(Tier::close);
    }

    fn open_file(&self, object: &Arc<Object>) -> Option<Arc<File>> {
        self.shared.tier_of(object)?.open_file(object)
    }

    fn write(&self, object: &Arc<Object>, new: &NewBytes<'_>) -> Result<(), WriteError> {
        self.write_unless_closed(|| self.shared.write(object, new))
    }

    fn write_packed(&self, lease: &PackedLease, new: &NewBytes<'_>) -> Result<(), WriteError> {
        self.write_unless_closed(|| lease.write(&self.shared, new))
    }

    fn write_unless_closed(&self, write: impl FnOnce() -> bool) -> Result<(), WriteError> {
        let closed = self
            .shared
            .closed
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if !*closed && write() {
            return Ok(());
        }
        add(&self.shared.counters.full_writes, 1);
        Err(WriteError::Full)
    }

    fn revise(&self, object: &Object, is_kept: &dyn Fn(u64) -> bool) {
        let before = object.revise(is_kept);
        if before != object.class()
            && let Some(tier) = self.shared.tier_of(object)
        {
            tier.shelve(object, before);
        }
    }

    fn verify(&self, object: &Arc<Object>, index: u64) {
        if let Some(tier) = self.shared.tier_of(object) {
            tier.verify(object, index);
        }
    }

    fn distrust(&self, object: &Arc<Object>, index: u64) {
        if let Some(tier) = self.shared.tier_of(object) {
            tier.distrust(object, index);
        }
    }

    fn discard(&self, object: &Arc<Object>, index: u64) {
        if let Some(tier) = self.shared.tier_of(object) {
            tier.discard(object, index);
        }
    }

    /// Ends a lease on `object`.
    fn release(&self, object: &Arc<Object>) {
        if !object.unpin() {
            return;
        }
        match self.shared.tier_of(object) {
            Some(tier) => tier.released(object),
            None => {
                object.close_unpinned();
                self.shared.index.take_empty(object);
            }
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn tier_of(&self, object: &Object) -> Option<&Tier> {
        match object.place() {
            Place::Tier(number) => self.tiers.get(usize::from(number)),
            Place::Nowhere | Place::Gone => None,
        }
    }

    /// Writes bytes to the tier that has the object, or else to the first that takes
    /// it; false if none does.
    fn write(&self, object: &Arc<Object>, new: &NewBytes<'_>) -> bool {
        let mut candidate = 0;
        // An object is moved only before its first chunk has arrived. With other writers
        // at it, that can happen to this one once for each tier.
        for _ in 0..=2 * self.tiers.len() {
            let number = match object.place() {
                Place::Tier(number) => usize::from(number),
                Place::Nowhere => candidate,
                Place::Gone => return false,
            };
            let Some(tier) = self.tiers.get(number) else {
                return false;
            };
            match tier.write(object, new) {
                Ok(()) => return true,
                Err(Refusal::Moved) => {}
                Err(Refusal::NoRoom) if object.place() == Place::Nowhere => candidate = number + 1,
                Err(Refusal::NoRoom) => return false,
            }
        }
        false
    }

    /// Whether the object belongs into a pack.
    fn is_for_packs(&self, id: ObjectId, size: u64) -> bool {
        let has_file = || self.packed.find(id).is_none() && self.index.get(id).is_some();
        (1..self.pack_below).contains(&size) && !(self.has_small_files && has_file())
    }

    fn accessed_packed(&self, pack: &Pack, objects: u32) {
        if let Some(tier) = self.tiers.get(usize::from(pack.tier)) {
            tier.accessed_packed(pack, objects);
        }
    }

    fn pack_file(&self, pack: &Arc<Pack>) -> Option<Arc<File>> {
        self.tiers.get(usize::from(pack.tier))?.pack_file(pack)
    }

    /// Appends an object to a pack of the first tier that takes it; false if none does.
    fn write_packed(&self, class: Class, id: ObjectId, new: &NewBytes<'_>) -> bool {
        let mut tiers = self.tiers.iter();
        tiers.any(|tier| tier.write_packed(class, id, new).is_ok())
    }

    fn flush(&self) -> Result<(), StoreError> {
        // All of them, and then the first error.
        let flushed: Vec<_> = self.tiers.iter().map(Tier::flush).collect();
        flushed.into_iter().collect()
    }
}
