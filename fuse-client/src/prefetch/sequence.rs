//! Finding out that a file is read from front to back, and how far to run ahead.
//!
//! The kernel splits a sequential read into requests that arrive on several threads and
//! so not quite in order. Reads within [`SLACK`] of the furthest one therefore belong to
//! one run. A run is believed in once it has covered [`PROOF`] bytes almost without gaps;
//! from then on the cache is told what comes next, in windows that double from
//! [`FIRST_WINDOW`] to [`LAST_WINDOW`]. No byte is announced twice in one run.
//!
//! Random reads never make a run, and cost nothing but the arithmetic here.

use forebay_core::ByteRange;

/// How far apart two reads of one run may begin: several requests of 1 MiB are under way
/// at once.
const SLACK: u64 = 4 << 20;

/// What a run must have covered before it is believed: more than a program is likely to
/// read at random in one piece.
const PROOF: u64 = 2 << 20;

/// Reads that make a run at least, however large they are.
const FEWEST_READS: u32 = 3;

/// The first window: one part of an S3 read.
const FIRST_WINDOW: u64 = 8 << 20;

/// The last window: at 1 GB/s it is read in 64 ms, which is what an object store takes
/// to answer.
const LAST_WINDOW: u64 = 64 << 20;

/// What is known of how one open file is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sequence {
    /// Where the run began.
    start: u64,
    /// The furthest byte read.
    front: u64,
    /// Bytes read in the run; compared with the distance, it tells gaps.
    covered: u64,
    reads: u32,
    /// The size of the next window.
    window: u64,
    /// What was announced so far.
    announced: u64,
    /// The next window is due when less than this is left of what was announced.
    margin: u64,
}

impl Default for Sequence {
    fn default() -> Self {
        let window = FIRST_WINDOW;
        Self {
            start: 0,
            front: 0,
            covered: 0,
            reads: 0,
            window,
            announced: 0,
            margin: 0,
        }
    }
}

impl Sequence {
    /// Notes that `range` of a file of `size` bytes is read, and returns what should be
    /// fetched ahead of it; never empty, never past the end.
    pub(crate) fn observe(&mut self, range: ByteRange, size: u64) -> Option<ByteRange> {
        if self.reads == 0 || range.start().abs_diff(self.front) > SLACK {
            *self = Self {
                start: range.start(),
                front: range.start(),
                ..Self::default()
            };
        }
        self.reads = self.reads.saturating_add(1);
        self.covered = self.covered.saturating_add(range.len());
        self.start = self.start.min(range.start());
        self.front = self.front.max(range.end());
        if !self.is_proven() || !self.is_due() {
            return None;
        }
        self.announce(size)
    }

    /// Notes that of `window`, which was announced last, only the first `taken` bytes are
    /// on their way: the rest is announced again with the next read.
    pub(crate) fn cut(&mut self, window: ByteRange, taken: u64) {
        self.announced = window.start() + taken;
        self.window = (self.window / 2).max(FIRST_WINDOW);
    }

    fn is_proven(&self) -> bool {
        let distance = self.front - self.start;
        // Read again and again, one place covers much and gets nowhere; jumps get far
        // and cover little.
        self.reads >= FEWEST_READS && distance >= PROOF && self.covered >= distance / 2
    }

    fn is_due(&self) -> bool {
        self.front.saturating_add(self.margin) >= self.announced
    }

    fn announce(&mut self, size: u64) -> Option<ByteRange> {
        let from = self.front.max(self.announced);
        let ahead = ByteRange::new(from, self.front.saturating_add(self.window)).clamp_to(size);
        if ahead.is_empty() {
            return None;
        }
        self.announced = ahead.end();
        // Half of a window is early enough for the next one to arrive in time.
        self.margin = self.window / 2;
        self.window = (self.window * 2).min(LAST_WINDOW);
        Some(ahead)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    /// Every window announced while `reads` are made, in order.
    fn announced(reads: impl IntoIterator<Item = (u64, u64)>, size: u64) -> Vec<ByteRange> {
        let mut sequence = Sequence::default();
        let observe = |(start, len)| sequence.observe(ByteRange::at(start, len), size);
        reads.into_iter().filter_map(observe).collect()
    }

    fn sequential(size: u64, step: u64) -> impl Iterator<Item = (u64, u64)> {
        (0..size / step).map(move |n| (n * step, step))
    }

    #[test]
    fn a_sequential_read_announces_every_byte_ahead_once() {
        let size = 300 * MIB;
        let windows = announced(sequential(size, MIB), size);
        assert!(
            windows
                .windows(2)
                .all(|pair| pair[0].end() == pair[1].start())
        );
        assert!(windows[0].start() <= 4 * MIB, "begins soon: {}", windows[0]);
        assert_eq!(windows.last().expect("some").end(), size);
    }

    #[test]
    fn windows_grow_from_8_to_64_mib_and_stay_ahead() {
        let size = 1024 * MIB;
        let mut sequence = Sequence::default();
        let (mut ahead, mut most) = (0, 0);
        for (start, len) in sequential(size, MIB) {
            let window = sequence.observe(ByteRange::at(start, len), size);
            if let Some(window) = window {
                ahead = window.end();
                most = most.max(window.end() - (start + len));
            }
            if ahead > 0 && start + len < size {
                assert!(ahead > start + len, "at {start} only {ahead} is announced");
            }
        }
        assert_eq!(most, LAST_WINDOW);
        let first = announced(sequential(size, MIB), size)[0];
        assert_eq!(first.len(), FIRST_WINDOW);
    }

    #[test]
    fn requests_out_of_order_are_one_run() {
        let size = 64 * MIB;
        let swapped = (0..64).map(|n| ((n ^ 3) * MIB, MIB));
        let windows = announced(swapped, size);
        assert!(
            windows
                .windows(2)
                .all(|pair| pair[0].end() == pair[1].start())
        );
        assert_eq!(windows.last().expect("some").end(), size);
    }

    #[test]
    fn random_reads_announce_nothing() {
        let size = 1 << 40;
        // A full-period walk over far places.
        let far = (0..1000u64).map(|n| ((n * 7919 % 1000) * (1 << 28), 128 << 10));
        assert!(announced(far, size).is_empty());
    }

    #[test]
    fn one_large_random_read_in_two_requests_announces_nothing() {
        let pieces = (0..100u64).flat_map(|n| {
            let at = (n * 61 % 100) << 30;
            [(at, MIB), (at + MIB, MIB)]
        });
        assert!(announced(pieces, 1 << 40).is_empty());
    }

    #[test]
    fn the_same_place_again_and_again_announces_nothing() {
        assert!(announced((0..1000).map(|_| (0, 64 << 10)), 1 << 30).is_empty());
    }

    #[test]
    fn sparse_steps_announce_nothing() {
        let sparse = (0..1000u64).map(|n| (n * 3 * MIB, 4 << 10));
        assert!(announced(sparse, 1 << 40).is_empty());
    }

    #[test]
    fn what_was_refused_is_announced_again() {
        let size = 300 * MIB;
        let mut sequence = Sequence::default();
        let mut taken_to = None;
        for (start, len) in sequential(size, MIB) {
            let Some(window) = sequence.observe(ByteRange::at(start, len), size) else {
                continue;
            };
            if let Some(taken_to) = taken_to {
                assert_eq!(window.start(), (start + len).max(taken_to));
            }
            // A cache that takes at most 3 MiB of each.
            let taken = window.len().min(3 * MIB);
            if taken < window.len() {
                sequence.cut(window, taken);
            }
            taken_to = Some(window.start() + taken);
        }
        assert_eq!(taken_to, Some(size));
    }

    #[test]
    fn a_run_that_moves_elsewhere_begins_anew() {
        let size = 1 << 40;
        let mut sequence = Sequence::default();
        for n in 0..100 {
            sequence.observe(ByteRange::at(n * MIB, MIB), size);
        }
        let elsewhere = 1 << 39;
        assert_eq!(sequence.observe(ByteRange::at(elsewhere, MIB), size), None);
        let mut windows =
            (1..9).filter_map(|n| sequence.observe(ByteRange::at(elsewhere + n * MIB, MIB), size));
        let first = windows.next().expect("a new run");
        assert_eq!(first.len(), FIRST_WINDOW);
        assert!(first.start() > elsewhere);
    }

    proptest! {
        #[test]
        fn nothing_empty_past_the_end_or_behind_the_reader_is_announced(
            reads in proptest::collection::vec((0u64..64 * MIB, 1u64..2 * MIB), 1..200),
            size in 1u64..64 * MIB,
        ) {
            let mut sequence = Sequence::default();
            for (start, len) in reads {
                let range = ByteRange::at(start, len).clamp_to(size);
                if let Some(window) = sequence.observe(range, size) {
                    prop_assert!(!window.is_empty());
                    prop_assert!(window.end() <= size);
                    prop_assert!(window.start() >= range.end());
                }
            }
        }
    }
}
