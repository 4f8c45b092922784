//! What is given to a member as one.

use forebay_core::ByteRange;
use forebay_core::chunk::CHUNK_SIZE;
use forebay_core::manifest::EntryId;
use forebay_core::placement::SEGMENT_SIZE;

/// The most bytes of a call: large enough that a call costs nothing beside them, small
/// enough that progress is seen.
const MOST_BYTES: u64 = 32 << 20;

/// Bytes of one file that one member is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) entry: EntryId,
    pub(super) range: ByteRange,
    /// Which of the copies: the place in rank of who keeps it.
    pub(super) copy: u8,
}

/// How files are cut into units.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    unit_bytes: u64,
    call_bytes: u64,
    copies: u8,
}

impl Cut {
    /// For `copies` of each byte at `rate` bytes a second: calls of a quarter of a second,
    /// so that a slow warm-up is slow at every moment.
    pub(super) fn new(copies: u8, rate: Option<u64>) -> Self {
        let wanted = rate.map_or(MOST_BYTES, |rate| rate / 4);
        // A power of two divides a segment.
        let wanted = 1 << wanted.max(1).ilog2();
        let call_bytes = wanted.clamp(CHUNK_SIZE, MOST_BYTES);
        Self {
            unit_bytes: call_bytes.min(SEGMENT_SIZE),
            call_bytes,
            copies,
        }
    }

    /// The bytes with which a call is full.
    pub(super) fn call_bytes(self) -> u64 {
        self.call_bytes
    }

    /// How many members have each byte in the end.
    pub(super) fn copies(self) -> u8 {
        self.copies
    }

    /// The units of a file of `size` bytes, in order; none of an empty one.
    pub(super) fn units(self, entry: EntryId, size: u64) -> impl Iterator<Item = Unit> {
        let starts = (0..size.div_ceil(self.unit_bytes)).map(move |n| n * self.unit_bytes);
        starts.flat_map(move |start| {
            let range = ByteRange::new(start, (start + self.unit_bytes).min(size));
            (0..self.copies).map(move |copy| Unit { entry, range, copy })
        })
    }

    /// How many [`units`](Self::units) there are.
    pub(super) fn count(self, size: u64) -> u64 {
        size.div_ceil(self.unit_bytes) * u64::from(self.copies)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn units_are_a_file_and_none_crosses_a_segment(
            size in 0..1_u64 << 30,
            copies in 1..4_u8,
            rate in proptest::option::of(0..1_u64 << 40),
        ) {
            let cut = Cut::new(copies, rate);
            let units: Vec<_> = cut.units(EntryId(7), size).collect();
            prop_assert_eq!(units.len() as u64, cut.count(size));
            let mut at = 0;
            for units in units.chunks(copies.into()) {
                let range = units[0].range;
                prop_assert_eq!(range.start(), at);
                prop_assert!(range.len() <= cut.unit_bytes);
                prop_assert_eq!(range.start() / SEGMENT_SIZE, (range.end() - 1) / SEGMENT_SIZE);
                prop_assert!(range.start().is_multiple_of(CHUNK_SIZE));
                prop_assert!(units.iter().zip(0..).all(|(unit, n)| (unit.range, unit.copy) == (range, n)));
                at = range.end();
            }
            prop_assert_eq!(at, size);
        }
    }
}
