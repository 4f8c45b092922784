//! The packs that a tier's directory holds when it is opened.
//!
//! Their records are all that is read: a few kilobytes a pack, in order. No object is
//! believed before its checksum was compared.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::{debug, warn};

use super::Tier;
use crate::store::data;
use crate::store::directory::parse_pack_name;
use crate::store::journal::UNKNOWN_BOOT;
use crate::store::pack::{Entry, Pack, Replay, Tail, replay};
use crate::store::share::Class;
use crate::store::stats::add;

impl Tier {
    /// Makes the objects known that the packs hold. Those of this boot that are not full
    /// are written on.
    pub(in crate::store::tier) fn recover_packs(&self) {
        // Of each class the latest ones: each process that was killed may have left some.
        let mut tails: HashMap<Class, VecDeque<Tail>> = HashMap::new();
        for (generation, path) in self.list_packs() {
            self.index.reserve_generations(generation);
            match self.recover_pack(generation, &path) {
                Ok(None) => {}
                Ok(Some(tail)) => {
                    let class = tail.pack.class;
                    let tails = tails.entry(class).or_default();
                    tails.push_front(tail);
                    tails.truncate(self.packs.lanes(class).count());
                }
                Err(error) => {
                    warn!(%error, pack = generation, "pack cannot be read: removed");
                    self.remove_orphan(&path);
                }
            }
        }
        for (class, tails) in tails {
            self.packs.lanes(class).resume(tails);
        }
    }

    /// The packs by name, the oldest first.
    fn list_packs(&self) -> Vec<(u64, PathBuf)> {
        let dir = self.directory.packs();
        let listed: io::Result<Vec<DirEntry>> = fs::read_dir(&dir).and_then(Iterator::collect);
        let entries = listed.unwrap_or_else(|error| {
            // It costs a fetch, not the start.
            warn!(%error, dir = %dir.display(), "packs cannot be listed");
            Vec::new()
        });
        let named = |entry: DirEntry| {
            let generation = entry.file_name().to_str().and_then(parse_pack_name);
            if generation.is_none() {
                debug!(path = %entry.path().display(), "not a pack: left alone");
            }
            Some((generation?, entry.path()))
        };
        let mut packs: Vec<_> = entries.into_iter().filter_map(named).collect();
        packs.sort_unstable();
        packs
    }

    fn recover_pack(&self, generation: u64, path: &Path) -> io::Result<Option<Tail>> {
        let file = data::open(path)?;
        let Some(mut found) = replay(&file, generation)? else {
            self.remove_orphan(path);
            return Ok(None);
        };
        add(&self.counters.damaged_records, found.damaged);
        add(&self.counters.torn_chunks, found.torn);
        let is_this_boot = found.boot == self.boot && self.boot != UNKNOWN_BOOT;
        if !is_this_boot {
            add(&self.counters.torn_chunks, found.keep_durable());
        }
        let class = self.shares.class(found.tag);
        let pack = self.packs.index.add_pack(self.number, class, generation);
        self.enter_pack(&pack, &found);
        if pack.ledger().is_none_or(|ledger| ledger.objects == 0) {
            self.end_pack(pack.key);
            add(&self.counters.orphans, 1);
            return Ok(None);
        }
        // After another boot, records that were not durable may lie behind those read.
        let is_open = is_this_boot && found.end < self.full_at(pack.class);
        Ok(is_open.then(|| Tail {
            pack,
            file: Arc::new(file),
            end: found.end,
        }))
    }

    fn enter_pack(&self, pack: &Arc<Pack>, found: &Replay) {
        let Some(mut ledger) = pack.ledger() else {
            return;
        };
        let (mut objects, mut bytes) = (0, 0);
        for (_, placed) in &found.objects {
            // Found before, in this pack or another one: the same bytes once more.
            if self.packs.index.find(placed.id).is_some() {
                continue;
            }
            let (id, offset) = (placed.id, placed.offset);
            let entry = Entry::new(id, pack.key, offset, placed.len, placed.crc);
            self.packs.index.set(entry);
            objects += 1;
            bytes += entry.len();
        }
        ledger.slots = found.slots;
        ledger.bytes = found.bytes;
        ledger.add_objects(objects, bytes);
        add(&self.counters.packs, 1);
        add(&self.counters.dead_bytes, ledger.dead_bytes());
        self.account_packed(u64::from(objects), bytes);
        self.found(pack.class, found.bytes);
        let shelf = self.shelves.of(pack.class);
        shelf.policy().insert(pack.policy_id(), found.bytes);
        let is_synced = |&(slot, _): &(u32, _)| slot < found.synced_below;
        if self.is_on_disk() && !found.objects.iter().all(is_synced) {
            ledger.dirty = true;
            self.packs.dirty().push(Arc::clone(pack));
        }
    }

    fn remove_orphan(&self, path: &Path) {
        add(&self.counters.orphans, 1);
        if let Err(error) = fs::remove_file(path) {
            debug!(%error, path = %path.display(), "unusable pack not removed");
        }
    }
}
