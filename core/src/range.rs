//! Half-open ranges of bytes within one object.

use std::fmt;

/// The bytes `start..end` of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ByteRange {
    start: u64,
    end: u64,
}

impl ByteRange {
    /// The bytes from `start` up to, not including, `end`; empty if `end <= start`.
    pub const fn new(start: u64, end: u64) -> Self {
        Self {
            start,
            end: if end < start { start } else { end },
        }
    }

    /// `len` bytes from `start` on.
    pub const fn at(start: u64, len: u64) -> Self {
        Self {
            start,
            end: start.saturating_add(len),
        }
    }

    /// The first byte's offset.
    pub const fn start(self) -> u64 {
        self.start
    }

    /// The offset behind the last byte.
    pub const fn end(self) -> u64 {
        self.end
    }

    /// The number of bytes.
    pub const fn len(self) -> u64 {
        self.end - self.start
    }

    /// Whether there is no byte in the range.
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The bytes that are in both ranges; empty if there are none.
    pub fn intersect(self, other: Self) -> Self {
        Self::new(self.start.max(other.start), self.end.min(other.end))
    }

    /// The part of the range that lies within an object of `size` bytes.
    pub fn clamp_to(self, size: u64) -> Self {
        Self::new(self.start.min(size), self.end.min(size))
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_past_the_end_is_cut_to_the_object() {
        assert_eq!(ByteRange::at(90, 20).clamp_to(100), ByteRange::new(90, 100));
        assert!(ByteRange::at(100, 20).clamp_to(100).is_empty());
        assert!(ByteRange::at(500, 20).clamp_to(100).is_empty());
    }

    #[test]
    fn ranges_have_in_common_what_lies_in_both() {
        let range = ByteRange::new(10, 20);
        assert_eq!(range.intersect(ByteRange::new(15, 30)).len(), 5);
        assert_eq!(range.intersect(ByteRange::new(0, 100)), range);
        assert!(range.intersect(ByteRange::new(20, 30)).is_empty());
        assert!(range.intersect(ByteRange::new(0, 5)).is_empty());
    }

    #[test]
    fn the_last_byte_of_the_largest_range_does_not_overflow() {
        assert_eq!(ByteRange::at(u64::MAX - 1, 10).end(), u64::MAX);
    }
}
