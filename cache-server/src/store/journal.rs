//! The index of a tier on disk: an append-only file of fixed-size records.
//!
//! # What is believed after a crash
//! A record is appended as soon as the bytes it speaks of were written, by the thread
//! that wrote them. Nothing is synced then: if only the process dies, the kernel still
//! has both. Now and then the flusher syncs the data files and *then* appends
//! [`Record::Synced`], which says that all records before it speak of durable data. The
//! file begins with the number of the boot it was written under. Recovery under the same
//! boot believes every record; under another boot, only those that a `Synced` covers.
//!
//! # Damage
//! Each record has its own checksum and the number of its slot, so a damaged one is
//! passed over and the next one is read where it must be. Losing a record costs a miss:
//! a chunk without a record is fetched again, a file without records is removed, and the
//! chunk records of a removed object lead to a file that is no longer there.
//!
//! # Rewriting
//! When most records are dead the live ones are written to a new file, which takes the
//! place of the old one by rename. Records that are appended meanwhile go to both.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

mod draft;
mod record;
mod replay;

pub(super) use draft::Draft;
pub(super) use record::{BootId, Record};
pub(super) use replay::{FoundObject, FoundPiece, Replay, is_ours, replay};

use record::SLOT_BYTES;

/// The boot of a system that does not tell; no boot is taken to be the same one.
pub(super) const UNKNOWN_BOOT: BootId = [0; 16];

/// Under which boot of the machine this process runs.
pub(super) fn this_boot() -> BootId {
    // Random for each boot, and the same in every container of the machine (proc(5)).
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).map_or(UNKNOWN_BOOT, u128::to_be_bytes)
}

/// The journal of one tier, open for appending.
#[derive(Debug)]
pub(super) struct Journal {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: Arc<File>,
    slots: u64,
    // Records that are yet to be written: one for a moment, more if the disk is full.
    pending: Vec<Record>,
    // Whether a record was appended since this was last asked.
    news: bool,
    // Records appended since a rewrite began.
    copied: Option<Vec<Record>>,
    closed: bool,
}

impl Journal {
    /// Goes on behind the records of `draft`, which has been put in its place.
    pub(super) fn new(draft: Draft) -> Self {
        let (file, slots) = draft.into_parts();
        let file = Arc::new(file);
        let (pending, copied) = (Vec::new(), None);
        let state = State {
            file,
            slots,
            pending,
            news: false,
            copied,
            closed: false,
        };
        Self {
            state: Mutex::new(state),
        }
    }

    /// Appends a record. Should the disk refuse it, it is kept and tried again with the
    /// next one and at each [`mark_synced`](Self::mark_synced).
    pub(super) fn append(&self, record: Record) {
        let mut state = self.state();
        if state.closed {
            return;
        }
        if let Some(copied) = &mut state.copied {
            copied.push(record);
        }
        state.news = true;
        state.pending.push(record);
        // An error is reported by `sync`, where somebody can handle it.
        let _ = state.write_pending();
    }

    /// The slots written so far; and whether records came since the last call.
    pub(super) fn progress(&self) -> (u64, bool) {
        let mut state = self.state();
        let _ = state.write_pending();
        (state.slots, std::mem::take(&mut state.news))
    }

    /// Takes back what [`progress`](Self::progress) reported: it could not be made
    /// durable.
    pub(super) fn not_durable(&self) {
        self.state().news = true;
    }

    /// Appends that the records of the slots below `below` speak of durable data, and
    /// makes the journal durable. Writers go on meanwhile.
    pub(super) fn mark_synced(&self, below: u64) -> io::Result<()> {
        let file = {
            let mut state = self.state();
            state.write_pending()?;
            state.pending.push(Record::Synced { below });
            state.write_pending()?;
            Arc::clone(&state.file)
        };
        Ok(rustix::fs::fdatasync(&*file)?)
    }

    /// Begins to keep a copy of what is appended.
    pub(super) fn begin_rewrite(&self) {
        self.state().copied = Some(Vec::new());
    }

    /// Gives up a rewrite.
    pub(super) fn end_rewrite(&self) {
        self.state().copied = None;
    }

    /// Completes `draft` by what was appended since
    /// [`begin_rewrite`](Self::begin_rewrite) and goes on in it.
    pub(super) fn replace(&self, mut draft: Draft, target: &Path) -> io::Result<()> {
        let mut state = self.state();
        for record in state.copied.take().unwrap_or_default() {
            draft.push(record)?;
        }
        draft.install(target)?;
        let (file, slots) = draft.into_parts();
        (state.file, state.slots) = (Arc::new(file), slots);
        // They were in the copy, or what they say was in the draft.
        state.pending.clear();
        Ok(())
    }

    /// Lets later records fall on the floor: another process may own the file.
    pub(super) fn close(&self) {
        self.state().closed = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn write_pending(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(self.pending.len() * SLOT_BYTES);
        for (slot, record) in (self.slots..).zip(&self.pending) {
            bytes.extend_from_slice(&record.encode(slot));
        }
        // A write that ends in the middle is repeated at the same place.
        self.file
            .write_all_at(&bytes, self.slots * SLOT_BYTES as u64)?;
        self.slots += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}
