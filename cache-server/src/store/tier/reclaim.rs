//! Room for what comes: reservations and eviction.
//!
//! Eviction happens in the thread that writes, a bounded number of objects at a time.
//! It begins when the high watermark is passed and goes on, a batch with each write,
//! until the low one is reached. Only a write that would exceed the quota waits for
//! another one's batch.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{PoisonError, TryLockError};

use super::Tier;
use crate::store::object::Place;
use crate::store::room::{Reservation, Room};
use crate::store::share::{Class, ShareId};
use crate::store::shelf::Shelf;
use crate::store::stats::add;

/// Objects that one write evicts, as long as its own bytes fit: about a millisecond.
const BATCH: usize = 64;
/// The same in bytes, since to unlink a large file takes longer.
const BATCH_BYTES: u64 = 256 << 20;

impl Tier {
    /// Sets `len` bytes aside for a chunk of an object of `size` bytes and of that class, at
    /// the cost of others if need be: of the same dataset if it has its quota.
    ///
    /// An object that is larger than the tier takes what is free and pushes nobody out:
    /// it could never be complete here.
    pub(super) fn reserve(&self, class: Class, size: u64, len: u64) -> Option<Room<'_>> {
        let share = self.reserve_share(class.share, size, len)?;
        let tier = self.reserve_here(class.share, size, len)?;
        Some(Room { tier, share })
    }

    fn reserve_here(&self, share: ShareId, size: u64, len: u64) -> Option<Reservation<'_>> {
        let may_evict = size <= self.config.high_bytes();
        if may_evict {
            self.trim(share, len);
        }
        let reservation = match self.quota.reserve(len) {
            None if may_evict => self.reserve_by_force(share, len)?,
            reservation => reservation?,
        };
        if self.free_space.take(self.directory.root(), len) {
            return Some(reservation);
        }
        // Others fill the file system, too. The tier stops growing but goes on changing:
        // for what comes, as much must go.
        add(&self.counters.enospc, 1);
        (may_evict && self.evict(share, len) >= len).then_some(reservation)
    }

    /// Sets bytes aside in the dataset's share, at the cost of what it has here already.
    fn reserve_share(&self, share: ShareId, size: u64, len: u64) -> Option<Reservation<'_>> {
        let quota = self.shares.bytes(share);
        if let Some(reservation) = quota.reserve(len) {
            return Some(reservation);
        }
        if !quota.could_hold(size) {
            return None;
        }
        let _evictor = self.evictor.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(reservation) = quota.reserve(len) {
                return Some(reservation);
            }
            self.evict_own(share)?;
        }
    }

    /// Evicts what datasets have beyond their quotas, which may be smaller than last time.
    pub(super) fn enforce_quotas(&self) {
        let _evictor = self.evictor.lock().unwrap_or_else(PoisonError::into_inner);
        for share in self.shares.ids() {
            while self.shares.bytes(share).is_exceeded() && self.evict_own(share).is_some() {}
        }
    }

    /// Evicts until `coming` bytes more stay below the low watermark, if the high one is
    /// passed, or until a batch is done. They are of the dataset `share`.
    pub(super) fn trim(&self, share: ShareId, coming: u64) {
        let exceeds = |mark| self.quota.used().saturating_add(coming) > mark;
        if !exceeds(self.config.high_bytes()) && !self.trimming.load(Relaxed) {
            return;
        }
        let _evictor = match self.evictor.try_lock() {
            Ok(evictor) => evictor,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Somebody is at it.
            Err(TryLockError::WouldBlock) => return,
        };
        let (mut evicted, mut freed) = (0, 0);
        while exceeds(self.config.low_bytes()) {
            if (evicted >= BATCH || freed >= BATCH_BYTES) && self.quota.fits(coming) {
                self.trimming.store(true, Relaxed);
                return;
            }
            let Some(bytes) = self.evict_one(share) else {
                break;
            };
            evicted += 1;
            freed += bytes;
        }
        self.trimming.store(false, Relaxed);
    }

    /// Evicts until `len` bytes can be set aside, whoever else takes what becomes free;
    /// `None` if nothing is left that may go.
    fn reserve_by_force(&self, share: ShareId, len: u64) -> Option<Reservation<'_>> {
        let _evictor = self.evictor.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(reservation) = self.quota.reserve(len) {
                return Some(reservation);
            }
            self.evict_one(share)?;
        }
    }

    /// For the dataset `share`: evicts until `bytes` are freed or nothing is left that may
    /// go; returns the bytes freed.
    pub(super) fn evict(&self, share: ShareId, bytes: u64) -> u64 {
        let _evictor = self.evictor.lock().unwrap_or_else(PoisonError::into_inner);
        let mut freed = 0;
        while freed < bytes
            && let Some(more) = self.evict_one(share)
        {
            freed += more;
        }
        freed
    }

    /// Evicts one object, or one pack, for bytes of `share`, and returns its bytes; `None`
    /// if all that may go are in use.
    fn evict_one(&self, share: ShareId) -> Option<u64> {
        let shelves = self.shelves.for_room(&self.shares, share);
        shelves.into_iter().find_map(|shelf| self.evict_from(shelf))
    }

    /// Evicts one of the dataset's own.
    fn evict_own(&self, share: ShareId) -> Option<u64> {
        self.shelves
            .own(share)
            .find_map(|shelf| self.evict_from(shelf))
    }

    fn evict_from(&self, shelf: &Shelf) -> Option<u64> {
        let id = shelf.victim(&|id| self.index.is_pinned(id))?;
        if let Some(bytes) = self.evict_pack(id) {
            return Some(bytes);
        }
        let Some(object) = self.index.take_unpinned(id, self.number) else {
            // Somebody took a lease since, or the object is gone.
            if let Some(object) = self.index.get(id)
                && object.place() == Place::Tier(self.number)
            {
                self.shelve(&object, object.class());
            }
            return Some(0);
        };
        if shelf.is_of_copies()
            && let Some(bytes) = self.carry_over(&object)
        {
            return Some(bytes);
        }
        let (_, bytes) = self.remove(&object);
        add(&self.counters.evicted_objects, 1);
        add(&self.counters.evicted_bytes, bytes);
        Some(bytes)
    }
}
