//! What a store has done, in counters that are read without a lock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a store holds and has done since it was opened.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct StoreStats {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// The counters behind [`StoreStats`].
        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub(super) $name: AtomicU64,)*
        }

        impl Counters {
            pub(super) fn snapshot(&self) -> StoreStats {
                StoreStats { $($name: self.$name.load(Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Objects of which at least one chunk is here.
    objects,
    /// Bytes of the chunks that are here.
    bytes,
    /// Files that hold many small objects each.
    packs,
    /// Objects that are in packs.
    packed_objects,
    /// Bytes of the objects in packs.
    packed_bytes,
    /// Bytes in packs that no object needs any more; given back when their pack goes.
    dead_bytes,
    /// Packs evicted to make room.
    evicted_packs,
    /// Objects evicted to make room.
    evicted_objects,
    /// Bytes evicted to make room.
    evicted_bytes,
    /// Chunks found wrong and dropped; none was served.
    corrupt_chunks,
    /// Chunks dropped because their file was missing or cut short, or because the
    /// machine went down before they were durable.
    torn_chunks,
    /// Records of the index that could not be read and were passed over.
    damaged_records,
    /// Data files that no record speaks of, removed at recovery.
    orphans,
    /// Chunks that no tier had room for.
    full_writes,
    /// Times that a file system said it was full.
    enospc,
    /// Tiers that take no more writes after an error of their device.
    failed_tiers,
    /// Times that written chunks were made durable and recorded as such.
    flushes,
    /// Times that the index was rewritten without its dead records.
    compactions,
}

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Relaxed);
}

/// Takes from a counter what was added before.
pub(super) fn sub(counter: &AtomicU64, count: u64) {
    counter.fetch_sub(count, Relaxed);
}
