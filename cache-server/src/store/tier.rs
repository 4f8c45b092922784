//! One tier: the files in a directory, their index, and the accounts of both.
//!
//! Locks, in the order in which they are taken: an object's file, then dirty set or
//! journal; the policy of a shelf, then a shard of the index. None is held over a sync or over
//! reading, writing or unlinking data.

use std::io;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool};

use forebay_core::ObjectId;
use forebay_core::cache::Usage;
use tracing::warn;

use super::chunks::{Change, ChunkState};
use super::config::{TierConfig, TierKind};
use super::directory::Directory;
use super::dirty::Dirty;
use super::index::Index;
use super::journal::{BootId, Journal, Record};
use super::object::{Object, Place};
use super::pack::PackIndex;
use super::room::{FreeSpace, Quota};
use super::share::{Class, Shares};
use super::shelf::Shelves;
use super::stats::{Counters, Damage, add, sub};
use crate::eviction::PolicyKind;
use packs::Packs;

mod carry;
mod check;
mod fill;
mod flush;
mod packs;
mod reclaim;
mod recover;
mod scrub;

pub(super) use fill::{NewBytes, Refusal};

pub(super) struct Tier {
    number: u8,
    config: TierConfig,
    directory: Directory,
    boot: BootId,
    index: Arc<Index>,
    counters: Arc<Counters>,
    journal: Journal,
    /// Records that a journal needs to say what is here.
    records: AtomicI64,
    quota: Quota,
    free_space: FreeSpace,
    shares: Arc<Shares>,
    shelves: Shelves,
    // Held by the one thread that evicts.
    evictor: Mutex<()>,
    /// Eviction has begun at the high watermark and has not reached the low one.
    trimming: AtomicBool,
    packs: Packs,
    dirty: Mutex<Dirty>,
    // Held by the one thread that syncs.
    flushing: Mutex<()>,
    failed: AtomicBool,
}

/// What all tiers of a store have in common.
#[derive(Debug)]
pub(super) struct Commons {
    pub(super) index: Arc<Index>,
    pub(super) packed: Arc<PackIndex>,
    pub(super) counters: Arc<Counters>,
    pub(super) shares: Arc<Shares>,
    pub(super) policy: PolicyKind,
    pub(super) boot: BootId,
}

/// Why an object's file cannot be used.
#[derive(Debug)]
enum Trouble {
    /// The object has moved to another tier, or is gone.
    Moved,
    /// The file is missing or has the wrong length: nothing in it counts any more.
    Damaged(Damage),
    /// The system's answer.
    Io(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Damaged(Damage::Length),
            _ => Self::Io(error),
        }
    }
}

impl Tier {
    pub(super) fn usage(&self) -> Usage {
        Usage {
            capacity_bytes: self.config.quota,
            used_bytes: self.quota.used(),
        }
    }

    /// The bytes of copies of what other nodes keep.
    pub(super) fn copied_bytes(&self) -> u64 {
        self.shelves.copied_bytes()
    }

    /// Tells the policy that somebody opened `id`.
    pub(super) fn accessed(&self, class: Class, id: ObjectId) {
        self.shelves.of(class).policy().access(id);
    }

    /// Puts an object, which was of the class `before`, on the shelf of its class.
    pub(super) fn shelve(&self, object: &Object, before: Class) {
        let class = object.class();
        if class != before {
            self.shelves.of(before).policy().remove(object.id);
        }
        let weight = object.weight();
        if weight > 0 && object.place() == Place::Tier(self.number) {
            self.shelves.of(class).policy().insert(object.id, weight);
        }
    }

    /// The last lease on an object has ended.
    pub(super) fn released(&self, object: &Arc<Object>) {
        // At once: a writer that finds no room asks whether a lease has ended.
        self.shelves.unpinned();
        object.close_unpinned();
        // An object that was opened and never filled leaves nothing behind. The policy
        // keeps its entry until its turn comes: by now it may be that of a successor.
        if self.index.take_empty(object) {
            self.remove(object);
        }
    }

    /// Gives the directory back. What is written later is not recorded.
    pub(super) fn close(&self) {
        self.journal.close();
        self.packs.close();
        self.directory.give_back();
    }

    /// Forgets what is here of a chunk, if it is in one of `states`; returns how many
    /// bytes that were.
    fn forget(&self, object: &Object, index: u64, states: &[ChunkState]) -> Option<u64> {
        let change = object.chunks.forget(index, states)?;
        let bytes = change.before - change.after;
        self.give_back(object.class(), bytes);
        self.account(change);
        Some(bytes)
    }

    /// Takes bytes of that class off the accounts.
    fn give_back(&self, class: Class, bytes: u64) {
        self.quota.give_back(bytes);
        self.shares.bytes(class.share).give_back(bytes);
    }

    /// Counts bytes that recovery found.
    fn found(&self, class: Class, bytes: u64) {
        self.quota.add(bytes);
        self.shares.bytes(class.share).add(bytes);
    }

    fn account(&self, change: Change) {
        let counters = &self.counters;
        self.records.fetch_add(change.records, Relaxed);
        match (change.before, change.after) {
            (0, 1..) => add(&counters.objects, 1),
            (1.., 0) => sub(&counters.objects, 1),
            _ => {}
        }
        add(&counters.bytes, change.after.saturating_sub(change.before));
        sub(&counters.bytes, change.before.saturating_sub(change.after));
    }

    /// Gives up an object whose file cannot be trusted, leases or not; returns how many
    /// chunks it had.
    fn lose(&self, object: &Arc<Object>) -> u64 {
        let (chunks, _) = self.remove(object);
        add(&self.counters.torn_chunks, chunks);
        // In this order: once the index has let go of the id, the policy may have an
        // entry for the object's successor.
        self.shelves.of(object.class()).policy().remove(object.id);
        self.index.remove(object);
        chunks
    }

    /// Ends an object: no chunk of it is present any more, and its file is unlinked.
    /// Returns the chunks and bytes that were here.
    fn remove(&self, object: &Arc<Object>) -> (u64, u64) {
        {
            let mut slot = object.file();
            if object.place() != Place::Tier(self.number) {
                return (0, 0);
            }
            // From here on no write under way can enter its chunk.
            object.set_place(Place::Gone);
            slot.open = None;
        }
        self.dirty().forget(object);
        let (id, generation) = (object.id, object.generation);
        // Before the file goes: a file without records is tidied up by recovery, while
        // records without a file would look like damage.
        self.journal.append(Record::Removed { id, generation });
        let held = [ChunkState::Unverified, ChunkState::Present];
        let (mut chunks, mut bytes) = (0, 0);
        for piece in object.chunks.held() {
            // The pages of a partial chunk go together, with the first of them.
            if let Some(forgotten) = self.forget(object, piece.index, &held) {
                chunks += 1;
                bytes += forgotten;
            }
        }
        if let Err(error) = self.directory.unlink(id, generation) {
            self.fail(&error, "remove a cached file");
        }
        (chunks, bytes)
    }

    /// Writes no more to this tier: its device is not to be trusted.
    fn fail(&self, error: &io::Error, action: &str) {
        if !self.failed.swap(true, SeqCst) {
            add(&self.counters.failed_tiers, 1);
            let dir = self.config.dir.display();
            warn!(%error, %dir, action, "cache tier takes no more writes; reads go on");
        }
    }

    fn is_on_disk(&self) -> bool {
        self.config.kind == TierKind::Disk
    }

    fn dirty(&self) -> MutexGuard<'_, Dirty> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
