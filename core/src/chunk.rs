//! Chunks: the unit in which presence is recorded and checksums are kept.

use crate::ByteRange;

/// Bytes of one chunk; only the last chunk of an object is shorter.
pub const CHUNK_SIZE: u64 = 1 << 20;

/// Bytes of one page: what a chunk that is only partly there is made of. Pages of the
/// kernel's page cache have this size, and blocks of common file systems.
pub const PAGE_SIZE: u64 = 4096;

/// The number of chunks in an object of `size` bytes; 0 for an empty object.
///
/// A 64-bit size yields fewer than 2^44 chunks. Objects of interest (5 TB and less)
/// have fewer than 2^23, and that is what the store is sized for.
pub const fn count(size: u64) -> u64 {
    size.div_ceil(CHUNK_SIZE)
}

/// The chunks that `range` touches.
pub const fn covering(range: ByteRange) -> std::ops::Range<u64> {
    if range.is_empty() {
        let at = range.start() / CHUNK_SIZE;
        return at..at;
    }
    range.start() / CHUNK_SIZE..range.end().div_ceil(CHUNK_SIZE)
}

/// The bytes of chunk `index` in an object of `size` bytes.
pub fn range(index: u64, size: u64) -> ByteRange {
    ByteRange::at(index * CHUNK_SIZE, CHUNK_SIZE).clamp_to(size)
}

/// `range` widened to whole pages, as far as an object of `size` bytes has them.
pub fn pages_around(range: ByteRange, size: u64) -> ByteRange {
    let start = range.start() / PAGE_SIZE * PAGE_SIZE;
    let end = range.end().div_ceil(PAGE_SIZE).saturating_mul(PAGE_SIZE);
    ByteRange::new(start, end).clamp_to(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_widened_to_pages_within_the_object() {
        let around = |start, end| pages_around(ByteRange::new(start, end), 10_000);
        assert_eq!(around(0, 1), ByteRange::new(0, 4096));
        assert_eq!(around(4095, 4097), ByteRange::new(0, 8192));
        assert_eq!(around(4096, 8192), ByteRange::new(4096, 8192));
        assert_eq!(around(9_000, 10_000), ByteRange::new(8192, 10_000));
        assert!(around(u64::MAX - 1, u64::MAX).is_empty());
    }

    #[test]
    fn chunks_tile_the_object() {
        for size in [
            0,
            1,
            CHUNK_SIZE - 1,
            CHUNK_SIZE,
            CHUNK_SIZE + 1,
            3 * CHUNK_SIZE + 7,
        ] {
            let mut next = 0;
            for index in 0..count(size) {
                let chunk = range(index, size);
                assert_eq!(chunk.start(), next);
                assert!(!chunk.is_empty());
                next = chunk.end();
            }
            assert_eq!(next, size);
        }
    }

    #[test]
    fn a_range_is_covered_by_the_chunks_it_touches() {
        assert_eq!(covering(ByteRange::at(0, 1)), 0..1);
        assert_eq!(covering(ByteRange::at(CHUNK_SIZE - 1, 2)), 0..2);
        assert_eq!(covering(ByteRange::at(CHUNK_SIZE, CHUNK_SIZE)), 1..2);
        assert!(covering(ByteRange::at(5, 0)).is_empty());
    }
}
