//! How an open object is read: in sequence, or here and there.
//!
//! A reader in sequence is served best by whole chunks: what it did not ask for yet, it
//! will. For one that jumps, whole chunks are bytes fetched and written for nothing. The
//! reads themselves tell the two apart. A **run** is reads that follow on each other; it
//! is believed once it has come [`PROOF`] bytes far almost without gaps, or from the first read on if that is
//! at the start of the object. An open file can have several readers, so the last few
//! runs are remembered.

use std::sync::{Mutex, PoisonError};

use forebay_core::ByteRange;
use forebay_core::chunk::CHUNK_SIZE;

/// Runs that are remembered for one open object.
const RUNS: usize = 4;

/// How far from its run a read may lie: requests that the kernel makes of one read
/// overtake each other.
const SLACK: u64 = CHUNK_SIZE;

/// How far a run away from the start of the object comes before it is believed: more than
/// programs that jump usually read in one place.
const PROOF: u64 = CHUNK_SIZE;

/// What is known of how one open object is read.
#[derive(Debug, Default)]
pub(super) struct Pattern {
    // Held for arithmetic only.
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    runs: [Run; RUNS],
    reads: u64,
    /// What a reader said it would need soon.
    advised: Option<ByteRange>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Run {
    start: u64,
    front: u64,
    /// Bytes read in the run; compared with the distance, it tells gaps.
    covered: u64,
    /// What was read last, which may be noted a second time.
    latest: Option<ByteRange>,
    /// The number of the read that was the last one in it; 0 for no run.
    last: u64,
}

impl Pattern {
    /// Notes a read. Noting it twice does no harm.
    pub(super) fn observe(&self, range: ByteRange) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.reads += 1;
        let now = seen.reads;
        let near = seen.runs.iter().position(|run| run.is_near(range));
        let slot = near.or_else(|| {
            let oldest = seen.runs.iter().enumerate().min_by_key(|(_, run)| run.last);
            oldest.map(|(slot, _)| slot)
        });
        let Some(run) = slot.map(|slot| &mut seen.runs[slot]) else {
            return;
        };
        if near.is_none() {
            *run = Run {
                start: range.start(),
                front: range.start(),
                ..Run::default()
            };
        }
        run.take(range, now);
    }

    /// Notes what a reader says it will need soon.
    pub(super) fn advise(&self, range: ByteRange) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let continued = |old: ByteRange| {
            (old.start()..=old.end())
                .contains(&range.start())
                .then(|| ByteRange::new(old.start(), range.end().max(old.end())))
        };
        seen.advised = Some(seen.advised.and_then(continued).unwrap_or(range));
    }

    /// Whether a read, which has been observed, is better served by whole chunks.
    pub(super) fn is_sequential(&self, range: ByteRange) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let within = |whole: ByteRange| whole.intersect(range) == range;
        let run = |run: &Run| run.is_believed() && within(ByteRange::new(run.start, run.front));
        seen.advised.is_some_and(within) || seen.runs.iter().any(run)
    }
}

impl Run {
    fn is_near(&self, range: ByteRange) -> bool {
        self.last > 0
            && range.start() <= self.front.saturating_add(SLACK)
            && range.end().saturating_add(SLACK) >= self.start
    }

    /// Makes a read part of the run.
    fn take(&mut self, range: ByteRange, now: u64) {
        if self.latest.replace(range) != Some(range) {
            self.covered = self.covered.saturating_add(range.len());
        }
        self.start = self.start.min(range.start());
        self.front = self.front.max(range.end());
        self.last = now;
    }

    fn is_believed(&self) -> bool {
        let distance = self.front - self.start;
        // Read again and again, one place covers much and gets nowhere; jumps get far and
        // cover little.
        self.covered > distance / 2 && (self.start == 0 || distance >= PROOF)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;

    /// Which of these reads are served by whole chunks.
    fn sequential(reads: impl IntoIterator<Item = (u64, u64)>) -> Vec<bool> {
        let pattern = Pattern::default();
        let served = |(start, len)| {
            let range = ByteRange::at(start, len);
            pattern.observe(range);
            pattern.observe(range);
            pattern.is_sequential(range)
        };
        reads.into_iter().map(served).collect()
    }

    #[test]
    fn a_reader_from_the_start_on_is_believed_at_once() {
        let reads = (0..100).map(|n| (n * 128 * KIB, 128 * KIB));
        assert!(sequential(reads).iter().all(|&whole| whole));
    }

    #[test]
    fn a_reader_from_elsewhere_on_is_believed_after_a_chunk() {
        let reads = (0..100).map(|n| (50 * MIB + n * 128 * KIB, 128 * KIB));
        let served = sequential(reads);
        assert_eq!(served.iter().position(|&whole| whole), Some(7));
        assert!(served[7..].iter().all(|&whole| whole));
    }

    #[test]
    fn requests_out_of_order_are_one_run() {
        let reads = (0..64).map(|n| (50 * MIB + (n ^ 3) * 128 * KIB, 128 * KIB));
        let served = sequential(reads);
        assert!(served[16..].iter().all(|&whole| whole), "{served:?}");
    }

    #[test]
    fn readers_of_several_places_do_not_disturb_each_other() {
        let reads =
            (0..64).flat_map(|n| [1, 300, 600, 900].map(|at| (at * MIB + n * MIB / 4, MIB / 4)));
        let served = sequential(reads);
        assert!(served[16..].iter().all(|&whole| whole), "{served:?}");
    }

    #[test]
    fn reads_here_and_there_are_not_sequential() {
        // A full-period walk over far places, each read in two requests.
        let reads = (0..1000_u64).flat_map(|n| {
            let at = (n * 7919 % 1000 + 1) * 16 * MIB;
            [(at, 128 * KIB), (at + 128 * KIB, 128 * KIB)]
        });
        assert!(!sequential(reads).iter().any(|&whole| whole));
    }

    #[test]
    fn steps_that_leave_most_out_are_not_sequential() {
        let reads = (0..1000).map(|n| (n * 512 * KIB, 128 * KIB));
        assert!(!sequential(reads).iter().skip(1).any(|&whole| whole));
    }

    #[test]
    fn one_place_again_and_again_is_not_sequential() {
        let reads = (0..1000).map(|_| (5 * MIB, 128 * KIB));
        assert!(!sequential(reads).iter().any(|&whole| whole));
    }

    #[test]
    fn what_was_advised_is_served_whole() {
        let pattern = Pattern::default();
        pattern.advise(ByteRange::new(8 * MIB, 16 * MIB));
        pattern.advise(ByteRange::new(16 * MIB, 32 * MIB));
        assert!(pattern.is_sequential(ByteRange::at(9 * MIB, KIB)));
        assert!(pattern.is_sequential(ByteRange::at(31 * MIB, MIB)));
        assert!(!pattern.is_sequential(ByteRange::at(31 * MIB, 2 * MIB)));
        pattern.advise(ByteRange::new(100 * MIB, 101 * MIB));
        assert!(!pattern.is_sequential(ByteRange::at(9 * MIB, KIB)));
    }
}
