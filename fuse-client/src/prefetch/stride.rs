//! Finding out that a file is read in steps of one length, and how far to run ahead.
//!
//! The column chunks of a Parquet file are read so, and records of one size of which
//! every n-th is wanted. One step is a **burst**: requests that follow each other, as the
//! kernel makes them of one large read. When three bursts have begun at the same distance
//! from the one before, the next ones are announced: one, then two, four, up to
//! [`MOST_STEPS`] and [`MOST_BYTES`] ahead. A burst elsewhere ends it.

use forebay_core::ByteRange;

/// Steps of one length that are believed.
const PROOF: u32 = 3;

/// Steps ahead at most.
const MOST_STEPS: u64 = 64;

/// Bytes ahead at most: as much as the window of a sequential reader.
const MOST_BYTES: u64 = 64 << 20;

/// A request that begins this close behind the last one belongs to the same burst.
const SLACK: u64 = 64 << 10;

/// What is known of the steps in which one open file is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stride {
    /// The burst that is being read; `None` before the first read.
    burst: Option<ByteRange>,
    /// From the beginning of the burst before to that of this one.
    step: i64,
    /// How many times in a row.
    steps: u32,
    /// The longest burst since then.
    longest: u64,
    /// Steps announced ahead of the burst that is being read.
    ahead: u64,
    /// How many should be.
    depth: u64,
}

impl Default for Stride {
    fn default() -> Self {
        Self {
            burst: None,
            step: 0,
            steps: 0,
            longest: 0,
            ahead: 0,
            depth: 1,
        }
    }
}

impl Stride {
    /// Notes that `range` of a file of `size` bytes is read, and calls `advise` with each
    /// step that should be fetched ahead, the nearest first, until it says no.
    pub(crate) fn observe(
        &mut self,
        range: ByteRange,
        size: u64,
        advise: impl FnMut(ByteRange) -> bool,
    ) {
        let Some(burst) = self.burst else {
            self.burst = Some(range);
            return;
        };
        let joins = burst.start()..=burst.end().saturating_add(SLACK);
        if joins.contains(&range.start()) {
            let end = burst.end().max(range.end());
            self.burst = Some(ByteRange::new(burst.start(), end));
            return;
        }
        self.begin_burst(burst, range);
        if self.steps >= PROOF {
            self.announce(range.start(), size, advise);
        }
    }

    fn begin_burst(&mut self, before: ByteRange, now: ByteRange) {
        self.burst = Some(now);
        // Offsets of files fit into 63 bits.
        let step = now.start().cast_signed() - before.start().cast_signed();
        if step == self.step {
            self.steps = self.steps.saturating_add(1);
            self.longest = self.longest.max(before.len());
            self.ahead = self.ahead.saturating_sub(1);
        } else {
            *self = Self {
                burst: Some(now),
                step,
                steps: 1,
                longest: before.len(),
                ..Self::default()
            };
        }
    }

    fn announce(&mut self, at: u64, size: u64, mut advise: impl FnMut(ByteRange) -> bool) {
        while self.ahead < self.depth {
            let distance = self.step.saturating_mul((self.ahead + 1).cast_signed());
            let Some(start) = at.checked_add_signed(distance) else {
                return;
            };
            let next = ByteRange::at(start, self.longest).clamp_to(size);
            if next.is_empty() || !advise(next) {
                return;
            }
            self.ahead += 1;
        }
        let room = (MOST_BYTES / self.longest.max(1)).clamp(1, MOST_STEPS);
        self.depth = (self.depth * 2).min(room);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;

    fn announced(reads: impl IntoIterator<Item = (u64, u64)>, size: u64) -> Vec<ByteRange> {
        let (mut stride, mut all) = (Stride::default(), Vec::new());
        for (start, len) in reads {
            stride.observe(ByteRange::at(start, len), size, |next| {
                all.push(next);
                true
            });
        }
        all
    }

    /// `count` column chunks of 300 KiB, each read in requests of 128 KiB.
    fn columns(count: u64, step: u64) -> impl Iterator<Item = (u64, u64)> {
        (0..count).flat_map(move |n| {
            let at = 5000 + n * step;
            [
                (at, 128 * KIB),
                (at + 128 * KIB, 128 * KIB),
                (at + 256 * KIB, 44 * KIB),
            ]
        })
    }

    #[test]
    fn column_chunks_are_announced_whole_from_the_fourth_on() {
        let all = announced(columns(20, 7 * MIB), 1 << 40);
        for (n, next) in all.iter().enumerate() {
            let expected = ByteRange::at(5000 + (n as u64 + 4) * 7 * MIB, 300 * KIB);
            assert_eq!(*next, expected, "number {n}");
        }
        assert!(all.len() >= 20, "the reader is far behind: {}", all.len());
    }

    #[test]
    fn steps_backwards_are_steps() {
        let back = (0..30u64).map(|n| ((40 - n) * MIB, 64 * KIB));
        let all = announced(back, 1 << 30);
        assert_eq!(all[0], ByteRange::at(36 * MIB, 64 * KIB));
        assert!(all.windows(2).all(|pair| pair[1].start() < pair[0].start()));
    }

    #[test]
    fn two_steps_and_changing_steps_are_no_pattern() {
        assert!(announced([(0, KIB), (MIB, KIB), (2 * MIB, KIB)], 1 << 30).is_empty());
        let growing = (0..100u64).map(|n| (n * n * 100 * KIB, KIB));
        assert!(announced(growing, 1 << 40).is_empty());
    }

    #[test]
    fn sequential_reads_are_one_burst() {
        assert!(announced((0..1000).map(|n| (n * MIB, MIB)), 1 << 40).is_empty());
        assert!(announced((0..1000).map(|_| (0, MIB)), 1 << 40).is_empty());
    }

    #[test]
    fn random_reads_announce_nothing() {
        let far = (0..1000u64).map(|n| ((n * n * 7919 % 100_003) * MIB, 128 * KIB));
        assert!(announced(far, 1 << 50).is_empty());
    }

    #[test]
    fn a_step_that_was_refused_is_announced_again() {
        let mut stride = Stride::default();
        let (mut refused, mut taken) = (Vec::new(), Vec::new());
        for (number, (start, len)) in columns(12, 7 * MIB).enumerate() {
            stride.observe(ByteRange::at(start, len), 1 << 40, |next| {
                let list = if number < 15 {
                    &mut refused
                } else {
                    &mut taken
                };
                list.push(next);
                number >= 15
            });
        }
        assert!(!refused.is_empty());
        assert_eq!(taken[0].start(), 5000 + 6 * 7 * MIB);
        assert!(
            taken
                .windows(2)
                .all(|pair| pair[0].start() < pair[1].start())
        );
    }

    proptest! {
        #[test]
        fn nothing_is_announced_twice_or_out_of_bounds(
            start in 0u64..1 << 30,
            step in 1u64..8 * MIB,
            len in 1u64..512 * KIB,
            count in 4u64..60,
        ) {
            let size = start + count * step;
            let all = announced((0..count).map(|n| (start + n * step, len)), size);
            let mut seen = std::collections::HashSet::new();
            for next in all {
                prop_assert!(!next.is_empty() && next.end() <= size);
                prop_assert!(seen.insert(next.start()));
            }
        }

        #[test]
        fn no_reads_make_it_panic(
            reads in proptest::collection::vec((0u64..u64::MAX / 2, 0u64..1 << 30), 1..100),
            size in 1u64..u64::MAX / 2,
        ) {
            announced(reads, size);
        }
    }
}
