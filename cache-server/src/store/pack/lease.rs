//! A lease on a packed object.

use std::fmt;
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use forebay_core::ObjectId;
use forebay_core::cache::Backing;

use super::{Entry, Pack};
use crate::store::Shared;
use crate::store::chunks::ChunkState;
use crate::store::share::{Class, ShareId};
use crate::store::tier::NewBytes;

/// What an [`ObjectLease`](crate::store::ObjectLease) on a packed object holds.
///
/// It takes no pin. Once it has said that the object is present, it keeps the pack's open
/// file: the object stays readable, whatever becomes of the pack.
pub(in crate::store) struct PackedLease {
    pub(in crate::store) id: ObjectId,
    /// At least 1, less than a chunk.
    pub(in crate::store) size: u64,
    share: ShareId,
    kept: Mutex<Option<Kept>>,
}

/// A verified object that this lease can read.
struct Kept {
    entry: Entry,
    pack: Arc<Pack>,
    file: Arc<File>,
}

impl fmt::Debug for PackedLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackedLease").field("id", &self.id).finish()
    }
}

impl PackedLease {
    pub(in crate::store) fn new(id: ObjectId, size: u64, share: ShareId) -> Self {
        Self {
            id,
            size,
            share,
            kept: Mutex::new(None),
        }
    }

    /// What is known of the object. No lock that is held over I/O, no allocation; if the
    /// pack's file is not open, one system call.
    pub(in crate::store) fn state(&self, shared: &Shared) -> ChunkState {
        let mut kept = self.kept();
        let entry = shared.packed.entry(self.id);
        if let Some(kept) = &*kept {
            // Of another place or nowhere: if the pack is gone the bytes here are as
            // good as ever, otherwise somebody found them wrong.
            let is_same = entry.is_some_and(|entry| entry.is_at(&kept.entry));
            if is_same || kept.pack.is_gone() {
                return ChunkState::Present;
            }
        }
        *kept = None;
        let Some(entry) = entry.filter(|entry| entry.len() == self.size) else {
            return ChunkState::Missing;
        };
        let Some(pack) = shared.packed.pack(entry.pack) else {
            return ChunkState::Missing;
        };
        if !entry.is_verified() {
            return ChunkState::Unverified;
        }
        match shared.pack_file(&pack) {
            Some(file) => {
                *kept = Some(Kept { entry, pack, file });
                ChunkState::Present
            }
            None => ChunkState::Missing,
        }
    }

    /// Where the bytes lie, if they are present.
    pub(in crate::store) fn backing(&self, shared: &Shared) -> Option<Backing> {
        if self.state(shared) != ChunkState::Present {
            return None;
        }
        self.kept().as_ref().map(|kept| Backing {
            file: Arc::clone(&kept.file),
            offset: u64::from(kept.entry.offset),
        })
    }

    /// The checksum of the bytes, if they are present.
    pub(in crate::store) fn checksum(&self, shared: &Shared) -> Option<u32> {
        if self.state(shared) != ChunkState::Present {
            return None;
        }
        self.kept().as_ref().map(|kept| kept.entry.crc)
    }

    /// The bytes that are here, verified or not.
    pub(in crate::store) fn present_bytes(&self, shared: &Shared) -> u64 {
        match self.state(shared) {
            ChunkState::Missing => 0,
            ChunkState::Unverified | ChunkState::Present => self.size,
        }
    }

    /// Files the object, whose bytes are `new`; false if there is no room for it.
    pub(in crate::store) fn write(&self, shared: &Shared, new: &NewBytes<'_>) -> bool {
        // What an earlier process left may be as good: a second copy would be dead weight.
        self.verify(shared);
        if self.state(shared) == ChunkState::Present {
            return true;
        }
        // Two objects cannot have one id. Should it come to that, the first one stays.
        let known = shared.packed.find(self.id);
        let fits = known.is_none_or(|(_, entry)| entry.len() == self.size);
        let class = Class {
            share: self.share,
            is_copy: new.is_copy,
        };
        fits && shared.write_packed(class, self.id, new)
    }

    /// Compares an unverified object with its checksum.
    pub(in crate::store) fn verify(&self, shared: &Shared) {
        if let Some((pack, entry)) = shared.packed.find(self.id)
            && let Some(tier) = shared.tiers.get(usize::from(pack.tier))
        {
            tier.verify_packed(&pack, &entry);
        }
    }

    /// Compares the object with its checksum, verified before or not.
    pub(in crate::store) fn distrust(&self, shared: &Shared) {
        let read = self.kept().take().map(|kept| (kept.pack, kept.entry));
        if let Some((pack, entry)) = read.or_else(|| shared.packed.find(self.id))
            && let Some(tier) = shared.tiers.get(usize::from(pack.tier))
        {
            tier.compare_packed(&pack, &entry);
        }
    }

    /// Forgets the object, which its reader found wrong or unreadable.
    pub(in crate::store) fn discard(&self, shared: &Shared) {
        // What this reader has read, which may not be what others find by now.
        let read = self.kept().take().map(|kept| (kept.pack, kept.entry));
        if let Some((pack, entry)) = read.or_else(|| shared.packed.find(self.id))
            && let Some(tier) = shared.tiers.get(usize::from(pack.tier))
        {
            tier.discard_packed(&pack, &entry);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
