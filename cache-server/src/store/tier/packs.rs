//! The packs of a tier, and what becomes of the objects in them.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use forebay_core::{ObjectId, checksum};
use tracing::warn;

use super::Tier;
use crate::store::data;
use crate::store::error::Fault;
use crate::store::pack::{
    Entry, Lanes, Ledger, Pack, PackIndex, Record, full_at, key_of, slot_offset,
};
use crate::store::share::Class;
use crate::store::stats::{Damage, add, sub};

mod append;
mod flush;
mod recover;

/// Accesses to a pack that the policy is told of at once: no policy counts further.
const MOST_ACCESSES: u32 = 4;

/// What a tier keeps for its packs.
#[derive(Debug)]
pub(super) struct Packs {
    pub(super) index: Arc<PackIndex>,
    // Of each class that was ever written.
    lanes: Mutex<HashMap<Class, Arc<Lanes>>>,
    // Packs that were written to since the last sync, each once; see `Ledger::dirty`.
    dirty: Mutex<Vec<Arc<Pack>>>,
    // True once the directory was given back. Held for reading while a record is written
    // that no open store waits for.
    closed: RwLock<bool>,
}

impl Packs {
    pub(super) fn new(index: &Arc<PackIndex>) -> Self {
        Self {
            index: Arc::clone(index),
            lanes: Mutex::default(),
            dirty: Mutex::default(),
            closed: RwLock::new(false),
        }
    }

    /// Sees to it that nothing is recorded any more.
    pub(super) fn close(&self) {
        *self.closed.write().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// Where objects of a class are written.
    fn lanes(&self, class: Class) -> Arc<Lanes> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(lanes.entry(class).or_default())
    }

    fn dirty(&self) -> MutexGuard<'_, Vec<Arc<Pack>>> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tier {
    /// The end of the data at which a pack of that class is full.
    fn full_at(&self, class: Class) -> u64 {
        let share = self.shares.bytes(class.share).limit();
        full_at(self.config.quota.min(share))
    }

    /// The pack's file for reading; `None` if it is gone or cannot be opened.
    pub(in crate::store) fn pack_file(&self, pack: &Arc<Pack>) -> Option<Arc<File>> {
        match self.open_pack(pack) {
            Ok(file) => file,
            Err(error) => {
                warn!(%error, pack = pack.generation, "pack cannot be opened");
                None
            }
        }
    }

    /// Tells the policy that so many objects of `pack` were opened.
    pub(in crate::store) fn accessed_packed(&self, pack: &Pack, objects: u32) {
        for _ in 0..pack.accesses(objects).min(MOST_ACCESSES) {
            self.accessed(pack.class, pack.policy_id());
        }
    }

    /// Compares the object of `entry` with its checksum, if it is unverified.
    pub(in crate::store) fn verify_packed(&self, pack: &Arc<Pack>, entry: &Entry) {
        if !entry.is_verified() {
            self.compare_packed(pack, entry);
        }
    }

    /// Compares the object of `entry` with its checksum.
    pub(in crate::store) fn compare_packed(&self, pack: &Arc<Pack>, entry: &Entry) {
        match self.read_packed(pack, entry) {
            Ok(Some(bytes)) if checksum::crc32c(&bytes) == entry.crc => {
                self.packs.index.confirm(entry);
            }
            Ok(Some(_)) => {
                self.damaged(Damage::Checksum);
                self.drop_packed(pack, entry, "wrong checksum");
            }
            Ok(None) => {}
            // Short of descriptors or memory: fetched again now, tried again by the next
            // process.
            Err(error) if Fault::of(&error) == Fault::Busy => {
                self.forget_packed(pack, entry);
            }
            Err(error) => {
                self.damaged(match error.kind() {
                    io::ErrorKind::UnexpectedEof => Damage::Length,
                    _ => Damage::Unreadable,
                });
                self.drop_packed(pack, entry, &error.to_string());
            }
        }
    }

    /// Forgets the object of `entry`, which a reader found wrong.
    pub(in crate::store) fn discard_packed(&self, pack: &Arc<Pack>, entry: &Entry) {
        self.drop_packed(pack, entry, "found wrong by a reader");
    }

    /// Evicts the pack that the policy calls `id` and returns its bytes; `None` if that
    /// is no pack.
    pub(super) fn evict_pack(&self, id: ObjectId) -> Option<u64> {
        let key = key_of(id)?;
        // Lost meanwhile: nothing is freed, and the policy has let go of it.
        let Some(last) = self.end_pack(key) else {
            return Some(0);
        };
        let counters = &self.counters;
        add(&counters.evicted_packs, 1);
        add(&counters.evicted_objects, u64::from(last.objects));
        add(&counters.evicted_bytes, last.live_bytes);
        Some(last.bytes)
    }

    /// Gives up a pack whose file cannot be trusted; returns how many objects it had.
    fn lose_pack(&self, pack: &Arc<Pack>) -> u64 {
        let Some(last) = self.end_pack(pack.key) else {
            return 0;
        };
        let shelf = self.shelves.of(pack.class);
        shelf.policy().remove(pack.policy_id());
        add(&self.counters.torn_chunks, u64::from(last.objects));
        u64::from(last.objects)
    }

    fn lose_damaged_pack(&self, pack: &Arc<Pack>) {
        let objects = self.lose_pack(pack);
        self.damaged(Damage::Missing);
        warn!(
            pack = pack.generation,
            objects, "pack missing or cut short: dropped"
        );
    }

    /// Ends a pack: no object in it is found any more, and its file is unlinked.
    fn end_pack(&self, key: u32) -> Option<Ledger> {
        let pack = self.packs.index.take_pack(key)?;
        let last = pack.end()?;
        self.packs.index.withdraw(&pack);
        let counters = &self.counters;
        sub(&counters.packs, 1);
        sub(&counters.packed_objects, u64::from(last.objects));
        sub(&counters.packed_bytes, last.live_bytes);
        sub(&counters.objects, u64::from(last.objects));
        sub(&counters.bytes, last.live_bytes);
        sub(&counters.dead_bytes, last.dead_bytes());
        if let Err(error) = self.directory.unlink_pack(pack.generation) {
            self.fail(&error, "remove a pack");
        }
        self.packs.lanes(pack.class).forget_gone();
        self.give_back(pack.class, last.bytes);
        Some(last)
    }

    /// Counts `objects` that have come into `pack` with their `bytes`; the caller holds
    /// its ledger.
    fn account_packed(&self, objects: u64, bytes: u64) {
        let counters = &self.counters;
        add(&counters.packed_objects, objects);
        add(&counters.packed_bytes, bytes);
        add(&counters.objects, objects);
        add(&counters.bytes, bytes);
    }

    fn open_pack(&self, pack: &Arc<Pack>) -> io::Result<Option<Arc<File>>> {
        let path = || self.directory.pack(pack.generation);
        let opened = self.packs.index.open.open(pack, path);
        if let Err(error) = &opened
            && error.kind() == io::ErrorKind::NotFound
        {
            self.lose_damaged_pack(pack);
            return Ok(None);
        }
        opened
    }

    fn read_packed(&self, pack: &Arc<Pack>, entry: &Entry) -> io::Result<Option<Vec<u8>>> {
        let Some(file) = self.open_pack(pack)? else {
            return Ok(None);
        };
        data::read(&file, u64::from(entry.offset), entry.len()).map(Some)
    }

    fn drop_packed(&self, pack: &Arc<Pack>, entry: &Entry, reason: &str) {
        if !self.forget_packed(pack, entry) {
            return;
        }
        add(&self.counters.corrupt_chunks, 1);
        warn!(object = %entry.id, pack = pack.generation, reason, "cached object dropped");
        let dropped = Record::Dropped {
            offset: entry.offset,
        };
        // Best effort: without the record the next process finds the object wrong, too.
        let closed = self
            .packs
            .closed
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if !*closed && let Ok(Some(file)) = self.open_pack(pack) {
            let _ = write_record(&file, pack, dropped);
        }
    }

    /// Takes `entry` out of the index; false if something else is known of its id.
    fn forget_packed(&self, pack: &Pack, entry: &Entry) -> bool {
        let forgotten = self.packs.index.remove(entry);
        if forgotten {
            self.packs.index.withdraw(pack);
            self.bury(pack, entry);
        }
        forgotten
    }

    /// Strikes an object that the index has let go of from the accounts of its pack,
    /// which may lie in another tier. Its bytes go with the pack.
    fn bury(&self, pack: &Pack, entry: &Entry) {
        let Some(mut ledger) = pack.ledger() else {
            return;
        };
        ledger.take_object(entry.len());
        let counters = &self.counters;
        sub(&counters.packed_objects, 1);
        sub(&counters.packed_bytes, entry.len());
        sub(&counters.objects, 1);
        sub(&counters.bytes, entry.len());
        add(&counters.dead_bytes, entry.len());
    }
}

/// Appends a record that is not an object's; does nothing if the pack is gone or has no
/// slot left.
fn write_record(file: &File, pack: &Pack, record: Record) -> io::Result<()> {
    let Some(mut ledger) = pack.ledger().filter(|ledger| ledger.has_spare_slot()) else {
        return Ok(());
    };
    let bytes = record.encode(pack.generation, ledger.slots);
    file.write_all_at(&bytes, slot_offset(ledger.slots))?;
    ledger.slots += 1;
    Ok(())
}
