//! What a tier holds when it is opened.
//!
//! The journal says which chunks there should be, the directory which files there are.
//! Only what both agree on is kept, and none of it is believed before its checksum was
//! compared. Files that no record speaks of are removed if their name is one that the
//! store gives; anything else in the directory is left alone.

use std::collections::HashSet;
use std::fs::{self, DirEntry};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Arc, Mutex};

use forebay_core::ObjectId;
use tracing::{debug, info, warn};

use super::packs::Packs;
use super::{Commons, Tier};
use crate::store::StoreError;
use crate::store::chunks::{ChunkState, Piece};
use crate::store::config::{TierConfig, TierKind};
use crate::store::directory::{Directory, parse_name};
use crate::store::dirty::Dirty;
use crate::store::index::Index;
use crate::store::journal::{
    self, BootId, Draft, FoundObject, FoundPiece, Journal, Record, Replay,
};
use crate::store::object::{Object, Place};
use crate::store::room::{FreeSpace, Quota};
use crate::store::share::{ShareId, Shares};
use crate::store::shelf::Shelves;
use crate::store::stats::{Counters, Damage, add};

impl Tier {
    /// Takes the directory of `config` and recovers what it holds into the common index.
    ///
    /// Objects that an earlier tier has already are removed from this one.
    pub(in crate::store) fn open(
        number: u8,
        config: TierConfig,
        commons: &Commons,
    ) -> Result<Self, StoreError> {
        let Commons {
            index,
            packed,
            counters,
            shares,
            policy,
            boot,
        } = commons;
        let boot = *boot;
        let context = |action| {
            let dir = config.dir.clone();
            move |error| StoreError::from_io(&dir, action, error)
        };
        let directory = Directory::take(&config.dir)?;
        let replay = journal::replay(&directory.journal()).map_err(context("read the journal"))?;
        let mut recovery = Recovery::new(&directory, index, counters, replay);
        recovery.drop_not_durable(boot);
        recovery.match_files();
        let found = recovery.adopt(number, shares);
        let draft = found.draft(&directory, boot, config.kind);
        let draft = draft.map_err(context("write the journal"))?;
        let tier = Self {
            number,
            boot,
            index: Arc::clone(index),
            counters: Arc::clone(counters),
            journal: Journal::new(draft),
            records: AtomicI64::new(0),
            quota: Quota::new(config.quota),
            free_space: FreeSpace::new(config.min_free),
            shares: Arc::clone(shares),
            shelves: Shelves::new(shares, *policy),
            evictor: Mutex::default(),
            trimming: AtomicBool::new(false),
            packs: Packs::new(packed),
            dirty: Mutex::default(),
            flushing: Mutex::default(),
            failed: AtomicBool::new(false),
            config,
            directory,
        };
        tier.enter_found(found);
        tier.recover_packs();
        // The quotas may be smaller than last time.
        tier.enforce_quotas();
        tier.trim(ShareId::NOBODY, 0);
        Ok(tier)
    }

    fn enter_found(&self, found: Found) {
        let mut not_synced = Vec::new();
        for (object, recorded) in &found.objects {
            for (chunk, found) in recorded.pieces() {
                let FoundPiece {
                    pages, crc, tag, ..
                } = found;
                let index = chunk.into();
                let piece = Piece { index, pages, crc };
                if let Some(change) = object.chunks.enter(piece, ChunkState::Unverified) {
                    self.found(object.class(), change.after - change.before);
                    object.mark(index, self.shares.class(tag).is_copy);
                    self.account(change);
                }
            }
            self.shelve(object, object.class());
            let mut slots = recorded.pieces().map(|(_, piece)| piece.slot);
            if self.is_on_disk() && slots.any(|slot| slot >= found.synced_below) {
                not_synced.push(Arc::clone(object));
            }
        }
        *self.dirty() = Dirty::inherited(not_synced);
        let (dir, objects) = (self.config.dir.display(), found.objects.len());
        info!(%dir, objects, bytes = self.quota.used(), "cache tier opened");
    }
}

/// What the journal and the directory say, on the way to agreement.
struct Recovery<'a> {
    directory: &'a Directory,
    index: &'a Index,
    counters: &'a Counters,
    replay: Replay,
    with_file: HashSet<ObjectId>,
    with_wrong_file: HashSet<ObjectId>,
}

impl<'a> Recovery<'a> {
    fn new(
        directory: &'a Directory,
        index: &'a Index,
        counters: &'a Counters,
        replay: Replay,
    ) -> Self {
        add(&counters.damaged_records, replay.damaged);
        index.reserve_generations(replay.highest_generation);
        Self {
            directory,
            index,
            counters,
            replay,
            with_file: HashSet::new(),
            with_wrong_file: HashSet::new(),
        }
    }

    /// After a boot, only chunks are believed that were durable when it was recorded.
    fn drop_not_durable(&mut self, boot: BootId) {
        if self.replay.boot != Some(boot) || boot == journal::UNKNOWN_BOOT {
            let synced_below = self.replay.synced_below;
            for object in self.replay.objects.values_mut() {
                let recorded = object.chunks.len();
                object.chunks.retain(|_, pieces| {
                    pieces.retain(|piece| piece.slot < synced_below);
                    !pieces.is_empty()
                });
                add(
                    &self.counters.torn_chunks,
                    (recorded - object.chunks.len()) as u64,
                );
            }
        }
        self.replay
            .objects
            .retain(|_, object| !object.chunks.is_empty());
    }

    /// Drops the objects without a file of the right length, and removes the files
    /// without an object.
    fn match_files(&mut self) {
        let objects = self.directory.objects();
        for shard in self.list(&objects) {
            let Ok(shard_name) = shard.file_name().into_string() else {
                continue;
            };
            if shard.file_type().is_ok_and(|kind| kind.is_dir()) {
                for file in self.list(&shard.path()) {
                    self.match_file(&shard_name, &file);
                }
            }
        }
        self.replay.objects.retain(|id, object| {
            let has_file = self.with_file.contains(id);
            if !has_file {
                let damage = match self.with_wrong_file.contains(id) {
                    true => Damage::Length,
                    false => Damage::Missing,
                };
                add(self.counters.damage(damage), 1);
                add(&self.counters.torn_chunks, object.chunks.len() as u64);
            }
            has_file
        });
    }

    fn list(&self, dir: &Path) -> Vec<DirEntry> {
        // What cannot be listed counts as not there: it costs a fetch, not the start.
        let listed = fs::read_dir(dir).and_then(Iterator::collect);
        listed.unwrap_or_else(|error: io::Error| {
            warn!(%error, dir = %dir.display(), "cached files cannot be listed");
            Vec::new()
        })
    }

    fn match_file(&mut self, shard: &str, file: &DirEntry) {
        let name = file.file_name();
        let named = name.to_str().and_then(parse_name);
        let Some((id, generation)) = named.filter(|(id, _)| id.to_string().starts_with(shard))
        else {
            debug!(path = %file.path().display(), "not a file of the cache: left alone");
            return;
        };
        self.index.reserve_generations(generation);
        let object = self
            .replay
            .objects
            .get(&id)
            .filter(|o| o.generation == generation);
        match object {
            None => remove_orphan(self.counters, &file.path()),
            Some(object) => match file.metadata() {
                Ok(data) if data.is_file() && data.len() == object.size => {
                    self.with_file.insert(id);
                }
                _ => {
                    self.with_wrong_file.insert(id);
                    remove(&file.path());
                }
            },
        }
    }

    /// Makes the agreed objects known, the longest unchanged first.
    fn adopt(self, number: u8, shares: &Shares) -> Found {
        let synced_below = self.replay.synced_below;
        let mut agreed: Vec<_> = self.replay.objects.into_iter().collect();
        agreed.sort_by_cached_key(|(_, object)| object.pieces().map(|(_, p)| p.slot).max());
        let mut objects = Vec::with_capacity(agreed.len());
        for (id, found) in agreed {
            let FoundObject {
                generation, size, ..
            } = found;
            let tag = found.pieces().map(|(_, piece)| piece.tag).next();
            let class = shares.class(tag.unwrap_or_default());
            let object = Arc::new(Object::new(
                id,
                size,
                generation,
                class,
                Place::Tier(number),
            ));
            if self.index.insert(Arc::clone(&object)) {
                objects.push((object, found));
            } else {
                remove_orphan(self.counters, &self.directory.data_file(id, generation));
            }
        }
        Found {
            objects,
            synced_below,
        }
    }
}

fn remove_orphan(counters: &Counters, path: &Path) {
    add(&counters.orphans, 1);
    remove(path);
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        debug!(%error, path = %path.display(), "unusable cached file not removed");
    }
}

/// What recovery has kept.
struct Found {
    objects: Vec<(Arc<Object>, FoundObject)>,
    synced_below: u64,
}

impl Found {
    /// Writes the journal anew: without what is dead or damaged, and under this boot.
    fn draft(&self, directory: &Directory, boot: BootId, kind: TierKind) -> io::Result<Draft> {
        let mut draft = Draft::create(&directory.new_journal(), boot)?;
        self.push(&mut draft, |piece| piece.slot < self.synced_below)?;
        let below = draft.slots();
        draft.push(Record::Synced { below })?;
        self.push(&mut draft, |piece| piece.slot >= self.synced_below)?;
        if kind == TierKind::Disk {
            draft.sync()?;
        }
        draft.install(&directory.journal())?;
        if kind == TierKind::Disk {
            directory.root().sync_all()?;
        }
        Ok(draft)
    }

    fn push(&self, draft: &mut Draft, wanted: impl Fn(&FoundPiece) -> bool) -> io::Result<()> {
        for (object, found) in &self.objects {
            for (chunk, piece) in found.pieces().filter(|(_, piece)| wanted(piece)) {
                draft.push(Record::Chunk {
                    id: object.id,
                    generation: object.generation,
                    size: object.size(),
                    chunk,
                    pages: piece.pages,
                    crc: piece.crc,
                    tag: piece.tag,
                })?;
            }
        }
        Ok(())
    }
}
