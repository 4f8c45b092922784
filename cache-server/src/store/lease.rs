//! The right to read and fill one object.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use forebay_core::cache::Backing;
use forebay_core::chunk::{self, CHUNK_SIZE};
use forebay_core::{ByteRange, ObjectId, checksum};

use super::chunks::{ChunkState, Piece};
use super::object::{Object, Place};
use super::pages::Pages;
use super::tier::NewBytes;
use super::{Store, WriteError};

/// A hold on one object of a [`Store`]: while it lives, the object is not evicted.
///
/// All methods can be called from any number of threads at once. Those that do I/O say
/// so; the others are safe on an async thread.
pub struct ObjectLease {
    store: Arc<Store>,
    object: Arc<Object>,
    // The object's file once this lease has asked for it, without the object's lock.
    file: OnceLock<Arc<File>>,
}

impl fmt::Debug for ObjectLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectLease")
            .field("id", &self.id())
            .field("size", &self.size())
            .finish()
    }
}

impl ObjectLease {
    /// Wraps an object that the caller has pinned.
    pub(super) fn new(store: Arc<Store>, object: Arc<Object>) -> Self {
        Self {
            store,
            object,
            file: OnceLock::new(),
        }
    }

    /// The object's id.
    pub fn id(&self) -> ObjectId {
        self.object.id
    }

    /// The object's size in bytes.
    pub fn size(&self) -> u64 {
        self.object.size()
    }

    /// What is known of chunk `index`; [`ChunkState::Missing`] behind the last one.
    pub fn state(&self, index: u64) -> ChunkState {
        self.object.chunks.state(index)
    }

    /// The first of `chunks` that cannot be read yet; chunks behind the object's last
    /// one are not looked at. No lock, a few nanoseconds for 32 chunks.
    pub fn first_not_present(&self, chunks: Range<u64>) -> Option<u64> {
        self.object.chunks.first_not_present(chunks)
    }

    /// The first byte of `range` that cannot be read yet; bytes behind the object's end
    /// are not looked at. Takes a lock only where a chunk is missing or partial.
    pub fn first_absent(&self, range: ByteRange) -> Option<u64> {
        self.object.chunks.first_absent(range)
    }

    /// The bytes of chunk `index` that are here, verified or not: runs of pages, in order.
    pub fn held(&self, index: u64) -> Vec<ByteRange> {
        self.object.chunks.held_in(index)
    }

    /// Whether every chunk is present and verified. True for an empty object.
    pub fn is_complete(&self) -> bool {
        self.first_not_present(0..self.object.chunks.count())
            .is_none()
    }

    /// The bytes that are here, verified or not.
    pub fn present_bytes(&self) -> u64 {
        self.object.chunks.held_bytes()
    }

    /// The file in which the present chunks lie. Opens it at the first call, which is
    /// one system call; `None` if the object has no file or it cannot be opened.
    pub fn backing(&self) -> Option<Backing> {
        let file = match self.file.get() {
            Some(file) if self.object.place() != Place::Gone => Arc::clone(file),
            _ => {
                let file = self.store.open_file(&self.object)?;
                Arc::clone(self.file.get_or_init(|| file))
            }
        };
        Some(Backing { file, offset: 0 })
    }

    /// Files chunk `index`, whose bytes are `pieces` in order; otherwise as
    /// [`write_pages`](Self::write_pages).
    ///
    /// # Errors
    /// As [`write_pages`](Self::write_pages).
    pub fn write(&self, index: u64, pieces: &[Bytes]) -> Result<(), WriteError> {
        let range = match self.object.chunks.len_of(index) {
            0 => ByteRange::at(index.saturating_mul(CHUNK_SIZE), 0),
            _ => chunk::range(index, self.size()),
        };
        self.write_pages(range, pieces)
    }

    /// Files the bytes `range`, which are `pieces` in order: a chunk, or a run of pages of
    /// one. Blocks for the time of the write.
    ///
    /// On success they can be read at once, and a killed process keeps them; they outlast
    /// a power failure after the next flush. What is present already is left as it is.
    /// Pages of an object of a single chunk are kept only as a whole.
    ///
    /// # Errors
    /// [`WriteError::Full`] if no tier can take it, even after evicting;
    /// [`WriteError::Pages`] if the range is not made of pages of one chunk;
    /// [`WriteError::Length`] if the pieces are not exactly its length. Whatever the
    /// device does, this is no reason to fail the read that brought the bytes.
    pub fn write_pages(&self, range: ByteRange, pieces: &[Bytes]) -> Result<(), WriteError> {
        let (index, pages) = Pages::of(range, self.size())
            .filter(|(_, pages)| pages.is_whole() || self.object.chunks.count() > 1)
            .ok_or(WriteError::Pages { range })?;
        let got = pieces.iter().map(|piece| piece.len() as u64).sum();
        if range.len() != got {
            return Err(WriteError::Length { range, got });
        }
        if self.first_absent(range).is_none() {
            return Ok(());
        }
        let crc = checksum::crc32c_of(pieces.iter().map(|piece| &piece[..]));
        let piece = Piece { index, pages, crc };
        let new = NewBytes {
            piece,
            range,
            bytes: pieces,
        };
        self.store.write(&self.object, &new)
    }

    /// Compares what an earlier process left of a chunk with its checksums; true if the
    /// whole chunk is present then. Blocks for the time of the read.
    ///
    /// A chunk that turns out wrong is missing afterwards, and counted.
    pub fn verify(&self, index: u64) -> bool {
        if self.state(index) != ChunkState::Present {
            self.store.verify(&self.object, index);
        }
        self.state(index) == ChunkState::Present
    }

    /// Forgets chunk `index`, which the caller found wrong or unreadable, and counts it.
    pub fn discard(&self, index: u64) {
        self.store.discard(&self.object, index);
    }
}

impl Drop for ObjectLease {
    fn drop(&mut self) {
        self.store.release(&self.object);
    }
}
