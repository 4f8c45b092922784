//! How far a listing has come.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of a listing under way, for whoever shows them.
#[derive(Debug, Default)]
pub struct Progress {
    /// Objects that went into the manifest's builder.
    pub objects: AtomicU64,
    /// The bytes of these objects.
    pub bytes: AtomicU64,
    /// Objects that the globs left out.
    pub filtered: AtomicU64,
    /// What is no object and cannot be shown: links to directories, sockets.
    pub unservable: AtomicU64,
    /// Pages asked for.
    pub pages: AtomicU64,
}

impl Progress {
    pub(super) fn add(counter: &AtomicU64, amount: u64) {
        // A counter for people: nothing is ordered by it.
        counter.fetch_add(amount, Ordering::Relaxed);
    }
}
