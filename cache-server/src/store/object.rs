//! One object as the store holds it in memory: about 100 bytes for a small one.

use std::fs::File;
use std::sync::atomic::Ordering::{Acquire, Release, SeqCst};
use std::sync::atomic::{AtomicU8, AtomicU32};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use forebay_core::ObjectId;

use super::chunks::ChunkMap;

/// In which tier an object's file lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It has no file yet.
    Nowhere,
    /// In the tier of this number.
    Tier(u8),
    /// Its file was evicted or found damaged. Final: readers that still hold this
    /// object find every chunk missing, and the next lease begins a new one.
    Gone,
}

const NOWHERE: u8 = u8::MAX;
const GONE: u8 = u8::MAX - 1;

#[derive(Debug)]
pub(super) struct Object {
    pub(super) id: ObjectId,
    /// Tells this object's file from earlier and later files of the same id, so that
    /// removing the one never touches the other.
    pub(super) generation: u64,
    pub(super) chunks: ChunkMap,
    // Open while somebody holds a lease. The lock also orders changes of `place` and
    // the entry of written chunks; it is held over opening the file, not over reading
    // or writing it.
    file: Mutex<Option<Arc<File>>>,
    pins: AtomicU32,
    place: AtomicU8,
}

impl Object {
    pub(super) fn new(id: ObjectId, size: u64, generation: u64, place: Place) -> Self {
        let object = Self {
            id,
            generation,
            chunks: ChunkMap::new(size),
            file: Mutex::new(None),
            pins: AtomicU32::new(0),
            place: AtomicU8::new(NOWHERE),
        };
        object.set_place(place);
        object
    }

    pub(super) fn size(&self) -> u64 {
        self.chunks.size()
    }

    pub(super) fn place(&self) -> Place {
        match self.place.load(Acquire) {
            NOWHERE => Place::Nowhere,
            GONE => Place::Gone,
            tier => Place::Tier(tier),
        }
    }

    /// Moves the object; the caller holds the lock of [`file`](Self::file) or is the
    /// only one who knows the object.
    pub(super) fn set_place(&self, place: Place) {
        let number = match place {
            Place::Nowhere => NOWHERE,
            Place::Gone => GONE,
            Place::Tier(tier) => tier,
        };
        self.place.store(number, Release);
    }

    pub(super) fn file(&self) -> MutexGuard<'_, Option<Arc<File>>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Only under the lock of the object's shard of the index, which eviction takes to
    /// look at [`is_pinned`](Self::is_pinned).
    pub(super) fn pin(&self) {
        self.pins.fetch_add(1, SeqCst);
    }

    /// Gives a pin back; true if it was the last one.
    pub(super) fn unpin(&self) -> bool {
        self.pins.fetch_sub(1, SeqCst) == 1
    }

    /// Closes the file of an object that nobody holds.
    pub(super) fn close_unpinned(&self) {
        let mut file = self.file();
        // A lease taken meanwhile may have a write under way in this file.
        if !self.is_pinned() {
            *file = None;
        }
    }

    pub(super) fn is_pinned(&self) -> bool {
        self.pins.load(SeqCst) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_of_one_chunk_costs_about_100_bytes() {
        assert!(size_of::<Object>() <= 96, "{} bytes", size_of::<Object>());
    }
}
