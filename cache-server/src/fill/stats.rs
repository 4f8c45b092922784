//! Counters of the miss path.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of the miss path, since the start of the process.
#[derive(Debug, Default)]
pub struct FillStats {
    flights: AtomicU64,
    in_flight: AtomicU64,
    joined: AtomicU64,
    failed: AtomicU64,
    stored_bytes: AtomicU64,
    read_through_bytes: AtomicU64,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FillSnapshot {
    /// Origin reads begun.
    pub flights: u64,
    /// Origin reads under way.
    pub in_flight: u64,
    /// Waits that found their chunk under way and asked the origin nothing.
    pub joined: u64,
    /// Origin reads that ended in an error.
    pub failed: u64,
    /// Bytes fetched and kept.
    pub stored_bytes: u64,
    /// Bytes fetched and passed on for want of room.
    pub read_through_bytes: u64,
}

/// Counts one flight as under way until it is dropped, so that early ends count too.
#[derive(Debug)]
pub(super) struct InFlight<'a>(&'a AtomicU64);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl FillStats {
    /// The counters now. Each is exact; together they are not one instant.
    pub fn snapshot(&self) -> FillSnapshot {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        FillSnapshot {
            flights: load(&self.flights),
            in_flight: load(&self.in_flight),
            joined: load(&self.joined),
            failed: load(&self.failed),
            stored_bytes: load(&self.stored_bytes),
            read_through_bytes: load(&self.read_through_bytes),
        }
    }

    pub(super) fn begin(&self) -> InFlight<'_> {
        self.flights.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(&self.in_flight)
    }

    pub(super) fn joined(&self) {
        self.joined.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stored(&self, bytes: u64) {
        self.stored_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn read_through(&self, bytes: u64) {
        self.read_through_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}
