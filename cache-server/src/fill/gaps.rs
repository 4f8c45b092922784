//! What is to be fetched: neither here, nor on its way, and not more than is wanted.

use forebay_core::{ByteRange, chunk};

use super::board::Board;
use super::transient::Owner;
use super::{Fills, OpenObject};
use crate::store::ChunkState;

/// Extents that a chunk may have before the rest of it is fetched with the next read:
/// each costs memory and, later, a request for the gap behind it.
const MOST_EXTENTS: usize = 8;

/// How much is fetched around what a reader asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grain {
    /// The pages, unless so much of their chunk is here that the rest is worth having.
    Pages,
    /// The chunks.
    Chunks,
}

impl Fills {
    /// How much is fetched for a reader of `range`, which has been observed.
    pub(super) fn grain(object: &OpenObject, range: ByteRange) -> Grain {
        // An object of one chunk has no partial one.
        if object.target.size <= chunk::CHUNK_SIZE {
            return Grain::Chunks;
        }
        if !object.pattern.is_sequential(range) {
            return Grain::Pages;
        }
        // What comes with it is here when the reader comes to it, and not heard of again.
        object
            .pattern
            .observe(chunks_around(range, object.target.size));
        Grain::Chunks
    }

    /// The bytes that nobody brings yet of those that a fetch of `range` brings, in runs.
    /// What an earlier process left unverified counts as here.
    pub(super) fn gaps(
        &self,
        object: &OpenObject,
        board: &Board,
        range: ByteRange,
        grain: Grain,
    ) -> Vec<ByteRange> {
        let size = object.target.size;
        let mut gaps: Vec<ByteRange> = Vec::new();
        for index in chunk::covering(range) {
            let whole = chunk::range(index, size);
            let held = object.lease.held(index);
            let wanted = match grain {
                Grain::Pages if !is_crowded(&held, whole) => {
                    chunk::pages_around(range, size).intersect(whole)
                }
                _ => whole,
            };
            let mut taken = held;
            if object.lease.state(index) == ChunkState::Missing {
                taken.extend(self.transient.ranges(Owner::of(object), index));
                taken.extend(board.ranges(object.target.id, index));
            }
            for gap in without(wanted, taken) {
                match gaps.last_mut() {
                    Some(last) if last.end() == gap.start() => {
                        *last = ByteRange::new(last.start(), gap.end());
                    }
                    _ => gaps.push(gap),
                }
            }
        }
        gaps
    }
}

/// `range` widened to whole chunks of an object of `size` bytes.
pub(super) fn chunks_around(range: ByteRange, size: u64) -> ByteRange {
    let chunks = chunk::covering(range);
    let at = |chunk: u64| chunk.saturating_mul(chunk::CHUNK_SIZE);
    ByteRange::new(at(chunks.start), at(chunks.end)).clamp_to(size)
}

/// Whether what is here of a chunk makes the rest worth fetching.
fn is_crowded(held: &[ByteRange], whole: ByteRange) -> bool {
    let bytes: u64 = held.iter().map(|range| range.len()).sum();
    held.len() > MOST_EXTENTS || bytes > whole.len() / 2
}

/// What is left of `wanted` without `taken`, in order.
fn without(wanted: ByteRange, mut taken: Vec<ByteRange>) -> Vec<ByteRange> {
    taken.sort_unstable_by_key(|range| range.start());
    let mut left = Vec::new();
    let mut next = wanted.start();
    for range in taken {
        let gap = ByteRange::new(next, range.start()).intersect(wanted);
        if !gap.is_empty() {
            left.push(gap);
        }
        next = next.max(range.end());
    }
    let last = ByteRange::new(next, wanted.end()).intersect(wanted);
    if !last.is_empty() {
        left.push(last);
    }
    left
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_left_is_what_nobody_has(
            wanted in (0..100_u64, 0..100_u64),
            taken in proptest::collection::vec((0..120_u64, 0..40_u64), 0..6),
        ) {
            let wanted = ByteRange::at(wanted.0, wanted.1);
            let taken: Vec<_> = taken.iter().map(|&(at, len)| ByteRange::at(at, len)).collect();
            let left = without(wanted, taken.clone());
            let is_in = |ranges: &[ByteRange], at| {
                ranges.iter().any(|range| (range.start()..range.end()).contains(&at))
            };
            for at in 0..250 {
                let expected = is_in(&[wanted], at) && !is_in(&taken, at);
                prop_assert_eq!(is_in(&left, at), expected, "byte {}", at);
            }
            prop_assert!(left.iter().all(|gap| !gap.is_empty()));
            prop_assert!(left.windows(2).all(|two| two[0].end() <= two[1].start()));
        }
    }

    #[test]
    fn a_chunk_is_crowded_by_many_pieces_or_by_more_than_half_of_its_bytes() {
        let whole = ByteRange::at(0, chunk::CHUNK_SIZE);
        let half = ByteRange::at(0, chunk::CHUNK_SIZE / 2);
        assert!(!is_crowded(&[half], whole));
        assert!(is_crowded(&[half, ByteRange::at(600_000, 4096)], whole));
        let pieces: Vec<_> = (0..9).map(|n| ByteRange::at(n * 8192, 4096)).collect();
        assert!(!is_crowded(&pieces[..8], whole));
        assert!(is_crowded(&pieces, whole));
    }
}
