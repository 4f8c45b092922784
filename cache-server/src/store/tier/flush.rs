//! From written to durable, and from a long journal to a short one.

use std::fs;
use std::io;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

use tracing::{debug, warn};

use super::Tier;
use crate::store::StoreError;
use crate::store::dirty::Dirty;
use crate::store::error::Fault;
use crate::store::journal::{Draft, Record};
use crate::store::stats::add;

/// Slots that a journal may have before it is worth rewriting: 1 MiB of them.
const SLOTS_TO_KEEP: u64 = 1 << 14;

impl Tier {
    /// Makes what was written so far durable, and then records that it is.
    pub(in crate::store) fn flush(&self) -> Result<(), StoreError> {
        let _one = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let packs = self.flush_packs();
        if let Err(error) = &packs {
            self.note_failed_sync(error, "make packs durable");
        }
        let packs = packs.map_err(self.context("make packs durable"));
        // Both, and then the first error.
        let files = self.flush_files();
        if packs? | files? {
            add(&self.counters.flushes, 1);
        }
        Ok(())
    }

    /// Does so for the files of single objects; false if there was nothing to do.
    fn flush_files(&self) -> Result<bool, StoreError> {
        // In this order: what the journal has by now, the dirty set has, too.
        let (slots, has_news) = self.journal.progress();
        let dirty = std::mem::take(&mut *self.dirty());
        if !has_news && dirty.is_empty() {
            return Ok(false);
        }
        if self.is_on_disk() {
            let synced = self
                .sync_data(dirty)
                .and_then(|()| self.journal.mark_synced(slots));
            if let Err(error) = synced {
                self.journal.not_durable();
                self.note_failed_sync(&error, "make cached chunks durable");
                return Err(self.context("make cached chunks durable")(error));
            }
        }
        let live = u64::try_from(self.records.load(Relaxed)).unwrap_or(0);
        if slots > SLOTS_TO_KEEP && slots / 2 > live {
            self.rewrite_journal()
                .map_err(self.context("rewrite the journal"))?;
        }
        Ok(self.is_on_disk())
    }

    /// After an error nobody knows which of the dirty bytes are on the device, and a
    /// later read may return what was there before: none of these objects is kept.
    fn sync_data(&self, dirty: Dirty) -> io::Result<()> {
        let synced = dirty.sync(self.directory.root());
        if synced.is_err() {
            let chunks: u64 = dirty.into_objects().map(|object| self.lose(&object)).sum();
            warn!(
                chunks,
                "cached chunks dropped: they could not be made durable"
            );
        }
        synced
    }

    fn note_failed_sync(&self, error: &io::Error, action: &str) {
        if Fault::of(error) == Fault::NoSpace {
            add(&self.counters.enospc, 1);
        } else {
            self.fail(error, action);
        }
    }

    fn rewrite_journal(&self) -> io::Result<()> {
        self.journal.begin_rewrite();
        let (new, target) = (self.directory.new_journal(), self.directory.journal());
        let rewritten = self
            .draft_of_all()
            .and_then(|draft| self.journal.replace(draft, &target));
        if rewritten.is_err() {
            self.journal.end_rewrite();
            // Best effort: the next attempt writes over it.
            let _ = fs::remove_file(new);
            return rewritten;
        }
        add(&self.counters.compactions, 1);
        debug!(dir = %self.config.dir.display(), "journal rewritten");
        // A rename that is lost brings the old journal back: longer, and as true.
        self.directory.root().sync_all()
    }

    /// A journal of what is here.
    fn draft_of_all(&self) -> io::Result<Draft> {
        let mut draft = Draft::create(&self.directory.new_journal(), self.boot)?;
        for object in self.index.objects_in(self.number) {
            for piece in object.chunks.held() {
                let tag = self.shares.tag(object.class_of(piece.index));
                draft.push(Record::of(&object, tag, piece))?;
            }
        }
        if self.is_on_disk() {
            let below = draft.slots();
            // What was written since the last sync is in the draft already.
            let dirty = std::mem::take(&mut *self.dirty());
            self.sync_data(dirty)?;
            draft.push(Record::Synced { below })?;
            draft.sync()?;
        }
        Ok(draft)
    }

    fn context(&self, action: &'static str) -> impl Fn(io::Error) -> StoreError + '_ {
        move |error| StoreError::from_io(&self.config.dir, action, error)
    }
}
