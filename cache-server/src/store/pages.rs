//! Runs of pages within a chunk: what a record and a write can speak of.

use forebay_core::ByteRange;
use forebay_core::chunk::{self, CHUNK_SIZE, PAGE_SIZE};

const PER_CHUNK: u16 = (CHUNK_SIZE / PAGE_SIZE) as u16;

/// A run of pages of one chunk, never empty. It ends with the chunk's last page exactly
/// if it ends with the chunk, however short the last chunk of an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pages {
    start: u16,
    end: u16,
}

impl Pages {
    /// All pages of a chunk.
    pub(super) const WHOLE: Self = Self {
        start: 0,
        end: PER_CHUNK,
    };

    /// The chunk and the pages that `range` of an object of `size` bytes is; `None` if it
    /// is empty, reaches into two chunks or is not made of pages.
    pub(super) fn of(range: ByteRange, size: u64) -> Option<(u64, Self)> {
        let index = range.start() / CHUNK_SIZE;
        let whole = chunk::range(index, size);
        let to_the_end = range.end() == whole.end();
        let is_paged = range.start().is_multiple_of(PAGE_SIZE)
            && (to_the_end || range.end().is_multiple_of(PAGE_SIZE));
        if range.is_empty() || range.end() > whole.end() || !is_paged {
            return None;
        }
        let page = |at: u64| ((at - whole.start()) / PAGE_SIZE) as u16;
        let end = if to_the_end {
            PER_CHUNK
        } else {
            page(range.end())
        };
        let start = page(range.start());
        Some((index, Self { start, end }))
    }

    /// The pages as a record names them, if chunk `index` of an object of `size` bytes has
    /// them. Two zeros mean the whole chunk.
    pub(super) fn recorded(start: u16, end: u16, index: u64, size: u64) -> Option<Self> {
        let pages = match (start, end) {
            (0, 0) => Self::WHOLE,
            _ => Self { start, end },
        };
        let found = (start <= end && end <= PER_CHUNK)
            .then(|| Self::of(pages.range(index, size), size))
            .flatten();
        found
            .filter(|found| *found == (index, pages))
            .map(|_| pages)
    }

    /// The first page, and the one behind the last.
    pub(super) fn bounds(self) -> (u16, u16) {
        (self.start, self.end)
    }

    /// The bytes of the pages of chunk `index` in an object of `size` bytes.
    pub(super) fn range(self, index: u64, size: u64) -> ByteRange {
        let at = |page: u16| index * CHUNK_SIZE + u64::from(page) * PAGE_SIZE;
        ByteRange::new(at(self.start), at(self.end)).clamp_to(size)
    }

    pub(super) fn is_whole(self) -> bool {
        self == Self::WHOLE
    }

    pub(super) fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    pub(super) fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// The run of this one and `next`, if that begins where this one ends.
    pub(super) fn joined(self, next: Self) -> Option<Self> {
        (self.end == next.start).then_some(Self {
            start: self.start,
            end: next.end,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 2 * CHUNK_SIZE + 10_000;

    fn of(start: u64, end: u64) -> Option<(u64, Pages)> {
        Pages::of(ByteRange::new(start, end), SIZE)
    }

    #[test]
    fn a_run_of_pages_is_the_range_that_it_came_from() {
        for (start, end) in [
            (0, 4096),
            (8192, CHUNK_SIZE),
            (CHUNK_SIZE, 2 * CHUNK_SIZE),
            (2 * CHUNK_SIZE, SIZE),
            (2 * CHUNK_SIZE + 8192, SIZE),
        ] {
            let (index, pages) = of(start, end).unwrap();
            assert_eq!(pages.range(index, SIZE), ByteRange::new(start, end));
            let (first, last) = pages.bounds();
            assert_eq!(Pages::recorded(first, last, index, SIZE), Some(pages));
        }
        assert!(of(CHUNK_SIZE, 2 * CHUNK_SIZE).unwrap().1.is_whole());
        assert!(of(2 * CHUNK_SIZE, SIZE).unwrap().1.is_whole());
    }

    #[test]
    fn what_is_not_made_of_pages_of_one_chunk_is_none() {
        for (start, end) in [
            (0, 0),
            (1, 4096),
            (0, 4095),
            (CHUNK_SIZE - 4096, CHUNK_SIZE + 4096),
            (2 * CHUNK_SIZE, SIZE + 1),
            (4 * CHUNK_SIZE, 4 * CHUNK_SIZE + 4096),
        ] {
            assert_eq!(of(start, end), None, "{start}..{end}");
        }
    }

    #[test]
    fn a_record_of_pages_that_the_chunk_does_not_have_is_refused() {
        for (start, end, index) in [
            (5, 4, 0),
            (4, 4, 0),
            (0, 257, 0),
            // The last chunk has three pages; a run to its end says so.
            (0, 3, 2),
            (1, 100, 2),
            (3, 256, 2),
            (0, 256, 3),
            (u16::MAX, u16::MAX, 0),
        ] {
            assert_eq!(Pages::recorded(start, end, index, SIZE), None);
        }
        assert_eq!(Pages::recorded(0, 0, 2, SIZE), Some(Pages::WHOLE));
    }
}
