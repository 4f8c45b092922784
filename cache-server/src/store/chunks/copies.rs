//! Which segments of an object are copies of what another node keeps: a bit for each.
//!
//! It is noted with each piece that is written, and revised when members of the cluster
//! have come or gone. An object of one chunk has no place for it here.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use forebay_core::chunk::{CHUNK_SIZE, PAGE_SIZE};
use forebay_core::placement::SEGMENT_SIZE;

use super::{ChunkMap, Many, PER_WORD, Piece, Table};

/// Chunks of a segment.
const CHUNKS: u64 = SEGMENT_SIZE / CHUNK_SIZE;
/// The lower bit of each pair, for the chunks of a segment.
const LOWER_BITS: u64 = 0x5555_5555_5555_5555 >> (64 - 2 * CHUNKS);
// The states of a segment lie in one word.
const _: () = assert!(PER_WORD.is_multiple_of(CHUNKS));

/// A bit for each segment of an object.
#[derive(Debug)]
pub(super) struct Segments(Box<[AtomicU64]>);

impl Segments {
    /// None is a copy yet, of an object of `chunks` chunks.
    pub(super) fn none(chunks: u64) -> Self {
        let words = chunks.div_ceil(CHUNKS).div_ceil(64);
        Self((0..words).map(|_| AtomicU64::new(0)).collect())
    }

    fn set(&self, segment: u64, is_copy: bool) {
        let Some(word) = self.0.get((segment / 64) as usize) else {
            return;
        };
        let bit = 1 << (segment % 64);
        match is_copy {
            true => word.fetch_or(bit, Relaxed),
            false => word.fetch_and(!bit, Relaxed),
        };
    }

    fn is_set(&self, segment: u64) -> bool {
        let word = self.0.get((segment / 64) as usize);
        word.is_some_and(|word| word.load(Relaxed) >> (segment % 64) & 1 == 1)
    }

    fn any(&self) -> bool {
        self.0.iter().any(|word| word.load(Relaxed) != 0)
    }

    fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.0.len() as u64 * 64).filter(|&segment| self.is_set(segment))
    }
}

impl ChunkMap {
    /// Notes whether the segment of chunk `index` is a copy; whether any segment is one
    /// then. `None` if there is no place for it.
    pub(in crate::store) fn mark(&self, index: u64, is_copy: bool) -> Option<bool> {
        let Table::Many(many) = &self.table else {
            return None;
        };
        let many = many.get()?;
        many.copies.set(index / CHUNKS, is_copy);
        Some(many.copies.any())
    }

    /// Notes anew which of the segments that are here, as a whole or in part, are copies:
    /// those at whose first byte `is_kept` is false. Otherwise as [`mark`](Self::mark).
    pub(in crate::store) fn revise(&self, is_kept: &dyn Fn(u64) -> bool) -> Option<bool> {
        let Table::Many(many) = &self.table else {
            return None;
        };
        let Some(many) = many.get() else {
            return Some(false);
        };
        for segment in 0..self.segments() {
            let is_copy = many.has_of(segment) && !is_kept(segment * SEGMENT_SIZE);
            many.copies.set(segment, is_copy);
        }
        Some(many.copies.any())
    }

    /// How many segments the object has.
    pub(in crate::store) fn segments(&self) -> u64 {
        self.count().div_ceil(CHUNKS)
    }

    /// Whether the segment of chunk `index` is a copy; `None` if there is no place for it.
    pub(in crate::store) fn is_copied(&self, index: u64) -> Option<bool> {
        let Table::Many(many) = &self.table else {
            return None;
        };
        Some(many.get()?.copies.is_set(index / CHUNKS))
    }

    /// The bytes of whole chunks that are copies, and at least a page if any segment is
    /// one. `None` if there is no place for it.
    pub(in crate::store) fn copied_bytes(&self) -> Option<u64> {
        let Table::Many(many) = &self.table else {
            return None;
        };
        let Some(many) = many.get().filter(|many| many.copies.any()) else {
            return Some(0);
        };
        let chunks: u64 = many
            .copies
            .iter()
            .map(|segment| many.whole_of(segment))
            .sum();
        let bytes = (chunks * CHUNK_SIZE).max(PAGE_SIZE);
        Some(bytes.min(self.held_bytes()))
    }

    /// What is here and no copy.
    pub(in crate::store) fn kept(&self) -> Vec<Piece> {
        let is_kept = |piece: &Piece| self.is_copied(piece.index) == Some(false);
        self.held().filter(is_kept).collect()
    }
}

impl Many {
    /// How many whole chunks of a segment are here.
    fn whole_of(&self, segment: u64) -> u64 {
        let first = segment * CHUNKS;
        let Some(word) = self.words.get((first / PER_WORD) as usize) else {
            return 0;
        };
        let bits = word.load(Acquire) >> (first % PER_WORD * 2);
        u64::from(((bits | bits >> 1) & LOWER_BITS).count_ones())
    }

    /// Whether anything of a segment is here.
    fn has_of(&self, segment: u64) -> bool {
        let chunks = segment * CHUNKS..(segment + 1) * CHUNKS;
        let partial = || self.partial_now().range(chunks).next().is_some();
        self.whole_of(segment) > 0 || partial()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::chunks::ChunkState;
    use crate::store::pages::Pages;

    /// An object of two and a half segments.
    fn map() -> ChunkMap {
        ChunkMap::new(2 * SEGMENT_SIZE + SEGMENT_SIZE / 2)
    }

    fn enter(map: &ChunkMap, index: u64) {
        let piece = Piece {
            index,
            pages: Pages::WHOLE,
            crc: 0,
        };
        map.enter(piece, ChunkState::Present).unwrap();
    }

    fn kept(map: &ChunkMap) -> Vec<u64> {
        map.kept().iter().map(|piece| piece.index).collect()
    }

    #[test]
    fn copies_are_counted_by_the_segments_that_they_are_in() {
        let map = map();
        assert_eq!(map.mark(0, true), None, "nothing is here yet");
        for index in [0, 1, CHUNKS, 2 * CHUNKS + 1] {
            enter(&map, index);
        }
        assert_eq!((map.copied_bytes(), kept(&map).len()), (Some(0), 4));
        assert_eq!(map.mark(0, true), Some(true));
        assert_eq!(map.mark(2 * CHUNKS + 1, true), Some(true));
        assert_eq!(map.copied_bytes(), Some(3 * CHUNK_SIZE));
        assert_eq!(kept(&map), [CHUNKS]);
        assert_eq!(map.mark(CHUNKS, true), Some(true));
        assert!(kept(&map).is_empty());
    }

    #[test]
    fn only_what_is_here_is_revised() {
        let map = map();
        enter(&map, CHUNKS + 2);
        assert_eq!(map.revise(&|_| false), Some(true));
        assert!(kept(&map).is_empty());
        assert_eq!(map.revise(&|offset| offset == SEGMENT_SIZE), Some(false));
        assert_eq!(map.copied_bytes(), Some(0));
    }

    #[test]
    fn an_object_of_one_chunk_has_no_place_for_it() {
        let map = ChunkMap::new(CHUNK_SIZE);
        enter(&map, 0);
        assert_eq!((map.mark(0, true), map.revise(&|_| false)), (None, None));
        assert_eq!((map.copied_bytes(), map.is_copied(0)), (None, None));
    }
}
