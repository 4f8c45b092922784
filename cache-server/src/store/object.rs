//! One object with a file of its own, as the store holds it in memory.

use std::fs::File;
use std::sync::atomic::Ordering::{Acquire, Release, SeqCst};
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use forebay_core::ObjectId;
use tokio::sync::Semaphore;

use super::chunks::ChunkMap;
use super::identity::Identity;
use super::share::{Class, ShareId};

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

/// The file of an object.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// Open while somebody holds a lease.
    pub(super) open: Option<Arc<File>>,
    /// What it was when only this process had been at it since its bytes were verified.
    pub(super) seen: Option<Identity>,
    /// Writes of this process that are under way.
    pub(super) writers: u32,
}

#[derive(Debug)]
pub(super) struct Object {
    pub(super) id: ObjectId,
    /// Tells this object's file from earlier and later files of the same id, so that
    /// removing the one never touches the other.
    pub(super) generation: u64,
    pub(super) chunks: ChunkMap,
    // The lock also orders changes of `place` and the entry of written chunks; it is held
    // over opening the file and looking at it, not over reading or writing it.
    file: Mutex<Slot>,
    pins: AtomicU32,
    class: AtomicU16,
    place: AtomicU8,
    // One permit, which is whose turn it is to write.
    turns: Semaphore,
}

/// The turn to write to an object's file; the next one's when it is dropped.
#[derive(Debug)]
pub struct Turn(Arc<Object>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.turns.add_permits(1);
    }
}

impl Object {
    pub(super) fn new(
        id: ObjectId,
        size: u64,
        generation: u64,
        class: Class,
        place: Place,
    ) -> Self {
        let object = Self {
            id,
            generation,
            chunks: ChunkMap::new(size),
            file: Mutex::default(),
            pins: AtomicU32::new(0),
            class: AtomicU16::new(class.bits()),
            place: AtomicU8::new(NOWHERE),
            turns: Semaphore::new(1),
        };
        object.set_place(place);
        object
    }

    /// Waits for the turn to write. A file system lets one thread at a time write to a file,
    /// and has the others spin until then.
    pub(super) async fn turn(self: &Arc<Self>) -> Option<Turn> {
        // Never closed.
        self.turns.acquire().await.ok()?.forget();
        Some(Turn(Arc::clone(self)))
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

    pub(super) fn class(&self) -> Class {
        Class::from_bits(self.class.load(Acquire))
    }

    /// Whose it is from now on: only the dataset of an object that was nobody's and has
    /// no file changes, and the caller holds the lock of its shard of the index.
    pub(super) fn claim(&self, class: Class) {
        if self.class().share == ShareId::NOBODY && self.place() == Place::Nowhere {
            self.class.store(class.bits(), Release);
        }
    }

    /// Notes whether another node keeps the segment of chunk `index`; returns the class that
    /// the object had until now. It is that of copies as long as it has any.
    pub(super) fn mark(&self, index: u64, is_copy: bool) -> Class {
        self.set_copy(self.chunks.mark(index, is_copy).unwrap_or(is_copy))
    }

    /// Notes which segments another node keeps: those at whose first byte `is_kept` is
    /// false. Otherwise as [`mark`](Self::mark).
    pub(super) fn revise(&self, is_kept: &dyn Fn(u64) -> bool) -> Class {
        let has_copies = self.chunks.revise(is_kept);
        self.set_copy(has_copies.unwrap_or_else(|| !is_kept(0)))
    }

    /// The class of a chunk of it.
    pub(super) fn class_of(&self, index: u64) -> Class {
        let class = self.class();
        Class {
            is_copy: self.chunks.is_copied(index).unwrap_or(class.is_copy),
            ..class
        }
    }

    /// The bytes for which it is on its shelf: of copies, if it has any.
    pub(super) fn weight(&self) -> u64 {
        let copied = self.class().is_copy.then(|| self.chunks.copied_bytes());
        copied.flatten().unwrap_or_else(|| self.chunks.held_bytes())
    }

    fn set_copy(&self, is_copy: bool) -> Class {
        let bit = Class {
            is_copy: true,
            ..Class::default()
        };
        let before = match is_copy {
            true => self.class.fetch_or(bit.bits(), SeqCst),
            false => self.class.fetch_and(!bit.bits(), SeqCst),
        };
        Class::from_bits(before)
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

    pub(super) fn file(&self) -> MutexGuard<'_, Slot> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that this process is about to write to the file, until the guard is dropped.
    pub(super) fn writing(&self) -> Writing<'_> {
        self.file().writers += 1;
        Writing(self)
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
            file.open = None;
        }
    }

    pub(super) fn is_pinned(&self) -> bool {
        self.pins.load(SeqCst) > 0
    }
}

/// A write of this process to the file of an object.
#[derive(Debug)]
pub(super) struct Writing<'a>(&'a Object);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let mut slot = self.0.file();
        slot.writers -= 1;
        if slot.writers == 0 {
            // Not known, if it cannot be asked: the next look begins anew.
            let now = slot.open.as_ref().and_then(|file| file.metadata().ok());
            slot.seen = now.as_ref().map(Identity::of);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_of_one_chunk_costs_less_than_200_bytes() {
        assert!(size_of::<Object>() <= 176, "{} bytes", size_of::<Object>());
    }
}
