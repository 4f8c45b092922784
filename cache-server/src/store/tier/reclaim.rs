//! Room for what comes: reservations and eviction.
//!
//! Eviction happens in the thread that writes, a bounded number of objects at a time.
//! It begins when the high watermark is passed and goes on, a batch with each write,
//! until the low one is reached. Only a write that would exceed the quota waits for
//! another one's batch.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{PoisonError, TryLockError};

use forebay_core::ObjectId;

use super::Tier;
use crate::store::object::Place;
use crate::store::room::Reservation;
use crate::store::stats::add;

/// Objects that one write evicts, as long as its own bytes fit: about a millisecond.
const BATCH: usize = 64;
/// The same in bytes, since to unlink a large file takes longer.
const BATCH_BYTES: u64 = 256 << 20;

/// Looks for an unused object in a row, each after a lease has ended during the last one.
const LOOKS: usize = 4;

impl Tier {
    /// Sets `len` bytes aside for a chunk of an object of `size` bytes, at the cost of others if need be.
    ///
    /// An object that is larger than the tier takes what is free and pushes nobody out:
    /// it could never be complete here.
    pub(super) fn reserve(&self, size: u64, len: u64) -> Option<Reservation<'_>> {
        let may_evict = size <= self.config.high_bytes();
        if may_evict {
            self.trim(len);
        }
        let reservation = match self.quota.reserve(len) {
            None if may_evict => self.reserve_by_force(len)?,
            reservation => reservation?,
        };
        if self.free_space.take(self.directory.root(), len) {
            return Some(reservation);
        }
        // Others fill the file system, too. The tier stops growing but goes on changing:
        // for what comes, as much must go.
        add(&self.counters.enospc, 1);
        (may_evict && self.evict(len) >= len).then_some(reservation)
    }

    /// Evicts until `coming` bytes more stay below the low watermark, if the high one is
    /// passed, or until a batch is done.
    pub(super) fn trim(&self, coming: u64) {
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
            let Some(bytes) = self.evict_one() else {
                break;
            };
            evicted += 1;
            freed += bytes;
        }
        self.trimming.store(false, Relaxed);
    }

    /// Evicts until `len` bytes can be set aside, whoever else takes what becomes free;
    /// `None` if nothing is left that may go.
    fn reserve_by_force(&self, len: u64) -> Option<Reservation<'_>> {
        let _evictor = self.evictor.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(reservation) = self.quota.reserve(len) {
                return Some(reservation);
            }
            self.evict_one()?;
        }
    }

    /// Evicts until `bytes` are freed or nothing is left that may go; returns the bytes
    /// freed.
    pub(super) fn evict(&self, bytes: u64) -> u64 {
        let _evictor = self.evictor.lock().unwrap_or_else(PoisonError::into_inner);
        let mut freed = 0;
        while freed < bytes
            && let Some(more) = self.evict_one()
        {
            freed += more;
        }
        freed
    }

    /// Evicts one object, or one pack, and returns its bytes; `None` if all are in use.
    fn evict_one(&self) -> Option<u64> {
        let id = self.unused()?;
        if let Some(bytes) = self.evict_pack(id) {
            return Some(bytes);
        }
        let Some(object) = self.index.take_unpinned(id, self.number) else {
            // Somebody took a lease since, or the object is gone.
            if let Some(object) = self.index.get(id)
                && object.place() == Place::Tier(self.number)
            {
                self.policy().insert(id, object.chunks.held_bytes());
            }
            return Some(0);
        };
        let (_, bytes) = self.remove(&object);
        add(&self.counters.evicted_objects, 1);
        add(&self.counters.evicted_bytes, bytes);
        Some(bytes)
    }

    /// The object that the policy gives up.
    fn unused(&self) -> Option<ObjectId> {
        for _ in 0..LOOKS {
            // Set before looking at the pins: a lease that ends after the look takes it
            // back.
            if self.all_in_use.swap(true, SeqCst) {
                return None;
            }
            let victim = self.policy().victim(&|id| self.index.is_pinned(id));
            if victim.is_some() {
                self.all_in_use.store(false, SeqCst);
                return victim;
            }
            // Leases come and go while the policy looks from one object to the next, so
            // all may have seemed to be in use while some never were.
            if self.all_in_use.load(SeqCst) {
                return None;
            }
        }
        None
    }
}
