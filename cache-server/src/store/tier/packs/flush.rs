//! Packs from written to durable.

use std::io;
use std::sync::Arc;

use super::{Tier, write_record};
use crate::store::pack::{Pack, Record};
use tracing::warn;

/// With more packs than this, syncing the whole file system is cheaper.
const MOST_FILES: usize = 64;

impl Tier {
    /// Makes the objects written so far durable, and then records that they are; false if
    /// there were none.
    ///
    /// # Errors
    /// The file system's answer. The packs in question are not kept.
    pub(in crate::store::tier) fn flush_packs(&self) -> io::Result<bool> {
        let dirty = std::mem::take(&mut *self.packs.dirty());
        let marks: Vec<_> = dirty.into_iter().filter_map(clean).collect();
        if marks.is_empty() {
            return Ok(false);
        }
        // The second one makes the records durable that the first one allows.
        let synced = self
            .sync_packs(&marks)
            .and_then(|()| self.mark_synced(&marks))
            .and_then(|()| self.sync_packs(&marks));
        if synced.is_err() {
            // Nobody knows which bytes are on the device; see `sync_data`.
            let objects: u64 = marks.iter().map(|(pack, _)| self.lose_pack(pack)).sum();
            warn!(objects, "packs dropped: they could not be made durable");
        }
        synced.map(|()| true)
    }

    fn sync_packs(&self, marks: &[(Arc<Pack>, u32)]) -> io::Result<()> {
        if marks.len() > MOST_FILES {
            return Ok(rustix::fs::syncfs(self.directory.root())?);
        }
        for (pack, _) in marks {
            match self.open_pack(pack) {
                Ok(Some(file)) => rustix::fs::fdatasync(&*file)?,
                // Evicted: not worth writing.
                Ok(None) => {}
                // Short of descriptors: this takes none.
                Err(_) => return Ok(rustix::fs::syncfs(self.directory.root())?),
            }
        }
        Ok(())
    }

    fn mark_synced(&self, marks: &[(Arc<Pack>, u32)]) -> io::Result<()> {
        for (pack, below) in marks {
            if let Some(file) = self.open_pack(pack)? {
                write_record(&file, pack, Record::Synced { below: *below })?;
            }
        }
        Ok(())
    }
}

/// Takes a pack off the dirty ones, with the slots that the next sync covers; `None` if
/// it is gone.
fn clean(pack: Arc<Pack>) -> Option<(Arc<Pack>, u32)> {
    let mut ledger = pack.ledger()?;
    ledger.dirty = false;
    let slots = ledger.slots;
    drop(ledger);
    Some((pack, slots))
}
