//! A chunk, or some pages of one, on the way into a tier.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use forebay_core::ByteRange;
use forebay_core::chunk::CHUNK_SIZE;

use super::{Tier, Trouble};
use crate::store::chunks::{Change, ChunkState, MOST_CHUNKS, Piece};
use crate::store::data;
use crate::store::error::Fault;
use crate::store::journal::Record;
use crate::store::object::{Object, Place, Writing};
use crate::store::room::Room;
use crate::store::share::Class;
use crate::store::stats::add;

/// Bytes that are evicted at least when the file system says that it is full.
pub(super) const RELIEF_BYTES: u64 = 16 * CHUNK_SIZE;

/// Bytes to be kept.
pub(in crate::store) struct NewBytes<'a> {
    /// What they are.
    pub(in crate::store) piece: Piece,
    /// Where they lie in the object.
    pub(in crate::store) range: ByteRange,
    /// They themselves, in order and as many as `range` has.
    pub(in crate::store) bytes: &'a [Bytes],
    /// Whether another node keeps them.
    pub(in crate::store) is_copy: bool,
}

/// Why a tier did not take what it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Refusal {
    /// It has no room, or has failed.
    NoRoom,
    /// The object does not lie in this tier any more: look where it is now.
    Moved,
}

impl Tier {
    /// Writes `new` and enters it as present.
    pub(in crate::store) fn write(
        &self,
        object: &Arc<Object>,
        new: &NewBytes<'_>,
    ) -> Result<(), Refusal> {
        if self.failed.load(Relaxed) || object.chunks.count() > MOST_CHUNKS {
            return Err(Refusal::NoRoom);
        }
        let class = object.class();
        let room = self
            .reserve(class, object.size(), new.range.len())
            .ok_or(Refusal::NoRoom)?;
        let (file, _writing) = self.write_by_force(object, new)?;
        self.enter(object, class, &file, new, room)
    }

    /// Writes the data, at the cost of other objects if the file system is full.
    fn write_by_force<'a>(
        &self,
        object: &'a Arc<Object>,
        new: &NewBytes<'_>,
    ) -> Result<(Arc<File>, Writing<'a>), Refusal> {
        let written = match self.write_data(object, new) {
            Err(Trouble::Io(error)) if Fault::of(&error) == Fault::NoSpace => {
                add(&self.counters.enospc, 1);
                match self.evict(object.class().share, RELIEF_BYTES.max(new.range.len())) {
                    0 => Err(Trouble::Io(error)),
                    _ => self.write_data(object, new),
                }
            }
            written => written,
        };
        written.map_err(|trouble| self.refuse(object, &trouble))
    }

    pub(super) fn write_data<'a>(
        &self,
        object: &'a Arc<Object>,
        new: &NewBytes<'_>,
    ) -> Result<(Arc<File>, Writing<'a>), Trouble> {
        let file = self.file_for_writing(object)?;
        let writing = object.writing();
        data::write_all(&file, new.bytes, new.range.start())?;
        Ok((file, writing))
    }

    /// The object's file, created here if it has none anywhere.
    fn file_for_writing(&self, object: &Arc<Object>) -> Result<Arc<File>, Trouble> {
        {
            let mut slot = object.file();
            if object.place() == Place::Nowhere {
                let path = self.directory.data_file(object.id, object.generation);
                let file = Arc::new(data::create(&path, object.size())?);
                data::read_exactly(&file);
                object.set_place(Place::Tier(self.number));
                slot.open = Some(Arc::clone(&file));
                slot.seen = None;
                return Ok(file);
            }
        }
        self.existing_file(object)
    }

    /// Declares bytes present that are in `file`.
    pub(super) fn enter(
        &self,
        object: &Arc<Object>,
        class: Class,
        file: &Arc<File>,
        new: &NewBytes<'_>,
        room: Room<'_>,
    ) -> Result<(), Refusal> {
        let change = self
            .enter_in_memory(object, class, file, new.piece)
            .ok_or(Refusal::Moved)?;
        room.keep(change.after.saturating_sub(change.before));
        // Pages that gave way to others.
        self.give_back(class, change.before.saturating_sub(change.after));
        self.account(change);
        let before = object.mark(new.piece.index, new.is_copy);
        let tag = self.shares.tag(object.class_of(new.piece.index));
        self.journal.append(Record::of(object, tag, new.piece));
        self.shelve(object, before);
        Ok(())
    }

    fn enter_in_memory(
        &self,
        object: &Arc<Object>,
        class: Class,
        file: &Arc<File>,
        piece: Piece,
    ) -> Option<Change> {
        let slot = object.file();
        // Of another dataset by now: its room was taken from the wrong one.
        if object.class().share != class.share {
            return None;
        }
        // Another file by now: the bytes went into one that is gone.
        if !slot
            .open
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, file))
        {
            return None;
        }
        // Dirty before present, so that whoever sees the chunk finds it among the dirty.
        if self.is_on_disk() {
            self.dirty().add(object, file);
        }
        object.chunks.enter(piece, ChunkState::Present)
    }

    fn refuse(&self, object: &Arc<Object>, trouble: &Trouble) -> Refusal {
        match trouble {
            Trouble::Moved => return Refusal::Moved,
            Trouble::Damaged(damage) => {
                self.lose_damaged(object, *damage);
                return Refusal::Moved;
            }
            Trouble::Io(error) => match Fault::of(error) {
                Fault::NoSpace | Fault::Busy | Fault::Refused => {}
                Fault::ReadOnly | Fault::NoRights | Fault::Broken => {
                    self.fail(error, "write a chunk");
                }
            },
        }
        self.abandon(object);
        Refusal::NoRoom
    }

    /// Lets another tier have an object of which nothing has arrived here.
    fn abandon(&self, object: &Arc<Object>) {
        let mut slot = object.file();
        if object.place() != Place::Tier(self.number) || object.chunks.held_bytes() > 0 {
            return;
        }
        // Another writer's bytes may be on their way into this file; it will find that
        // the file has changed and look again. Unlinked under the lock, or the file of
        // the same name that the next writer creates could be hit.
        slot.open = None;
        let unlinked = self.directory.unlink(object.id, object.generation);
        object.set_place(Place::Nowhere);
        drop(slot);
        if let Err(error) = unlinked {
            self.fail(&error, "remove a file that did not fit");
        }
    }
}
