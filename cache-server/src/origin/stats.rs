//! What was asked of an origin, counted.

use std::sync::atomic::{AtomicU64, Ordering};

use forebay_core::ErrorKind;

/// The number of classes of errors.
const KINDS: usize = ErrorKind::Internal as usize + 1;

/// Counters of requests to an origin. They only grow, but for `in_flight`.
#[derive(Debug, Default)]
pub struct OriginStats {
    requests: AtomicU64,
    bytes: AtomicU64,
    in_flight: AtomicU64,
    errors: [AtomicU64; KINDS],
}

impl OriginStats {
    /// Requests sent: reads and pages of listings, each retry counted.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Bytes of objects received.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Requests whose answer or body is still awaited.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Requests that failed in this way; those that were retried count too.
    pub fn errors(&self, kind: ErrorKind) -> u64 {
        self.errors[kind as usize].load(Ordering::Relaxed)
    }

    /// Requests that failed, in whatever way.
    pub fn errors_total(&self) -> u64 {
        self.errors
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .sum()
    }

    pub(super) fn begin(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self, kind: ErrorKind) {
        self.errors[kind as usize].fetch_add(1, Ordering::Relaxed);
    }
}
