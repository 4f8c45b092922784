//! Where in a plan the readers are, and what comes next.
//!
//! Readers do not keep to a plan exactly: several processes take turns, each some batches
//! ahead of the others. So a read is looked for among the next [`FORESIGHT`] entries and
//! the last [`REORDER`] ones that nobody has read yet. The furthest that was read is the
//! **front**; what is fetched ahead is counted from there.
//!
//! Readers that begin in the middle, or again from the beginning, are lost at first: when
//! [`STRAYS`] reads in a row are not where they were looked for, the whole plan is
//! searched for a place where most of them lie together.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// How far ahead of the front a read is recognized.
const FORESIGHT: usize = 4096;

/// How far behind the front a file is that nobody will read any more.
const REORDER: usize = 1024;

/// Entries ahead of the front that are advised at most, however small the files are.
const MOST_AHEAD: usize = 8192;

/// Reads in a row elsewhere after which the plan is searched.
const STRAYS: usize = 8;

/// How far apart reads of one place in the plan lie.
const TOGETHER: usize = 256;

/// A plan that is being followed.
#[derive(Debug)]
pub(crate) struct Follower {
    entries: Arc<[u32]>,
    /// Behind the furthest entry that was read.
    front: usize,
    /// The first entry that was not advised yet.
    advised: usize,
    /// The bytes of the entries from `front` to `advised`.
    ahead: VecDeque<u64>,
    ahead_bytes: u64,
    /// Entries that nobody has read yet, from `low` to `known`, with their places.
    unread: HashMap<u32, usize>,
    low: usize,
    known: usize,
    strays: Vec<u32>,
}

/// What a read says about a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It is where it was expected.
    Followed,
    /// It is elsewhere.
    Stray,
    /// So are the last ones: these should be [searched](Follower::search) for.
    Lost(Vec<u32>),
}

impl Follower {
    pub(crate) fn new(entries: Arc<[u32]>) -> Self {
        let mut follower = Self {
            entries,
            front: 0,
            advised: 0,
            ahead: VecDeque::new(),
            ahead_bytes: 0,
            unread: HashMap::new(),
            low: 0,
            known: 0,
            strays: Vec::new(),
        };
        follower.learn();
        follower
    }

    /// How many entries the plan has.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many of them the readers have left behind.
    pub(crate) fn position(&self) -> usize {
        self.front
    }

    /// The bytes that were advised and lie before the readers.
    pub(crate) fn ahead_bytes(&self) -> u64 {
        self.ahead_bytes
    }

    /// The entries, for a [search](Self::search) without holding on to the follower.
    pub(crate) fn entries(&self) -> Arc<[u32]> {
        Arc::clone(&self.entries)
    }

    /// Whether everything was advised and the end was read.
    pub(crate) fn is_finished(&self) -> bool {
        self.front == self.len() && self.advised == self.len()
    }

    /// Notes that `entry` is read.
    pub(crate) fn observe(&mut self, entry: u32) -> Heard {
        let Some(at) = self.unread.remove(&entry) else {
            self.strays.push(entry);
            if self.strays.len() < STRAYS {
                return Heard::Stray;
            }
            return Heard::Lost(std::mem::take(&mut self.strays));
        };
        self.strays.clear();
        if at >= self.front {
            self.advance(at + 1);
        }
        Heard::Followed
    }

    /// Whether a good part of a window of `window` bytes is free.
    pub(crate) fn is_hungry(&self, window: u64) -> bool {
        self.advised < self.len()
            && self.ahead_bytes <= window / 4 * 3
            && self.advised.saturating_sub(self.front) <= MOST_AHEAD / 4 * 3
    }

    /// The next entry to be advised, and its place, within a window of `window` bytes.
    pub(crate) fn next(&mut self, window: u64) -> Option<(usize, u32)> {
        self.advised = self.advised.max(self.front.saturating_sub(REORDER));
        while self.advised < self.front {
            let entry = self.entries[self.advised];
            if self.unread.get(&entry) == Some(&self.advised) {
                return Some((self.advised, entry));
            }
            // Read already: whoever read it was faster.
            self.advised += 1;
        }
        let is_full = self.ahead_bytes >= window || self.advised - self.front >= MOST_AHEAD;
        let entry = *self.entries.get(self.advised)?;
        (!is_full).then_some((self.advised, entry))
    }

    /// Notes that the entry at `at`, which has `bytes`, was advised. Readers may have
    /// moved on since it was the [next](Self::next).
    pub(crate) fn advised(&mut self, at: usize, bytes: u64) {
        if at != self.advised {
            return;
        }
        if at >= self.front {
            self.ahead.push_back(bytes);
            self.ahead_bytes += bytes;
        }
        self.advised += 1;
        self.learn();
    }

    /// Goes on at `place`, and returns the bytes that were advised for nothing.
    pub(crate) fn jump(&mut self, place: usize) -> u64 {
        let place = place.min(self.len());
        self.ahead.clear();
        self.unread.clear();
        (self.front, self.advised, self.low, self.known) = (place, place, place, place);
        self.learn();
        std::mem::take(&mut self.ahead_bytes)
    }

    /// Behind the place in `entries` where the last of `strays` lies together with half of
    /// the others. Looks at every entry: some milliseconds for millions.
    pub(crate) fn search(entries: &[u32], strays: &[u32]) -> Option<usize> {
        let last = *strays.last()?;
        let mut places = entries.iter().enumerate();
        places.find_map(|(at, &entry)| {
            if entry != last {
                return None;
            }
            let around = at.saturating_sub(TOGETHER)..(at + TOGETHER).min(entries.len());
            let around = &entries[around];
            let near = strays.iter().filter(|stray| around.contains(stray)).count();
            (near * 2 >= strays.len()).then_some(at + 1)
        })
    }

    fn advance(&mut self, to: usize) {
        let passed = to.min(self.advised).saturating_sub(self.front);
        let passed: u64 = self.ahead.drain(..passed).sum();
        self.ahead_bytes -= passed;
        self.front = to;
        while self.low < self.front.saturating_sub(REORDER) {
            let entry = self.entries[self.low];
            if self.unread.get(&entry) == Some(&self.low) {
                self.unread.remove(&entry);
            }
            self.low += 1;
        }
        self.learn();
    }

    /// Takes up the entries within foresight.
    fn learn(&mut self) {
        let horizon = self.advised.max(self.front + FORESIGHT).min(self.len());
        while self.known < horizon {
            // Of an entry that comes twice, the first time is what is waited for.
            self.unread
                .entry(self.entries[self.known])
                .or_insert(self.known);
            self.known += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BYTES: u64 = 100;

    fn follower(len: u32) -> Follower {
        // Far from sorted.
        Follower::new((0..len).map(|n| n.wrapping_mul(2_654_435_761)).collect())
    }

    /// Advises until the window is full; the places that were advised.
    fn fill(follower: &mut Follower, window: u64) -> Vec<usize> {
        let mut places = Vec::new();
        while let Some((at, _)) = follower.next(window) {
            follower.advised(at, BYTES);
            places.push(at);
        }
        places
    }

    #[test]
    fn the_window_is_filled_at_the_start_and_moves_with_the_reader() {
        let mut follower = follower(1000);
        assert!(follower.is_hungry(1000));
        assert_eq!(fill(&mut follower, 1000), (0..10).collect::<Vec<_>>());
        assert!(!follower.is_hungry(1000));
        for at in 0..5 {
            assert_eq!(follower.observe(follower.entries[at]), Heard::Followed);
        }
        assert_eq!((follower.position(), follower.ahead_bytes()), (5, 500));
        assert!(follower.is_hungry(1000));
        assert_eq!(fill(&mut follower, 1000), (10..15).collect::<Vec<_>>());
    }

    #[test]
    fn a_plan_that_was_read_to_its_end_is_finished() {
        let mut follower = follower(50);
        fill(&mut follower, u64::MAX);
        let entries = follower.entries();
        for &entry in entries.iter() {
            assert!(!follower.is_finished());
            follower.observe(entry);
        }
        assert!(follower.is_finished());
        assert_eq!(follower.ahead_bytes(), 0);
    }

    #[test]
    fn workers_that_take_turns_are_followed() {
        // Eight workers with batches of 32, each reading its batch file by file.
        let mut follower = follower(32 * 8 * 4);
        let entries = follower.entries();
        let mut advised = fill(&mut follower, 50 * BYTES);
        for round in 0..4 {
            for file in 0..32 {
                for worker in 0..8 {
                    let at = (round * 8 + worker) * 32 + file;
                    assert_eq!(follower.observe(entries[at]), Heard::Followed, "at {at}");
                    advised.extend(fill(&mut follower, 50 * BYTES));
                }
            }
        }
        assert!(follower.is_finished());
        assert!(
            advised.is_sorted() && advised.len() >= 32 * 8 * 3,
            "{}",
            advised.len()
        );
    }

    #[test]
    fn what_was_read_before_it_was_advised_is_passed_over() {
        let mut follower = follower(100);
        let entries = follower.entries();
        for at in [0, 1, 2, 4, 5] {
            follower.observe(entries[at]);
        }
        assert_eq!(fill(&mut follower, 2 * BYTES), [3, 6, 7]);
    }

    #[test]
    fn a_reader_that_begins_elsewhere_is_found() {
        let mut follower = follower(100_000);
        let entries = follower.entries();
        fill(&mut follower, 10 * BYTES);
        let mut lost = None;
        for (at, &entry) in entries.iter().enumerate().skip(60_000).take(8) {
            match follower.observe(entry) {
                Heard::Lost(strays) => lost = Some(strays),
                heard => assert_eq!(heard, Heard::Stray, "at {at}"),
            }
        }
        let place = Follower::search(&entries, &lost.expect("eight strays"));
        assert_eq!(place, Some(60_008));
        assert_eq!(follower.jump(60_008), 10 * BYTES);
        assert_eq!(follower.observe(entries[60_008]), Heard::Followed);
        assert_eq!(fill(&mut follower, BYTES), [60_009]);
    }

    #[test]
    fn files_read_at_random_are_no_place_in_the_plan() {
        let entries: Vec<u32> = (0..100_000).collect();
        let strays: Vec<u32> = (0..8).map(|n| n * 9973 + 17).collect();
        assert_eq!(Follower::search(&entries, &strays), None);
        assert_eq!(Follower::search(&entries, &[]), None);
        assert_eq!(Follower::search(&entries, &[200_000; 8]), None);
    }

    #[test]
    fn a_file_that_comes_twice_is_no_obstacle() {
        let entries: Vec<u32> = (0..50).chain(0..50).collect();
        let mut follower = Follower::new(entries.clone().into());
        fill(&mut follower, u64::MAX);
        for &entry in &entries[..50] {
            assert_eq!(follower.observe(entry), Heard::Followed);
        }
        assert_eq!(follower.position(), 50);
    }

    #[test]
    fn an_empty_plan_is_finished() {
        assert!(follower(0).is_finished());
    }

    proptest! {
        #[test]
        fn bytes_ahead_are_those_between_reader_and_advice(
            len in 1u32..3000,
            window in 0u64..5000,
            steps in proptest::collection::vec((0u8..10, any::<prop::sample::Index>()), 1..300),
        ) {
            let mut follower = follower(len);
            let entries = follower.entries();
            for (what, which) in steps {
                match what {
                    0..5 => {
                        let near = follower.position() + which.index(40);
                        if let Some(&entry) = entries.get(near) {
                            follower.observe(entry);
                        }
                    }
                    5..9 => {
                        if let Some((at, _)) = follower.next(window) {
                            follower.advised(at, BYTES);
                        }
                    }
                    _ => {
                        follower.jump(which.index(entries.len() + 1));
                    }
                }
                let ahead = follower.advised.saturating_sub(follower.front) as u64 * BYTES;
                prop_assert_eq!(follower.ahead_bytes(), ahead);
                prop_assert!(ahead < window + BYTES);
                prop_assert!(follower.unread.len() <= REORDER + FORESIGHT + MOST_AHEAD);
            }
        }
    }
}
