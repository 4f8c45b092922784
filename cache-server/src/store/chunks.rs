//! Which chunks of an object are here, and their checksums.
//!
//! Two bits a chunk, in atomic words: readers look without a lock, and every change is
//! one compare-and-swap, so that bytes are added to and taken from an account exactly
//! once whoever races with whom. An object of one chunk needs no allocation; a larger
//! one allocates when its first chunk arrives.

use std::ops::Range;
use std::slice;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicU32, AtomicU64};

use forebay_core::chunk;

/// What is known of one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkState {
    /// Its bytes are not here.
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

/// The bytes of the object that were here before and after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) before: u64,
    pub(super) after: u64,
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

    /// The recorded checksum of a chunk that is here.
    pub(super) fn crc(&self, index: u64) -> u32 {
        let (_, crcs) = self.slices();
        crcs.get(index as usize).map_or(0, |crc| crc.load(Relaxed))
    }

    /// The bytes of all chunks that are here, verified or not.
    pub(super) fn held_bytes(&self) -> u64 {
        match &self.table {
            Table::One { word, .. } if word.load(Acquire) != 0 => self.size,
            Table::One { .. } => 0,
            Table::Many(many) => many.get().map_or(0, |many| many.held_bytes.load(Relaxed)),
        }
    }

    /// Every chunk that is here, with its checksum.
    pub(super) fn held(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        let (_, crcs) = self.slices();
        (0..crcs.len() as u64)
            .filter(|&index| self.state(index) != ChunkState::Missing)
            .map(|index| (index, self.crc(index)))
    }

    /// Enters a chunk whose bytes have the checksum `crc`, in `state`.
    pub(super) fn enter(&self, index: u64, crc: u32, state: ChunkState) -> Option<Change> {
        let (_, crcs) = self.allocated();
        // Before the state, so that whoever sees the state sees the checksum.
        crcs.get(index as usize)?.store(crc, Relaxed);
        self.change(index, |_| Some(state))
    }

    /// Declares an unverified chunk present. `None` if it is not unverified any more.
    pub(super) fn confirm(&self, index: u64) -> Option<Change> {
        let confirmed = |state| (state == ChunkState::Unverified).then_some(ChunkState::Present);
        self.change(index, confirmed)
    }

    /// Forgets a chunk that is in one of `states`. `None` if it is not.
    pub(super) fn forget(&self, index: u64, states: &[ChunkState]) -> Option<Change> {
        self.change(index, |state| {
            states.contains(&state).then_some(ChunkState::Missing)
        })
    }

    fn change(
        &self,
        index: u64,
        next: impl Fn(ChunkState) -> Option<ChunkState>,
    ) -> Option<Change> {
        let (words, _) = self.slices();
        let word = words.get((index / PER_WORD) as usize)?;
        let update = |bits: u64| {
            let state = next(ChunkState::from_bits(bits >> shift(index)))?;
            Some(bits & !(0b11 << shift(index)) | state.bits() << shift(index))
        };
        let old = word.fetch_update(AcqRel, Acquire, update).ok()?;
        let old = ChunkState::from_bits(old >> shift(index));
        let new = next(old)?;
        Some(self.account(
            index,
            old != ChunkState::Missing,
            new != ChunkState::Missing,
        ))
    }

    fn account(&self, index: u64, was_here: bool, is_here: bool) -> Change {
        let len = self.len_of(index);
        let Table::Many(many) = &self.table else {
            let bytes = |here| if here { self.size } else { 0 };
            return Change {
                before: bytes(was_here),
                after: bytes(is_here),
            };
        };
        let held = many.get().map(|many| &many.held_bytes);
        let before = match (was_here, is_here) {
            (false, true) => held.map_or(0, |held| held.fetch_add(len, Relaxed)),
            (true, false) => held.map_or(0, |held| held.fetch_sub(len, Relaxed)),
            _ => held.map_or(0, |held| held.load(Relaxed)),
        };
        let after = match (was_here, is_here) {
            (false, true) => before + len,
            (true, false) => before - len,
            _ => before,
        };
        Change { before, after }
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
}

impl Many {
    fn new(count: u64) -> Self {
        Self {
            words: (0..count.div_ceil(PER_WORD))
                .map(|_| AtomicU64::new(0))
                .collect(),
            crcs: (0..count).map(|_| AtomicU32::new(0)).collect(),
            held_bytes: AtomicU64::new(0),
        }
    }
}

const fn shift(index: u64) -> u32 {
    (index % PER_WORD * 2) as u32
}

#[cfg(test)]
mod tests {
    use forebay_core::chunk::CHUNK_SIZE;

    use super::*;

    const HELD: [ChunkState; 2] = [ChunkState::Unverified, ChunkState::Present];

    #[test]
    fn the_first_absent_chunk_is_found_across_words() {
        let map = ChunkMap::new(100 * CHUNK_SIZE + 5);
        assert_eq!(map.first_not_present(7..9), Some(7));
        for index in (0..101).filter(|&index| index != 64) {
            map.enter(index, 0, ChunkState::Present);
        }
        assert_eq!(map.first_not_present(0..101), Some(64));
        assert_eq!(map.first_not_present(0..64), None);
        assert_eq!(map.first_not_present(65..101), None);
        assert_eq!(map.first_not_present(64..65), Some(64));
        map.enter(64, 0, ChunkState::Unverified);
        assert_eq!(map.first_not_present(0..1000), Some(64));
        map.confirm(64);
        assert_eq!(map.first_not_present(0..1000), None);
    }

    #[test]
    fn an_object_of_one_chunk_goes_through_all_states() {
        let map = ChunkMap::new(10);
        assert_eq!(map.state(0), ChunkState::Missing);
        assert_eq!(
            map.enter(0, 9, ChunkState::Unverified),
            Some(Change {
                before: 0,
                after: 10
            })
        );
        assert_eq!(map.first_not_present(0..1), Some(0));
        assert_eq!(
            map.confirm(0),
            Some(Change {
                before: 10,
                after: 10
            })
        );
        assert_eq!(map.confirm(0), None);
        assert_eq!((map.crc(0), map.held_bytes()), (9, 10));
        assert_eq!(map.forget(0, &[ChunkState::Unverified]), None);
        assert_eq!(
            map.forget(0, &HELD),
            Some(Change {
                before: 10,
                after: 0
            })
        );
        assert_eq!(map.forget(0, &HELD), None);
    }

    #[test]
    fn held_bytes_count_the_short_last_chunk_as_it_is() {
        let map = ChunkMap::new(CHUNK_SIZE + 7);
        map.enter(1, 1, ChunkState::Present);
        assert_eq!(map.held_bytes(), 7);
        map.enter(1, 1, ChunkState::Present);
        assert_eq!(map.held_bytes(), 7);
        map.enter(0, 2, ChunkState::Unverified);
        assert_eq!(map.held_bytes(), CHUNK_SIZE + 7);
        assert_eq!(map.held().collect::<Vec<_>>(), [(0, 2), (1, 1)]);
    }

    #[test]
    fn an_empty_object_has_no_chunk() {
        let map = ChunkMap::new(0);
        assert_eq!(map.first_not_present(0..1), None);
        assert_eq!(map.enter(0, 0, ChunkState::Present), None);
        assert_eq!(map.held().count(), 0);
    }

    #[test]
    fn a_chunk_beyond_the_object_changes_nothing() {
        let map = ChunkMap::new(2 * CHUNK_SIZE);
        assert_eq!(map.enter(2, 0, ChunkState::Present), None);
        assert_eq!(map.state(2), ChunkState::Missing);
        assert_eq!(map.state(u64::MAX), ChunkState::Missing);
    }
}
