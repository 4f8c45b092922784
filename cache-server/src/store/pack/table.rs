//! The entries of one shard of the index: open addressing, nothing but the entries.
//!
//! A table is between 3/5 and 4/5 full once it has grown beyond its first size, so an
//! entry of 32 bytes costs at most 54. A standard map would take 33 bytes a bucket and be
//! down to 7/16 full after it doubled: 75.

use forebay_core::ObjectId;

/// Says that an entry's bytes were compared with their checksum, or written by this
/// process.
const VERIFIED: u32 = 1 << 31;

/// Where a packed object lies, and what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Entry {
    pub(in crate::store) id: ObjectId,
    /// The pack's key.
    pub(in crate::store) pack: u32,
    /// The first byte's offset in the pack's file.
    pub(in crate::store) offset: u32,
    pub(in crate::store) crc: u32,
    // The length below, flags above; 0 in a slot that is free.
    bits: u32,
}

const FREE: Entry = Entry {
    id: ObjectId::from_bytes([0; 16]),
    pack: 0,
    offset: 0,
    crc: 0,
    bits: 0,
};

impl Entry {
    /// An unverified entry; `len` is at least 1 and less than a chunk.
    pub(in crate::store) fn new(id: ObjectId, pack: u32, offset: u32, len: u32, crc: u32) -> Self {
        Self {
            id,
            pack,
            offset,
            crc,
            bits: len,
        }
    }

    pub(in crate::store) fn verified(mut self) -> Self {
        self.bits |= VERIFIED;
        self
    }

    pub(in crate::store) fn is_verified(&self) -> bool {
        self.bits & VERIFIED != 0
    }

    /// The object's size.
    pub(in crate::store) fn len(&self) -> u64 {
        u64::from(self.bits & !VERIFIED)
    }

    /// Whether both speak of the same bytes of the same file.
    pub(in crate::store) fn is_at(&self, other: &Self) -> bool {
        (self.id, self.pack, self.offset) == (other.id, other.pack, other.offset)
    }

    fn is_free(&self) -> bool {
        self.bits == 0
    }
}

/// The slots of a table that has its first entry.
const FIRST_SLOTS: usize = 8;

/// A map from ids to entries.
#[derive(Debug, Default)]
pub(in crate::store) struct Table {
    slots: Box<[Entry]>,
    used: usize,
}

impl Table {
    pub(in crate::store) fn get(&self, id: ObjectId) -> Option<&Entry> {
        let found = self.find(id).ok()?;
        Some(&self.slots[found])
    }

    pub(in crate::store) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.slots.iter().filter(|entry| !entry.is_free())
    }

    pub(in crate::store) fn get_mut(&mut self, id: ObjectId) -> Option<&mut Entry> {
        let found = self.find(id).ok()?;
        Some(&mut self.slots[found])
    }

    /// Adds `entry`, or puts it in the place of the one with the same id, which is
    /// returned. A table that would become too full first lets go of the entries that
    /// are not `is_live` any more.
    pub(in crate::store) fn insert(
        &mut self,
        entry: Entry,
        is_live: impl Fn(&Entry) -> bool,
    ) -> Option<Entry> {
        if let Some(known) = self.get_mut(entry.id) {
            return Some(std::mem::replace(known, entry));
        }
        if (self.used + 1) * 5 > self.slots.len() * 4 {
            self.rebuild(is_live);
        }
        self.add(entry);
        None
    }

    pub(in crate::store) fn remove(&mut self, id: ObjectId) {
        let Ok(mut hole) = self.find(id) else {
            return;
        };
        self.used -= 1;
        // The entries behind it move up as far as their homes allow, so that no search
        // ends early at the hole.
        let mut next = self.behind(hole);
        while !self.slots[next].is_free() {
            let home = self.home(self.slots[next].id);
            if self.distance(home, next) >= self.distance(hole, next) {
                self.slots[hole] = self.slots[next];
                hole = next;
            }
            next = self.behind(next);
        }
        self.slots[hole] = FREE;
    }

    /// The bytes of memory that the entries take up.
    #[cfg(test)]
    pub(in crate::store) fn bytes(&self) -> usize {
        size_of_val(&*self.slots)
    }

    /// The slot of `id`, or the free one where the search for it ends.
    fn find(&self, id: ObjectId) -> Result<usize, usize> {
        if self.slots.is_empty() {
            return Err(0);
        }
        let mut at = self.home(id);
        // Ends: a fifth of the slots is free.
        while !self.slots[at].is_free() {
            if self.slots[at].id == id {
                return Ok(at);
            }
            at = self.behind(at);
        }
        Err(at)
    }

    fn add(&mut self, entry: Entry) {
        if let Err(at) = self.find(entry.id) {
            self.slots[at] = entry;
            self.used += 1;
        }
    }

    fn rebuild(&mut self, is_live: impl Fn(&Entry) -> bool) {
        let old = std::mem::take(&mut self.slots);
        let live = || {
            old.iter()
                .filter(|entry| !entry.is_free() && is_live(entry))
        };
        let wanted = (live().count() + 1) * 5 / 3;
        self.slots = vec![FREE; wanted.max(FIRST_SLOTS)].into();
        self.used = 0;
        // What dies between the two looks is added and lives on to the next one.
        for &entry in live() {
            self.add(entry);
        }
    }

    /// The slot where the search for `id` begins.
    fn home(&self, id: ObjectId) -> usize {
        // Ids are hashes. The first bytes have chosen the shard, the last ones choose the
        // slot: a fraction of the slots, whose number is no power of two.
        let mut last = [0; 8];
        last.copy_from_slice(&id.as_bytes()[8..]);
        let fraction = u128::from(u64::from_le_bytes(last));
        ((fraction * self.slots.len() as u128) >> 64) as usize
    }

    fn behind(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() {
            0
        } else {
            at + 1
        }
    }

    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from {
            to - from
        } else {
            to + self.slots.len() - from
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Few ids with few homes, so that searches run into each other.
    fn id(number: u8) -> ObjectId {
        let mut bytes = [0; 16];
        bytes[0] = number;
        bytes[15] = number / 4 * 16;
        ObjectId::from_bytes(bytes)
    }

    fn entry(number: u8, pack: u32) -> Entry {
        Entry::new(id(number), pack, 7, 1 + u32::from(number), 9)
    }

    #[test]
    fn an_entry_takes_32_bytes_and_at_most_54_with_its_share_of_free_slots() {
        assert_eq!(size_of::<Entry>(), 32);
        let mut table = Table::default();
        for number in 1..100_000_u64 {
            let mut bytes = [0; 16];
            let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            bytes[8..].copy_from_slice(&spread.to_le_bytes());
            table.insert(Entry::new(ObjectId::from_bytes(bytes), 0, 0, 1, 0), |_| {
                true
            });
            if number > 100 {
                assert!(table.bytes() as u64 <= 54 * number, "{number} entries");
            }
        }
    }

    #[test]
    fn flags_and_length_do_not_meet() {
        let longest = forebay_core::chunk::CHUNK_SIZE as u32 - 1;
        let entry = Entry::new(id(1), 2, 3, longest, 4);
        assert!(!entry.is_verified() && entry.verified().is_verified());
        assert_eq!(entry.verified().len(), u64::from(longest));
        assert!(entry.is_at(&entry.verified()));
    }

    #[test]
    fn entries_of_dead_packs_make_room_for_new_ones() {
        let mut table = Table::default();
        for round in 0..100_u32 {
            for number in 0..40 {
                table.insert(
                    Entry::new(
                        {
                            let mut bytes = [0; 16];
                            bytes[..4].copy_from_slice(&round.to_le_bytes());
                            bytes[8] = number;
                            bytes[15] = number.wrapping_mul(37);
                            ObjectId::from_bytes(bytes)
                        },
                        round,
                        0,
                        1,
                        0,
                    ),
                    |entry| entry.pack + 1 >= round,
                );
            }
        }
        assert!(table.bytes() < 40 * 3 * 54, "{} bytes", table.bytes());
    }

    proptest! {
        #[test]
        fn a_table_is_a_map(ops in prop::collection::vec((0_u8..60, 0_u8..3), 0..300)) {
            let mut table = Table::default();
            let mut model = BTreeMap::new();
            for (turn, (number, op)) in (0..).zip(ops) {
                match op {
                    0 => {
                        table.remove(id(number));
                        model.remove(&number);
                    }
                    _ => {
                        let new = entry(number, turn);
                        let replaced = table.insert(new, |_| true);
                        prop_assert_eq!(replaced, model.insert(number, new));
                    }
                }
                for number in 0..60 {
                    prop_assert_eq!(table.get(id(number)), model.get(&number));
                }
            }
        }
    }
}
