//! Where every packed object of the store lies, by id.

use std::collections::HashMap;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use forebay_core::ObjectId;
use tokio::sync::watch;

use super::Pack;
use super::open_files::OpenFiles;
use super::table::{Entry, Table};
use crate::store::share::Class;

/// So many that rebuilding the table of one takes a fraction of a millisecond with
/// millions of objects. A table costs nothing until it has an entry.
const SHARDS: usize = 1024;

/// The entries of all tiers, and the packs they point to. No lock of it is held over I/O.
#[derive(Debug)]
pub(in crate::store) struct PackIndex {
    shards: Box<[Mutex<Table>]>,
    packs: RwLock<HashMap<u32, Arc<Pack>>>,
    next_key: AtomicU32,
    withdrawn: watch::Sender<()>,
    /// The packs' descriptors, whatever tier they lie in.
    pub(in crate::store) open: OpenFiles,
}

impl Default for PackIndex {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            packs: RwLock::default(),
            next_key: AtomicU32::new(0),
            withdrawn: watch::Sender::new(()),
            open: OpenFiles::default(),
        }
    }
}

impl PackIndex {
    /// The entry of `id`, whose pack may be gone.
    pub(in crate::store) fn entry(&self, id: ObjectId) -> Option<Entry> {
        self.shard(id).get(id).copied()
    }

    /// The entry of `id` with its pack.
    pub(in crate::store) fn find(&self, id: ObjectId) -> Option<(Arc<Pack>, Entry)> {
        let entry = self.entry(id)?;
        Some((self.pack(entry.pack)?, entry))
    }

    /// Enters `entry`; returns the one it takes the place of.
    pub(in crate::store) fn set(&self, entry: Entry) -> Option<Entry> {
        let mut shard = self.shard(entry.id);
        shard.insert(entry, |entry| self.is_known(entry.pack))
    }

    /// Declares the bytes of `entry` right, if it still is what is known of its id.
    pub(in crate::store) fn confirm(&self, entry: &Entry) {
        if let Some(known) = self.shard(entry.id).get_mut(entry.id)
            && known.is_at(entry)
        {
            *known = known.verified();
        }
    }

    /// Takes `entry` out; false if something else is known of its id by now.
    pub(in crate::store) fn remove(&self, entry: &Entry) -> bool {
        let mut shard = self.shard(entry.id);
        let is_it = shard.get(entry.id).is_some_and(|known| known.is_at(entry));
        if is_it {
            shard.remove(entry.id);
        }
        is_it
    }

    /// A new pack, which readers find from now on.
    pub(in crate::store) fn add_pack(&self, tier: u8, class: Class, generation: u64) -> Arc<Pack> {
        let key = self.next_key.fetch_add(1, Relaxed);
        let pack = Arc::new(Pack::new(key, tier, class, generation));
        let mut packs = self.packs.write().unwrap_or_else(PoisonError::into_inner);
        packs.insert(key, Arc::clone(&pack));
        pack
    }

    pub(in crate::store) fn pack(&self, key: u32) -> Option<Arc<Pack>> {
        let packs = self.packs.read().unwrap_or_else(PoisonError::into_inner);
        packs.get(&key).cloned()
    }

    /// Takes a pack out: its entries lead nowhere from here on.
    pub(in crate::store) fn take_pack(&self, key: u32) -> Option<Arc<Pack>> {
        let mut packs = self.packs.write().unwrap_or_else(PoisonError::into_inner);
        packs.remove(&key)
    }

    /// The objects in the packs of `tier`, a shard at a time: what comes and goes meanwhile
    /// may be missing or listed.
    pub(in crate::store) fn entries_in(
        &self,
        tier: u8,
    ) -> impl Iterator<Item = (Arc<Pack>, Entry)> + '_ {
        self.shards.iter().flat_map(move |shard| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let entries: Vec<Entry> = shard.entries().copied().collect();
            drop(shard);
            let placed = entries
                .into_iter()
                .filter_map(|entry| Some((self.pack(entry.pack)?, entry)));
            placed.filter(move |(pack, _)| pack.tier == tier)
        })
    }

    /// Says that something that was in `pack` is not any more: to be called once nobody finds
    /// it here.
    pub(in crate::store) fn withdraw(&self, pack: &Pack) {
        pack.withdrawals.fetch_add(1, Release);
        self.withdrawn.send_replace(());
    }

    /// Changes with each [`withdraw`](Self::withdraw).
    pub(in crate::store) fn withdrawals(&self) -> watch::Receiver<()> {
        self.withdrawn.subscribe()
    }

    fn is_known(&self, key: u32) -> bool {
        let packs = self.packs.read().unwrap_or_else(PoisonError::into_inner);
        packs.contains_key(&key)
    }

    fn shard(&self, id: ObjectId) -> MutexGuard<'_, Table> {
        let first = u16::from_le_bytes([id.as_bytes()[0], id.as_bytes()[1]]);
        let shard = &self.shards[usize::from(first) % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use forebay_core::ETag;

    use super::*;

    fn id(number: u64) -> ObjectId {
        ObjectId::derive("test", &number.to_le_bytes(), &ETag::new("1"), 1)
    }

    #[test]
    fn the_entries_of_a_pack_that_was_taken_out_lead_nowhere() {
        let index = PackIndex::default();
        let packs = [
            index.add_pack(0, Class::default(), 1),
            index.add_pack(1, Class::default(), 1),
        ];
        for number in 0..1000 {
            let pack = packs[number as usize % 2].key;
            assert_eq!(index.set(Entry::new(id(number), pack, 0, 1, 0)), None);
        }
        index.take_pack(packs[0].key).unwrap();
        for number in 0..1000 {
            let found = index.find(id(number)).map(|(pack, _)| pack.tier);
            assert_eq!(found, (number % 2 == 1).then_some(1));
        }
    }

    #[test]
    fn only_what_is_still_known_is_confirmed_or_removed() {
        let index = PackIndex::default();
        let pack = index.add_pack(0, Class::default(), 1).key;
        let (old, new) = (
            Entry::new(id(1), pack, 10, 5, 0),
            Entry::new(id(1), pack, 20, 5, 0),
        );
        index.set(old);
        assert_eq!(index.set(new), Some(old));
        index.confirm(&old);
        assert!(!index.entry(id(1)).unwrap().is_verified());
        assert!(!index.remove(&old));
        index.confirm(&new);
        assert!(index.entry(id(1)).unwrap().is_verified());
        // By place: that it was verified meanwhile does not matter.
        assert!(index.remove(&new));
        assert_eq!(index.entry(id(1)), None);
    }

    #[test]
    fn a_million_objects_take_less_than_64_bytes_each() {
        let index = PackIndex::default();
        let pack = index.add_pack(0, Class::default(), 1).key;
        for number in 0..1_000_000_u64 {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            bytes[8..].copy_from_slice(&number.wrapping_mul(0xbf58_476d_1ce4_e5b9).to_le_bytes());
            index.set(Entry::new(ObjectId::from_bytes(bytes), pack, 0, 1, 0));
            if number % 100_000 == 99_999 {
                let tables: usize = index.shards.iter().map(|s| s.lock().unwrap().bytes()).sum();
                let all = tables + size_of_val(&*index.shards);
                assert!(
                    all as u64 <= 56 * (number + 1),
                    "{all} bytes, {number} objects"
                );
            }
        }
    }
}
