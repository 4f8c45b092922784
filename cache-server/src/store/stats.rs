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
    /// Pieces of objects that did not have their checksum.
    wrong_checksums,
    /// Pieces of objects, and files, that the system could not read or open.
    unreadable,
    /// Files that were gone.
    missing_files,
    /// Files that did not have their length.
    wrong_lengths,
    /// Files that somebody else had written to or put another one in the place of; what
    /// was right in them is kept.
    changed_files,
    /// Bytes that the scrub has compared with their checksums.
    scrubbed_bytes,
    /// Times that the scrub came to the end of the cache.
    scrub_passes,
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

/// What was found wrong with the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    Checksum,
    Unreadable,
    Missing,
    Length,
    Changed,
}

impl Damage {
    /// The cause, as a log field.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Checksum => "wrong checksum",
            Self::Unreadable => "cannot be read",
            Self::Missing => "file is missing",
            Self::Length => "file has another length",
            Self::Changed => "file was changed",
        }
    }
}

impl Counters {
    /// What counts this kind of damage.
    pub(super) fn damage(&self, damage: Damage) -> &AtomicU64 {
        match damage {
            Damage::Checksum => &self.wrong_checksums,
            Damage::Unreadable => &self.unreadable,
            Damage::Missing => &self.missing_files,
            Damage::Length => &self.wrong_lengths,
            Damage::Changed => &self.changed_files,
        }
    }
}

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Relaxed);
}

/// Takes from a counter what was added before.
pub(super) fn sub(counter: &AtomicU64, count: u64) {
    counter.fetch_sub(count, Relaxed);
}
