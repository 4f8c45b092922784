//! Packs: many small objects in one file.
//!
//! An object of less than a chunk is appended to a **pack** of its tier, in the order in
//! which objects arrive; fetched together, neighbours of the manifest are neighbours on
//! the disk. A million of them are some thousand files to open, sync, list and evict.
//!
//! # The file
//! `packs/<generation>`. A region of 32-byte records comes first, most of it a hole, and
//! the objects' bytes behind it. A record is written right behind the bytes that it
//! speaks of, and carries their CRC32C and its own. One that says "synced" is written
//! once the file's data is durable. Records are never changed, so a pack needs no journal
//! and no compaction: it grows, is read, and goes as a whole.
//!
//! # Writers
//! For each class of objects a tier has a few **lanes**, each with the pack that it appends to. Writers that
//! come while a lane is busy leave their objects in its queue, and the next one to get
//! the lane writes all that wait with two system calls.
//!
//! # Readers
//! The index tells pack and offset of an id ([`PackIndex`]): one look into a table of
//! 32-byte entries. A reader keeps the pack's open file, so a pack is evicted whoever
//! reads it: unlinked, it stays readable until the last descriptor is closed. Entries of
//! packs that are gone are told by their pack's absence and dropped when their table
//! needs the room.
//!
//! # Locks
//! In the order in which they are taken: a lane, the ledger of a pack, a shard of the
//! index or the map of packs. A pack's file slot is taken alone.

use std::fs::File;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use forebay_core::ObjectId;

use super::share::Class;

mod index;
mod lane;
mod lease;
mod open_files;
mod record;
mod replay;
mod table;

pub(super) use index::PackIndex;
pub(super) use lane::{Lanes, Tail, Ticket};
pub(super) use lease::PackedLease;
pub(super) use record::{Placed, RECORD_BYTES, Record};
pub(super) use replay::{Replay, replay};
pub(super) use table::Entry;

/// Records that a pack has room for: packs of objects of 4 KiB and more become as large
/// as they may.
const SLOTS: u32 = 1 << 14;
/// Slots left for other records than those of objects.
const SPARE_SLOTS: u32 = 64;
/// Where the bytes of the first object lie.
pub(super) const DATA_START: u64 = SLOTS as u64 * RECORD_BYTES as u64;

/// Bytes of objects in a pack of a large tier: large enough that a terabyte is some
/// thousand files, small enough that evicting one costs milliseconds.
const LARGEST_PACK: u64 = 64 << 20;
const SMALLEST_PACK: u64 = 1 << 20;
/// A tier has at least as many packs when it is full, so that eviction has a choice.
const PACKS_PER_TIER: u64 = 64;

/// The end of the data at which a pack is full, where a tier or the dataset that its objects
/// are of may have `quota` bytes.
pub(super) fn full_at(quota: u64) -> u64 {
    DATA_START + (quota / PACKS_PER_TIER).clamp(SMALLEST_PACK, LARGEST_PACK)
}

/// The offset of a record in the file.
pub(super) fn slot_offset(slot: u32) -> u64 {
    u64::from(slot) * RECORD_BYTES as u64
}

/// One pack as the store holds it in memory.
#[derive(Debug)]
pub(super) struct Pack {
    /// Its number in this process, never used twice.
    pub(super) key: u32,
    /// The number of the tier it lies in.
    pub(super) tier: u8,
    /// Whose objects it holds.
    pub(super) class: Class,
    /// The name of its file.
    pub(super) generation: u64,
    ledger: Mutex<Ledger>,
    // Open while it is used; see `OpenFiles`.
    file: Mutex<Option<Arc<File>>>,
    // Set once, under the lock of the ledger.
    gone: AtomicBool,
    // A copy of the ledger's, for readers.
    objects: AtomicU32,
    accesses: AtomicU32,
    recent: AtomicBool,
    // How often something that was in it turned out not to be any more.
    withdrawals: AtomicU32,
}

/// The accounts of a pack.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ledger {
    /// Records written, the header included.
    pub(super) slots: u32,
    /// Objects that can be read here.
    pub(super) objects: u32,
    /// Their bytes.
    pub(super) live_bytes: u64,
    /// The bytes of all objects that were ever written here: what the file takes up.
    pub(super) bytes: u64,
    /// Whether it was written to since the last sync.
    pub(super) dirty: bool,
}

impl Ledger {
    /// The bytes of objects that were dropped. They are given back with the file.
    pub(super) fn dead_bytes(&self) -> u64 {
        self.bytes - self.live_bytes
    }

    /// Whether a record that is not an object's may be written.
    pub(super) fn has_spare_slot(&self) -> bool {
        self.slots < SLOTS
    }
}

impl Pack {
    pub(super) fn new(key: u32, tier: u8, class: Class, generation: u64) -> Self {
        Self {
            key,
            tier,
            class,
            generation,
            ledger: Mutex::default(),
            file: Mutex::default(),
            gone: AtomicBool::new(false),
            objects: AtomicU32::new(0),
            accesses: AtomicU32::new(0),
            recent: AtomicBool::new(false),
            withdrawals: AtomicU32::new(0),
        }
    }

    /// The accounts; `None` once the pack is gone.
    pub(super) fn ledger(&self) -> Option<LedgerGuard<'_>> {
        let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        (!self.is_gone()).then_some(LedgerGuard { pack: self, ledger })
    }

    /// Ends the pack: from here on nothing is entered in it, and no reader finds it.
    /// Returns its last accounts; `None` if it had ended before.
    pub(super) fn end(&self) -> Option<Ledger> {
        let ledger = self.ledger()?;
        let last = *ledger;
        self.gone.store(true, Release);
        drop(ledger);
        // Closing the last descriptor of an unlinked file takes its time: no lock is
        // held meanwhile.
        let file = self.file().take();
        drop(file);
        Some(last)
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Acquire)
    }

    /// Counts opened objects; returns how often more the pack as a whole counts as opened.
    ///
    /// A pass over the dataset opens each object once, and that is one access to the
    /// pack, not hundreds: or the policy could not tell a scan from a pack that is used
    /// again and again.
    pub(super) fn accesses(&self, opened: u32) -> u32 {
        let before = self.accesses.fetch_add(opened, Relaxed);
        let objects = self.objects.load(Relaxed).max(1);
        (before % objects).saturating_add(opened) / objects
    }

    /// How often an object was withdrawn: a count that has changed says that not all that
    /// lay here before it was read is good still.
    pub(super) fn withdrawals(&self) -> u32 {
        self.withdrawals.load(Acquire)
    }

    /// The name by which the eviction policy knows the pack.
    pub(super) fn policy_id(&self) -> ObjectId {
        let mut bytes = [0; 16];
        bytes[..POLICY_PREFIX.len()].copy_from_slice(&POLICY_PREFIX);
        bytes[POLICY_PREFIX.len()..].copy_from_slice(&self.key.to_le_bytes());
        ObjectId::from_bytes(bytes)
    }

    fn file(&self) -> MutexGuard<'_, Option<Arc<File>>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ids of objects are hashes: none begins like this within the age of the universe.
const POLICY_PREFIX: [u8; 12] = *b"forebay pack";

/// The key of the pack that a policy calls `id`; `None` if that is an object.
pub(super) fn key_of(id: ObjectId) -> Option<u32> {
    let (prefix, key) = id.as_bytes().split_first_chunk()?;
    let key = key.try_into().ok()?;
    (*prefix == POLICY_PREFIX).then_some(u32::from_le_bytes(key))
}

/// The accounts of a pack that is not gone while this is held.
#[derive(Debug)]
pub(super) struct LedgerGuard<'a> {
    pack: &'a Pack,
    ledger: MutexGuard<'a, Ledger>,
}

impl LedgerGuard<'_> {
    /// Enters objects that can be read from now on.
    pub(super) fn add_objects(&mut self, objects: u32, bytes: u64) {
        self.ledger.objects += objects;
        self.ledger.live_bytes += bytes;
        self.pack.objects.store(self.ledger.objects, Relaxed);
    }

    /// Strikes an object of `bytes`.
    pub(super) fn take_object(&mut self, bytes: u64) {
        self.ledger.objects -= 1;
        self.ledger.live_bytes -= bytes;
        self.pack.objects.store(self.ledger.objects, Relaxed);
    }
}

impl std::ops::Deref for LedgerGuard<'_> {
    type Target = Ledger;

    fn deref(&self) -> &Ledger {
        &self.ledger
    }
}

impl std::ops::DerefMut for LedgerGuard<'_> {
    fn deref_mut(&mut self) -> &mut Ledger {
        &mut self.ledger
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_s_name_of_a_pack_leads_back_to_it() {
        for key in [0, 7, u32::MAX] {
            assert_eq!(
                key_of(Pack::new(key, 1, Class::default(), 2).policy_id()),
                Some(key)
            );
        }
        assert_eq!(key_of(ObjectId::from_bytes([7; 16])), None);
    }

    #[test]
    fn one_pass_over_its_objects_is_one_access_to_a_pack() {
        let pack = Pack::new(0, 0, Class::default(), 0);
        pack.ledger().unwrap().add_objects(600, 600);
        assert_eq!((0..1800).map(|_| pack.accesses(1)).sum::<u32>(), 3);
        assert_eq!((0..18).map(|_| pack.accesses(100)).sum::<u32>(), 3);
        assert_eq!([5399, 1, 0].map(|opened| pack.accesses(opened)), [8, 1, 0]);
    }

    #[test]
    fn packs_fit_the_tier() {
        assert_eq!(full_at(1 << 40) - DATA_START, 64 << 20);
        assert_eq!(full_at(1 << 30) - DATA_START, 16 << 20);
        assert_eq!(full_at(1) - DATA_START, 1 << 20);
        // Offsets are kept in 32 bits.
        assert!(full_at(u64::MAX) + LARGEST_PACK < u64::from(u32::MAX));
    }
}
