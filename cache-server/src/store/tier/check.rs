//! Whether what is here is what was written: files by their identity, bytes by their
//! checksums.
//!
//! A file is looked at with one system call whenever it is opened, written to or handed
//! out. If it is gone, or has another length, nothing in it counts any more. If somebody
//! else has written to it since this process last did, or another file has its name, all
//! that it holds is unverified again: what is right is kept, and only what is wrong is
//! fetched again.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use forebay_core::checksum;
use tracing::{debug, warn};

use super::{Tier, Trouble};
use crate::store::chunks::{ChunkState, Piece};
use crate::store::data;
use crate::store::error::Fault;
use crate::store::identity::Identity;
use crate::store::journal::Record;
use crate::store::object::{Object, Place, Slot};
use crate::store::stats::{Damage, add};

/// The states of what is here.
pub(super) const HELD: [ChunkState; 2] = [ChunkState::Unverified, ChunkState::Present];

/// A file that was looked at.
pub(super) struct Checked {
    pub(super) file: Arc<File>,
    /// Somebody else has been at it: nothing that it holds is verified any more.
    is_changed: bool,
}

impl Tier {
    /// The object's file for reading; `None` if it has none here that can be used, or if
    /// what it holds must be verified first.
    pub(in crate::store) fn open_file(&self, object: &Arc<Object>) -> Option<Arc<File>> {
        match self.checked_file(object) {
            Ok(checked) => (!checked.is_changed).then_some(checked.file),
            Err(trouble) => {
                self.give_up(object, &trouble);
                None
            }
        }
    }

    /// Compares what is unverified of a chunk with its checksum.
    pub(in crate::store) fn verify(&self, object: &Arc<Object>, index: u64) {
        for piece in object.chunks.unverified(index) {
            self.compare(object, piece, &[ChunkState::Unverified]);
        }
    }

    /// Compares all that is here of a chunk with its checksum, verified before or not.
    pub(in crate::store) fn distrust(&self, object: &Arc<Object>, index: u64) {
        for piece in object.chunks.pieces_of(index) {
            self.compare(object, piece, &HELD);
        }
    }

    /// Forgets a chunk that a reader found wrong.
    pub(in crate::store) fn discard(&self, object: &Arc<Object>, index: u64) {
        // A file that was cut short takes all its chunks along: filled up again from
        // this one on, the others would read as zeros.
        match self.checked_file(object) {
            Err(trouble @ Trouble::Damaged(_)) => self.give_up(object, &trouble),
            _ => self.drop_chunk(object, index, &HELD, "found wrong by a reader"),
        }
    }

    /// Compares a piece with its checksum; what is wrong and in one of `states` goes.
    pub(super) fn compare(&self, object: &Arc<Object>, piece: Piece, states: &[ChunkState]) {
        let range = piece.pages.range(piece.index, object.size());
        let read = self
            .checked_file(object)
            .and_then(|checked| Ok(data::read(&checked.file, range.start(), range.len())?));
        match read {
            Ok(bytes) => self.judge(object, piece, &bytes, states),
            // Short of descriptors or memory, which says nothing of the bytes. What was
            // not verified is fetched again now, and tried again by the next process.
            Err(Trouble::Io(error)) if Fault::of(&error) == Fault::Busy => {
                self.forget(object, piece.index, &[ChunkState::Unverified]);
            }
            Err(Trouble::Io(error)) => {
                self.damaged(Damage::Unreadable);
                self.drop_chunk(object, piece.index, states, &error.to_string());
            }
            Err(trouble) => self.give_up(object, &trouble),
        }
    }

    /// Compares the bytes of a piece, as they were read, with its checksum.
    pub(super) fn judge(&self, object: &Object, piece: Piece, bytes: &[u8], states: &[ChunkState]) {
        if checksum::crc32c(bytes) == piece.crc {
            object.chunks.confirm(piece);
        } else if object.chunks.pieces_of(piece.index).contains(&piece) {
            self.damaged(Damage::Checksum);
            self.drop_chunk(object, piece.index, states, "wrong checksum");
        }
    }

    /// The object's file, which must be there, checked for its length.
    pub(super) fn existing_file(&self, object: &Arc<Object>) -> Result<Arc<File>, Trouble> {
        Ok(self.checked_file(object)?.file)
    }

    fn checked_file(&self, object: &Arc<Object>) -> Result<Checked, Trouble> {
        let mut slot = object.file();
        if object.place() != Place::Tier(self.number) {
            return Err(Trouble::Moved);
        }
        let file = match &slot.open {
            Some(file) => Arc::clone(file),
            None => self.open_data_file(object)?,
        };
        let is_changed = self.look_at(object, &mut slot, &file)?;
        slot.open = Some(Arc::clone(&file));
        Ok(Checked { file, is_changed })
    }

    fn open_data_file(&self, object: &Object) -> Result<Arc<File>, Trouble> {
        let path = self.directory.data_file(object.id, object.generation);
        match data::open(&path) {
            Ok(file) => {
                data::read_exactly(&file);
                Ok(Arc::new(file))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Trouble::Damaged(Damage::Missing))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Compares the file with what is known of it; true if somebody else has been at it.
    fn look_at(&self, object: &Object, slot: &mut Slot, file: &File) -> Result<bool, Trouble> {
        let found = file.metadata()?;
        if found.nlink() == 0 {
            return Err(Trouble::Damaged(Damage::Missing));
        }
        if found.len() != object.size() {
            return Err(Trouble::Damaged(Damage::Length));
        }
        // While this process writes, its own changes cannot be told from others'.
        if slot.writers > 0 {
            return Ok(false);
        }
        let now = Identity::of(&found);
        let is_changed = slot.seen.replace(now).is_some_and(|seen| seen != now);
        if is_changed {
            self.damaged(Damage::Changed);
            debug!(object = %object.id, "cached file changed by others: verified anew");
            object.chunks.doubt();
        }
        Ok(is_changed)
    }

    /// Does what must be done about an object whose file cannot be used.
    fn give_up(&self, object: &Arc<Object>, trouble: &Trouble) {
        match trouble {
            Trouble::Moved => {}
            Trouble::Damaged(damage) => self.lose_damaged(object, *damage),
            Trouble::Io(error) => {
                warn!(%error, object = %object.id, "cached file cannot be opened");
                if Fault::of(error) != Fault::Busy {
                    self.lose_damaged(object, Damage::Unreadable);
                }
            }
        }
    }

    fn drop_chunk(&self, object: &Object, index: u64, states: &[ChunkState], reason: &str) {
        if self.forget(object, index, states).is_none() {
            return;
        }
        add(&self.counters.corrupt_chunks, 1);
        warn!(object = %object.id, chunk = index, reason, "cached chunk dropped");
        let (id, generation) = (object.id, object.generation);
        self.journal.append(Record::Dropped {
            id,
            generation,
            chunk: index as u32,
        });
    }

    pub(super) fn lose_damaged(&self, object: &Arc<Object>, damage: Damage) {
        let chunks = self.lose(object);
        if chunks > 0 {
            self.damaged(damage);
            let cause = damage.as_str();
            warn!(object = %object.id, chunks, cause, "cached file dropped");
        }
    }

    pub(super) fn damaged(&self, damage: Damage) {
        add(self.counters.damage(damage), 1);
    }
}
