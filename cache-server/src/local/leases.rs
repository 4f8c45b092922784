//! The leases of one connection.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

use forebay_core::cache::{Cache, Lease};
use forebay_core::{ByteRange, chunk};
use forebay_proto::local::Presence;

use super::stats::Held;

/// The most leases of one client: each is an object that cannot be evicted.
const MOST: usize = 1 << 20;
/// How far behind a range that was asked for a reply tells what else is present: what a
/// prefetch has brought meanwhile need not be asked for again.
const TOLD_AHEAD: u64 = 256;
/// Chunks of an incomplete object of which the first reply tells the presence, each by a
/// question to the cache: some 100 µs. Of the others the client learns as it reads.
const TOLD_AT_FIRST: u64 = 4096;

/// One lease that a client holds.
#[derive(Debug)]
pub(super) struct HeldLease {
    /// Its number in the protocol.
    pub(super) number: u64,
    /// The lease.
    pub(super) lease: Lease,
    /// The file whose descriptor was passed last. Locked while a reply that passes one
    /// is put on its way, so that no reply that relies on it goes first.
    pub(super) passed: Mutex<Option<Arc<File>>>,
    /// What was advised and the cache has had no room to fetch.
    advised: Mutex<ByteRange>,
    _counted: Held,
}

impl HeldLease {
    pub(super) fn new(number: u64, lease: Lease, counted: Held) -> Self {
        Self {
            number,
            lease,
            passed: Mutex::default(),
            advised: Mutex::new(ByteRange::new(0, 0)),
            _counted: counted,
        }
    }

    /// Advises the cache of `range`, behind what it has had no room for; says whether
    /// something is left to be advised again.
    pub(super) fn advise(&self, cache: &dyn Cache, range: ByteRange) -> bool {
        let mut advised = self.advised.lock().unwrap_or_else(PoisonError::into_inner);
        let range = range.clamp_to(self.lease.size);
        let range = match advised.end() == range.start() {
            true => ByteRange::new(advised.start(), range.end()),
            false => range,
        };
        let taken = cache.advise(&self.lease, range);
        *advised = ByteRange::new(range.start().saturating_add(taken), range.end());
        !advised.is_empty()
    }

    /// Advises the cache again of what it has had no room for; says whether something is
    /// still left.
    pub(super) fn advise_again(&self, cache: &dyn Cache) -> bool {
        let left = *self.advised.lock().unwrap_or_else(PoisonError::into_inner);
        !left.is_empty() && self.advise(cache, ByteRange::new(left.end(), left.end()))
    }

    fn chunks(&self) -> u64 {
        chunk::count(self.lease.size)
    }

    fn is_ready(&self, cache: &dyn Cache, chunks: std::ops::Range<u64>) -> bool {
        let bytes = ByteRange::new(
            chunks.start.saturating_mul(chunk::CHUNK_SIZE),
            chunks.end.saturating_mul(chunk::CHUNK_SIZE),
        );
        cache
            .ready(&self.lease, bytes.clamp_to(self.lease.size))
            .is_some()
    }

    /// What is present of the object, as far as it is told with the lease.
    pub(super) fn presence(&self, cache: &dyn Cache) -> Presence {
        let count = self.chunks();
        if count == 0 {
            return Presence::Nothing;
        }
        if self.is_ready(cache, 0..count) {
            return Presence::Everything;
        }
        Presence::of_chunks(count.min(TOLD_AT_FIRST), |chunk| {
            self.is_ready(cache, chunk..chunk + 1)
        })
    }

    /// The chunks that are wholly present, from the first that `range` touches on; none
    /// if that one is present in parts.
    pub(super) fn present_from(&self, cache: &dyn Cache, range: ByteRange) -> std::ops::Range<u64> {
        let asked = chunk::covering(range);
        if !self.is_ready(cache, asked.clone()) {
            return asked.start..asked.start;
        }
        let last = self.chunks().min(asked.end.saturating_add(TOLD_AHEAD));
        let (mut end, mut step) = (asked.end, 1);
        // In doubling steps: a look into memory for each, and few of them.
        while end < last && self.is_ready(cache, end..last.min(end + step)) {
            end = last.min(end + step);
            step *= 2;
        }
        asked.start..end
    }
}

/// The leases of one connection, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Leases {
    // Held for look-ups only.
    held: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    leases: HashMap<u64, Arc<HeldLease>>,
}

impl Leases {
    /// Files a lease; `None` if the client has too many.
    pub(super) fn insert(&self, lease: Lease, counted: Held) -> Option<Arc<HeldLease>> {
        let mut table = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if table.leases.len() >= MOST {
            return None;
        }
        table.next += 1;
        let held = Arc::new(HeldLease::new(table.next, lease, counted));
        table.leases.insert(held.number, Arc::clone(&held));
        Some(held)
    }

    /// The lease of that number.
    pub(super) fn get(&self, number: u64) -> Option<Arc<HeldLease>> {
        let table = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        table.leases.get(&number).cloned()
    }

    /// Ends a lease. What is still answered under it goes on until it is answered.
    pub(super) fn remove(&self, number: u64) {
        let removed = {
            let mut table = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            table.leases.remove(&number)
        };
        // Outside of the lock: the store may unlink a file.
        drop(removed);
    }

    /// Takes all of them.
    pub(super) fn take(&self) -> Vec<Arc<HeldLease>> {
        let mut table = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        table.leases.drain().map(|(_, lease)| lease).collect()
    }
}
