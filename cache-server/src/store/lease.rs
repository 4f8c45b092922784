//! The right to read and fill one object.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use forebay_core::cache::Backing;
use forebay_core::chunk::{self, CHUNK_SIZE};
use forebay_core::{ByteRange, ObjectId};

use super::chunks::{ChunkState, Piece};
use super::object::{Object, Place, Turn};
use super::pack::PackedLease;
use super::pages::Pages;
use super::pieces::Pieces;
use super::share::ShareId;
use super::tier::NewBytes;
use super::{Store, WriteError};

/// Segments of an object that are looked at whenever it is opened, 1 GiB: 26 µs where 10
/// members are ranked for each.
const MOST_REVISED: u64 = 256;

/// A hold on one object of a [`Store`]: while it lives, what it has said to be present can
/// be read. A file is not evicted meanwhile; a pack may be, but stays open.
///
/// All methods can be called from any number of threads at once. Those that do I/O say
/// so; the others are safe on an async thread.
pub struct ObjectLease {
    store: Arc<Store>,
    held: Held,
}

/// How the object is stored.
enum Held {
    /// In a file of its own.
    Alone {
        object: Arc<Object>,
        // Its file once this lease has asked for it, without the object's lock.
        file: OnceLock<Arc<File>>,
    },
    /// In a pack.
    Packed(PackedLease),
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
        let file = OnceLock::new();
        let held = Held::Alone { object, file };
        Self { store, held }
    }

    /// A lease on an object that is packed, or will be.
    pub(super) fn packed(store: Arc<Store>, id: ObjectId, size: u64, share: ShareId) -> Self {
        let held = Held::Packed(PackedLease::new(id, size, share));
        Self { store, held }
    }

    /// The object's id.
    pub fn id(&self) -> ObjectId {
        match &self.held {
            Held::Alone { object, .. } => object.id,
            Held::Packed(packed) => packed.id,
        }
    }

    /// Says anew what of the object other nodes keep, so that it is evicted before what only
    /// this one keeps: the segments at whose first byte `is_kept` is false. What is in a pack
    /// stays what it was, and so does what is here of an object of more than 1 GiB.
    pub fn revise(&self, is_kept: &dyn Fn(u64) -> bool) {
        if let Held::Alone { object, .. } = &self.held
            && object.chunks.segments() <= MOST_REVISED
        {
            self.store.revise(object, is_kept);
        }
    }

    /// The object's size in bytes.
    pub fn size(&self) -> u64 {
        match &self.held {
            Held::Alone { object, .. } => object.size(),
            Held::Packed(packed) => packed.size,
        }
    }

    /// Tells the object's file from those it had before and will have: the same for all
    /// leases on one file; 0 for a packed object.
    pub fn generation(&self) -> u64 {
        match &self.held {
            Held::Alone { object, .. } => object.generation,
            Held::Packed(_) => 0,
        }
    }

    /// What is known of chunk `index`; [`ChunkState::Missing`] behind the last one.
    pub fn state(&self, index: u64) -> ChunkState {
        match &self.held {
            Held::Alone { object, .. } => object.chunks.state(index),
            Held::Packed(packed) if index == 0 => packed.state(&self.store.shared),
            Held::Packed(_) => ChunkState::Missing,
        }
    }

    /// The CRC32C under which chunk `index` was filed, if all of it can be read.
    pub fn checksum(&self, index: u64) -> Option<u32> {
        match &self.held {
            Held::Alone { object, .. } => object.chunks.checksum(index),
            Held::Packed(packed) if index == 0 => packed.checksum(&self.store.shared),
            Held::Packed(_) => None,
        }
    }

    /// The first of `chunks` that cannot be read yet; chunks behind the object's last
    /// one are not looked at. A few nanoseconds for 32 chunks without a lock; for a packed
    /// object, one look into the index.
    pub fn first_not_present(&self, chunks: Range<u64>) -> Option<u64> {
        match &self.held {
            Held::Alone { object, .. } => object.chunks.first_not_present(chunks),
            Held::Packed(_) if !chunks.contains(&0) => None,
            Held::Packed(_) => (self.state(0) != ChunkState::Present).then_some(0),
        }
    }

    /// The first byte of `range` that cannot be read yet; bytes behind the object's end
    /// are not looked at. Takes a lock only where a chunk is missing or partial.
    pub fn first_absent(&self, range: ByteRange) -> Option<u64> {
        match &self.held {
            Held::Alone { object, .. } => object.chunks.first_absent(range),
            Held::Packed(_) => {
                let chunk = self.first_not_present(chunk::covering(range));
                chunk.map(|_| range.start())
            }
        }
    }

    /// The bytes of chunk `index` that are here, verified or not: runs of pages, in order.
    pub fn held(&self, index: u64) -> Vec<ByteRange> {
        match &self.held {
            Held::Alone { object, .. } => object.chunks.held_in(index),
            Held::Packed(_) if self.state(index) == ChunkState::Missing => Vec::new(),
            Held::Packed(packed) => vec![ByteRange::at(0, packed.size)],
        }
    }

    /// Whether every chunk is present and verified. True for an empty object.
    pub fn is_complete(&self) -> bool {
        self.first_not_present(0..chunk::count(self.size()))
            .is_none()
    }

    /// The bytes that are here, verified or not.
    pub fn present_bytes(&self) -> u64 {
        match &self.held {
            Held::Alone { object, .. } => object.chunks.held_bytes(),
            Held::Packed(packed) => packed.present_bytes(&self.store.shared),
        }
    }

    /// The file in which the present chunks lie. Opens it at the first call, which is
    /// one system call; `None` if the object has no file or it cannot be opened.
    pub fn backing(&self) -> Option<Backing> {
        let (object, file) = match &self.held {
            Held::Alone { object, file } => (object, file),
            Held::Packed(packed) => return packed.backing(&self.store.shared),
        };
        let file = match file.get() {
            Some(file) if object.place() != Place::Gone => Arc::clone(file),
            _ => {
                let opened = self.store.open_file(object)?;
                Arc::clone(file.get_or_init(|| opened))
            }
        };
        Some(Backing { file, offset: 0 })
    }

    /// Waits until nobody else writes to the object's file, to be asked before a write where
    /// several may come at once: who comes while another writes would spin. `None` for a
    /// packed object, whose writers queue by themselves.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place in the queue.
    pub async fn turn(&self) -> Option<Turn> {
        match &self.held {
            Held::Alone { object, .. } => object.turn().await,
            Held::Packed(_) => None,
        }
    }

    /// Files chunk `index`, whose bytes are `pieces` in order; otherwise as
    /// [`write_pages`](Self::write_pages).
    ///
    /// # Errors
    /// As [`write_pages`](Self::write_pages).
    pub fn write(&self, index: u64, pieces: &[Bytes]) -> Result<(), WriteError> {
        let range = match index < chunk::count(self.size()) {
            false => ByteRange::at(index.saturating_mul(CHUNK_SIZE), 0),
            true => chunk::range(index, self.size()),
        };
        self.write_pages(range, &pieces.iter().cloned().collect())
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
    pub fn write_pages(&self, range: ByteRange, pieces: &Pieces) -> Result<(), WriteError> {
        self.write_as(range, pieces, false)
    }

    /// Files bytes of a segment that another node keeps; otherwise as
    /// [`write_pages`](Self::write_pages).
    ///
    /// # Errors
    /// As [`write_pages`](Self::write_pages).
    pub fn write_copied(&self, range: ByteRange, pieces: &Pieces) -> Result<(), WriteError> {
        self.write_as(range, pieces, true)
    }

    fn write_as(&self, range: ByteRange, pieces: &Pieces, is_copy: bool) -> Result<(), WriteError> {
        let (index, pages) = Pages::of(range, self.size())
            .filter(|(_, pages)| pages.is_whole() || chunk::count(self.size()) > 1)
            .ok_or(WriteError::Pages { range })?;
        let got = pieces.len();
        if range.len() != got {
            return Err(WriteError::Length { range, got });
        }
        if self.first_absent(range).is_none() {
            return Ok(());
        }
        let piece = Piece {
            index,
            pages,
            crc: pieces.crc(),
        };
        let new = NewBytes {
            piece,
            range,
            bytes: pieces.as_slice(),
            is_copy,
        };
        match &self.held {
            Held::Alone { object, .. } => self.store.write(object, &new),
            Held::Packed(packed) => self.store.write_packed(packed, &new),
        }
    }

    /// Compares what an earlier process left of a chunk with its checksums; true if the
    /// whole chunk is present then. Blocks for the time of the read.
    ///
    /// A chunk that turns out wrong is missing afterwards, and counted.
    pub fn verify(&self, index: u64) -> bool {
        if self.state(index) != ChunkState::Present {
            match &self.held {
                Held::Alone { object, .. } => self.store.verify(object, index),
                Held::Packed(packed) if index == 0 => packed.verify(&self.store.shared),
                Held::Packed(_) => {}
            }
        }
        self.state(index) == ChunkState::Present
    }

    /// Compares all that is here of chunk `index` with its checksums, verified before or
    /// not: a reader could not read it. Blocks for the time of the read.
    pub fn distrust(&self, index: u64) {
        match &self.held {
            Held::Alone { object, .. } => self.store.distrust(object, index),
            Held::Packed(packed) if index == 0 => packed.distrust(&self.store.shared),
            Held::Packed(_) => {}
        }
    }

    /// Looks at the file: if it is gone or cut short nothing is present afterwards, and if
    /// somebody else has written to it all must be verified again. One system call.
    pub fn look_at_file(&self) {
        if let Held::Alone { object, .. } = &self.held {
            self.store.open_file(object);
        }
    }

    /// Forgets chunk `index`, which the caller found wrong or unreadable, and counts it.
    pub fn discard(&self, index: u64) {
        match &self.held {
            Held::Alone { object, .. } => self.store.discard(object, index),
            Held::Packed(packed) if index == 0 => packed.discard(&self.store.shared),
            Held::Packed(_) => {}
        }
    }
}

impl Drop for ObjectLease {
    fn drop(&mut self) {
        if let Held::Alone { object, .. } = &self.held {
            self.store.release(object);
        }
    }
}
