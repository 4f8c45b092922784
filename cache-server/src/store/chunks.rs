//! Which chunks of an object are here, and their checksums.
//!
//! Two bits a chunk, in atomic words: readers look without a lock, and every change is
//! one compare-and-swap, so that bytes are added to and taken from an account exactly
//! once whoever races with whom. An object of one chunk needs no allocation; a larger
//! one allocates when its first chunk arrives.
//!
//! A chunk of a larger object can be **partial**: only some [extents](super::extents) of
//! it are here. Partial chunks are kept aside, under a lock, and count as missing for
//! whoever looks at the bits alone.

use std::collections::BTreeMap;
use std::ops::Range;
use std::slice;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use forebay_core::{ByteRange, chunk};

use super::extents::{Extent, Extents};
use super::pages::Pages;

mod copies;

use copies::Segments;

/// What is known of one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkState {
    /// Its bytes are not here, or not all of them.
    Missing,
    /// An earlier process recorded it, and its checksum is yet to be compared.
    Unverified,
    /// Its bytes are here and right.
    Present,
}

impl ChunkState {
    const fn bits(self) -> u64 {
        match self {
            Self::Missing => 0b00,
            Self::Unverified => 0b01,
            Self::Present => 0b10,
        }
    }

    const fn from_bits(bits: u64) -> Self {
        match bits & 0b11 {
            0b00 => Self::Missing,
            0b01 => Self::Unverified,
            _ => Self::Present,
        }
    }
}

/// Chunks that an object can have in a store: 8 TiB of them, as many as 40 MiB of memory
/// keep track of. A larger object is read through.
pub(super) const MOST_CHUNKS: u64 = 1 << 23;

const PER_WORD: u64 = 32;
/// The upper bit of each pair: set for present chunks only.
const PRESENT_BITS: u64 = 0xAAAA_AAAA_AAAA_AAAA;

/// What a change did to the accounts of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// The bytes of the object that were here before it.
    pub(super) before: u64,
    /// The bytes that are here after it.
    pub(super) after: u64,
    /// How many records more a journal needs to say what is here.
    pub(super) records: i64,
}

/// What is here of one chunk.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    bytes: u64,
    records: i64,
}

/// A piece of an object: a chunk, or some pages of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) index: u64,
    pub(super) pages: Pages,
    pub(super) crc: u32,
}

impl Piece {
    /// Its length, in an object of `size` bytes.
    pub(super) fn len(&self, size: u64) -> u64 {
        self.pages.range(self.index, size).len()
    }
}

#[derive(Debug)]
pub(super) struct ChunkMap {
    size: u64,
    table: Table,
}

#[derive(Debug)]
enum Table {
    One { word: AtomicU64, crc: AtomicU32 },
    Many(OnceLock<Box<Many>>),
}

#[derive(Debug)]
struct Many {
    words: Box<[AtomicU64]>,
    crcs: Box<[AtomicU32]>,
    held_bytes: AtomicU64,
    copies: Segments,
    // Chunks of which only some pages are here; in the words they are missing. Whoever
    // changes what is here holds the lock; who finds a chunk present needs none.
    partial: Mutex<BTreeMap<u64, Extents>>,
}

impl ChunkMap {
    pub(super) fn new(size: u64) -> Self {
        let table = match chunk::count(size) {
            0 | 1 => Table::One {
                word: AtomicU64::new(0),
                crc: AtomicU32::new(0),
            },
            _ => Table::Many(OnceLock::new()),
        };
        Self { size, table }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn count(&self) -> u64 {
        chunk::count(self.size)
    }

    /// The bytes of one chunk; 0 if the object has no such chunk.
    pub(super) fn len_of(&self, index: u64) -> u64 {
        if index < self.count() {
            chunk::range(index, self.size).len()
        } else {
            0
        }
    }

    pub(super) fn state(&self, index: u64) -> ChunkState {
        let (words, _) = self.slices();
        match words.get((index / PER_WORD) as usize) {
            Some(word) => ChunkState::from_bits(word.load(Acquire) >> shift(index)),
            None => ChunkState::Missing,
        }
    }

    /// The checksum of a chunk that is present as a whole.
    pub(super) fn checksum(&self, index: u64) -> Option<u32> {
        let (_, crcs) = self.slices();
        // In this order: a chunk has its checksum before it is present.
        (self.state(index) == ChunkState::Present)
            .then(|| crcs.get(index as usize).map(|crc| crc.load(Relaxed)))
            .flatten()
    }

    /// The first of `chunks` that is not present; chunks that the object does not have
    /// are not looked at.
    pub(super) fn first_not_present(&self, chunks: Range<u64>) -> Option<u64> {
        let (words, _) = self.slices();
        let end = chunks.end.min(self.count());
        let mut next = chunks.start;
        while next < end {
            let Some(word) = words.get((next / PER_WORD) as usize) else {
                return Some(next);
            };
            let first_of_word = next - next % PER_WORD;
            let end_in_word = end.min(first_of_word + PER_WORD);
            let absent = !word.load(Acquire) & PRESENT_BITS & (u64::MAX << shift(next));
            let at = first_of_word + u64::from(absent.trailing_zeros()) / 2;
            if absent != 0 && at < end_in_word {
                return Some(at);
            }
            next = end_in_word;
        }
        None
    }

    /// The first byte of `range` that is not here and verified. No lock is taken where
    /// whole chunks are.
    pub(super) fn first_absent(&self, range: ByteRange) -> Option<u64> {
        let chunks = chunk::covering(range);
        let mut next = chunks.start;
        while let Some(index) = self.first_not_present(next..chunks.end) {
            let wanted = range.intersect(chunk::range(index, self.size));
            if let Some(at) = self.first_absent_in(index, wanted) {
                return Some(at);
            }
            next = index + 1;
        }
        None
    }

    fn first_absent_in(&self, index: u64, wanted: ByteRange) -> Option<u64> {
        let partial = self.partial();
        // Again, with the lock: the chunk may have become whole.
        if self.state(index) == ChunkState::Present {
            return None;
        }
        match partial.as_ref().and_then(|partial| partial.get(&index)) {
            Some(extents) => extents.first_absent(wanted),
            None => (!wanted.is_empty()).then_some(wanted.start()),
        }
    }

    /// The bytes of a chunk that are here, verified or not, in order.
    pub(super) fn held_in(&self, index: u64) -> Vec<ByteRange> {
        let partial = self.partial();
        if self.state(index) != ChunkState::Missing {
            return vec![chunk::range(index, self.size)];
        }
        let extents = partial.as_ref().and_then(|partial| partial.get(&index));
        extents.map_or_else(Vec::new, |extents| extents.ranges().collect())
    }

    /// The bytes of all chunks that are here, verified or not.
    pub(super) fn held_bytes(&self) -> u64 {
        match &self.table {
            Table::One { word, .. } if word.load(Acquire) != 0 => self.size,
            Table::One { .. } => 0,
            Table::Many(many) => many.get().map_or(0, |many| many.held_bytes.load(Relaxed)),
        }
    }

    /// Everything that is here. What becomes a whole chunk meanwhile may be named twice.
    pub(super) fn held(&self) -> impl Iterator<Item = Piece> + '_ {
        // In this order, or what becomes whole in between would not be named at all.
        let partial: Vec<Piece> = match self.partial() {
            Some(partial) => partial
                .iter()
                .flat_map(|(&index, extents)| pieces(index, extents.list()))
                .collect(),
            None => Vec::new(),
        };
        let whole = (0..self.slices().1.len() as u64)
            .filter(|&index| self.state(index) != ChunkState::Missing)
            .map(|index| self.whole_piece(index));
        partial.into_iter().chain(whole)
    }

    /// What is here of one chunk and is yet to be compared with its checksum.
    pub(super) fn unverified(&self, index: u64) -> Vec<Piece> {
        self.pieces_where(index, |verified| !verified)
    }

    /// What is here of one chunk.
    pub(super) fn pieces_of(&self, index: u64) -> Vec<Piece> {
        self.pieces_where(index, |_| true)
    }

    fn pieces_where(&self, index: u64, wanted: impl Fn(bool) -> bool) -> Vec<Piece> {
        let partial = self.partial();
        let whole = |verified| match wanted(verified) {
            true => vec![self.whole_piece(index)],
            false => Vec::new(),
        };
        match self.state(index) {
            ChunkState::Present => whole(true),
            ChunkState::Unverified => whole(false),
            ChunkState::Missing => {
                let extents = partial.as_ref().and_then(|partial| partial.get(&index));
                let extents = extents.map_or(&[][..], Extents::list).iter();
                let found: Vec<_> = extents.filter(|e| wanted(e.verified)).copied().collect();
                pieces(index, &found).collect()
            }
        }
    }

    /// Makes everything that is here unverified.
    pub(super) fn doubt(&self) {
        let partial = self.partial();
        for word in self.slices().0 {
            // The upper bit of a pair becomes the lower one: present becomes unverified.
            let doubted = |bits: u64| Some(bits & !PRESENT_BITS | (bits & PRESENT_BITS) >> 1);
            let _ = word.fetch_update(AcqRel, Acquire, doubted);
        }
        if let Some(mut partial) = partial {
            partial.values_mut().for_each(Extents::doubt);
        }
    }

    fn whole_piece(&self, index: u64) -> Piece {
        let (_, crcs) = self.slices();
        Piece {
            index,
            pages: Pages::WHOLE,
            crc: crcs.get(index as usize).map_or(0, |crc| crc.load(Relaxed)),
        }
    }

    /// Enters a piece in `state`, which is not `Missing`. Pages of a chunk that is here as
    /// a whole change nothing; pages that complete a chunk make it whole. `None` if the
    /// object has no such chunk, or has it only as a whole.
    pub(super) fn enter(&self, piece: Piece, state: ChunkState) -> Option<Change> {
        let Piece { index, pages, .. } = piece;
        let (_, crcs) = self.allocated();
        let crc_of_chunk = crcs.get(index as usize)?;
        let mut partial = self.partial();
        let extents = partial.as_ref().and_then(|partial| partial.get(&index));
        let before = extents.map_or_else(Held::default, Held::of);
        let (crc, state) = if pages.is_whole() {
            (piece.crc, state)
        } else {
            let partial = partial.as_mut()?;
            if self.state(index) != ChunkState::Missing {
                return Some(self.account(Held::default(), Held::default()));
            }
            let extents = partial
                .entry(index)
                .or_insert_with(|| Extents::new(index, self.size));
            extents.insert(Extent {
                pages,
                crc: piece.crc,
                verified: state == ChunkState::Present,
            });
            match extents.whole() {
                Some((crc, true)) => (crc, ChunkState::Present),
                Some((crc, false)) => (crc, ChunkState::Unverified),
                None => return Some(self.account(before, Held::of(extents))),
            }
        };
        // Before the state, so that whoever sees the state sees the checksum.
        crc_of_chunk.store(crc, Relaxed);
        let (old, new) = self.change(index, |_| Some(state))?;
        if let Some(partial) = &mut partial {
            partial.remove(&index);
        }
        let before = match old {
            ChunkState::Missing => before,
            _ => self.held_as(index, old),
        };
        Some(self.account(before, self.held_as(index, new)))
    }

    /// Declares an unverified piece present, if it is still what it was.
    pub(super) fn confirm(&self, piece: Piece) {
        let mut partial = self.partial();
        let index = piece.index;
        if piece.pages.is_whole() {
            let confirmed =
                |state| (state == ChunkState::Unverified).then_some(ChunkState::Present);
            self.change(index, confirmed);
            return;
        }
        let Some(partial) = &mut partial else { return };
        if let Some(extents) = partial.get_mut(&index) {
            extents.confirm(piece.pages, piece.crc);
        }
    }

    /// Forgets a chunk that is in one of `states` (`Missing` is none of them), or the pages of it that are here if one
    /// of them is. `None` if it is not.
    pub(super) fn forget(&self, index: u64, states: &[ChunkState]) -> Option<Change> {
        let mut partial = self.partial();
        let forgotten = |state| states.contains(&state).then_some(ChunkState::Missing);
        if let Some((old, _)) = self.change(index, forgotten) {
            return Some(self.account(self.held_as(index, old), Held::default()));
        }
        let partial = partial.as_mut()?;
        let extents = partial.get(&index)?;
        let is_one = |extent: &Extent| {
            let verified = if extent.verified {
                ChunkState::Present
            } else {
                ChunkState::Unverified
            };
            states.contains(&verified)
        };
        if !extents.list().iter().any(is_one) {
            return None;
        }
        let before = Held::of(extents);
        partial.remove(&index);
        Some(self.account(before, Held::default()))
    }

    /// Changes the state of a whole chunk; returns the old and the new one, `None` if
    /// `next` has none for it.
    fn change(
        &self,
        index: u64,
        next: impl Fn(ChunkState) -> Option<ChunkState>,
    ) -> Option<(ChunkState, ChunkState)> {
        let (words, _) = self.slices();
        let word = words.get((index / PER_WORD) as usize)?;
        let update = |bits: u64| {
            let state = next(ChunkState::from_bits(bits >> shift(index)))?;
            Some(bits & !(0b11 << shift(index)) | state.bits() << shift(index))
        };
        let old = word.fetch_update(AcqRel, Acquire, update).ok()?;
        let old = ChunkState::from_bits(old >> shift(index));
        next(old).map(|new| (old, new))
    }

    fn held_as(&self, index: u64, state: ChunkState) -> Held {
        match state {
            ChunkState::Missing => Held::default(),
            ChunkState::Unverified | ChunkState::Present => Held {
                bytes: self.len_of(index),
                records: 1,
            },
        }
    }

    fn account(&self, was: Held, is: Held) -> Change {
        let before = match &self.table {
            Table::One { .. } => was.bytes,
            // Modulo 2^64, so that one addition does for more and for less.
            Table::Many(many) => many.get().map_or(0, |many| {
                many.held_bytes
                    .fetch_add(is.bytes.wrapping_sub(was.bytes), Relaxed)
            }),
        };
        Change {
            before,
            after: before - was.bytes + is.bytes,
            records: is.records - was.records,
        }
    }

    fn slices(&self) -> (&[AtomicU64], &[AtomicU32]) {
        match &self.table {
            Table::One { word, crc } if self.size > 0 => {
                (slice::from_ref(word), slice::from_ref(crc))
            }
            Table::One { .. } => (&[], &[]),
            Table::Many(many) => many
                .get()
                .map_or((&[], &[]), |many| (&many.words, &many.crcs)),
        }
    }

    fn allocated(&self) -> (&[AtomicU64], &[AtomicU32]) {
        if let Table::Many(many) = &self.table {
            many.get_or_init(|| Box::new(Many::new(self.count())));
        }
        self.slices()
    }

    /// The chunks of which some pages are here; `None` for an object that has no such
    /// chunk and never will.
    fn partial(&self) -> Option<MutexGuard<'_, BTreeMap<u64, Extents>>> {
        match &self.table {
            Table::One { .. } => None,
            Table::Many(many) => Some(many.get()?.partial_now()),
        }
    }
}

impl Held {
    fn of(extents: &Extents) -> Self {
        Self {
            bytes: extents.len(),
            records: extents.list().len() as i64,
        }
    }
}

fn pieces(index: u64, extents: &[Extent]) -> impl Iterator<Item = Piece> + '_ {
    extents.iter().map(move |extent| Piece {
        index,
        pages: extent.pages,
        crc: extent.crc,
    })
}

impl Many {
    fn new(count: u64) -> Self {
        Self {
            words: (0..count.div_ceil(PER_WORD))
                .map(|_| AtomicU64::new(0))
                .collect(),
            crcs: (0..count).map(|_| AtomicU32::new(0)).collect(),
            held_bytes: AtomicU64::new(0),
            copies: Segments::none(count),
            partial: Mutex::default(),
        }
    }

    fn partial_now(&self) -> MutexGuard<'_, BTreeMap<u64, Extents>> {
        self.partial.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn shift(index: u64) -> u32 {
    (index % PER_WORD * 2) as u32
}

#[cfg(test)]
mod tests;
