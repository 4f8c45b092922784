//! Tenure: what is kept stays, unless a newcomer has been asked for more often.
//!
//! Training opens every object once an epoch. When the dataset is larger than the cache,
//! each of them is worth as much as any other, and every exchange costs a hit: an object
//! that has waited for most of an epoch is about to be asked for. So an object that leaves
//! the small queue, a twentieth of the bytes, challenges one of the main queue, and the loser
//! is evicted. The challenger wins if it was asked for at least twice more often (by a
//! [`Sketch`], after Einziger et al., "TinyLFU", ACM Transactions on Storage 2017), or if
//! the other is stale: nobody asked for it while the main queue was hit several times
//! over, or nothing of the main queue was hit for long, as when another job has begun.

use forebay_core::ObjectId;

use super::Policy;
use super::queue::{NodeId, Queues};
use super::sketch::Sketch;

const SMALL: u8 = 0;
const MAIN: u8 = 1;

/// The small queue's share of the resident bytes is one in this many. What is in it has
/// no tenure, so it is as small as it can be for newcomers to be asked for once more.
const SMALL_SHARE: u64 = 20;

/// The main queue takes from the small one without a challenge while the small one has
/// this many times its share: the cache has just become full for the first time.
const MUCH: u64 = 2;

/// Accesses are counted up to this number.
const MOST_HITS: u8 = 3;

/// An object is stale when the main queue has had this many hits for each of its objects
/// since it was last asked for. In shuffled epochs there are two for each at most; more
/// are waited for because of datasets of which some objects are read less often.
const STALE_ROUNDS: u64 = 12;

/// All of the main queue is stale after this many newcomers for each of its objects
/// without a single hit: another job has begun. Epochs in one order bring as many between
/// two hits where the cache holds a thirteenth of the dataset.
const BARREN_ROUNDS: u64 = 12;

/// The two queues, and how often ids were asked for.
#[derive(Debug, Default)]
pub(super) struct Tenure {
    queues: Queues<2>,
    sketch: Sketch,
    /// Hits of the main queue so far.
    main_hits: u64,
    /// Newcomers since its last hit.
    barren: u64,
}

impl Tenure {
    /// Lets the main queue grow while it has less than its share.
    fn fill_main(&mut self) {
        let share = self.resident_bytes() / SMALL_SHARE;
        if self.queues.bytes(SMALL) <= share * MUCH {
            return;
        }
        while self.queues.bytes(SMALL) > share
            && self.queues.len(SMALL) > 1
            && let Some(node) = self.queues.oldest(SMALL)
        {
            self.promote(node);
        }
    }

    fn promote(&mut self, node: NodeId) {
        self.queues.move_to(node, MAIN);
        let hits = self.main_hits;
        let node = self.queues.node(node);
        (node.hits, node.seen) = (0, hits);
    }

    /// The oldest of the small queue that nobody uses.
    fn challenger(&mut self, skip: &dyn Fn(ObjectId) -> bool) -> Option<NodeId> {
        for _ in 0..self.queues.len(SMALL) {
            let at = self.queues.oldest(SMALL)?;
            if !skip(self.queues.node(at).id) {
                return Some(at);
            }
            self.queues.move_to(at, SMALL);
        }
        None
    }

    /// The oldest of the main queue that nobody uses or has asked for since its last
    /// turn.
    fn incumbent(&mut self, skip: &dyn Fn(ObjectId) -> bool) -> Option<NodeId> {
        // Each round takes one hit from each object that nobody uses.
        for _ in 0..self.queues.len(MAIN) * (usize::from(MOST_HITS) + 1) {
            let at = self.queues.oldest(MAIN)?;
            let node = self.queues.node(at);
            if !skip(node.id) {
                match node.hits.checked_sub(1) {
                    Some(hits) => node.hits = hits,
                    None => return Some(at),
                }
            }
            self.queues.move_to(at, MAIN);
        }
        None
    }

    /// Lets `challenger` take the place of `incumbent`, or not; the one that goes.
    fn challenge(&mut self, challenger: NodeId, incumbent: NodeId) -> NodeId {
        if self.is_stale(incumbent) || self.is_asked_for_more(challenger, incumbent) {
            self.promote(challenger);
            return incumbent;
        }
        self.queues.move_to(incumbent, MAIN);
        challenger
    }

    /// One access more says only that the epoch has come to the one and not yet to the
    /// other.
    fn is_asked_for_more(&mut self, challenger: NodeId, incumbent: NodeId) -> bool {
        let challenger = self.queues.node(challenger).id;
        let incumbent = self.queues.node(incumbent).id;
        self.sketch.count(challenger) > self.sketch.count(incumbent) + 1
    }

    fn is_stale(&mut self, node: NodeId) -> bool {
        let objects = self.queues.len(MAIN) as u64;
        let since = self.main_hits - self.queues.node(node).seen;
        since > objects * STALE_ROUNDS || self.barren > objects * BARREN_ROUNDS
    }
}

impl Policy for Tenure {
    fn insert(&mut self, id: ObjectId, bytes: u64) {
        match self.queues.find(id) {
            Some(node) => self.queues.weigh(node, bytes),
            None => {
                self.sketch.add(id);
                self.barren += 1;
                self.queues.push(SMALL, id, bytes);
                self.sketch
                    .fit(self.queues.len(SMALL) + self.queues.len(MAIN));
            }
        }
    }

    fn access(&mut self, id: ObjectId) {
        let Some(at) = self.queues.find(id) else {
            return;
        };
        self.sketch.add(id);
        let node = self.queues.node(at);
        node.hits = (node.hits + 1).min(MOST_HITS);
        if node.queue == MAIN {
            self.main_hits += 1;
            self.barren = 0;
            node.seen = self.main_hits;
        }
    }

    fn remove(&mut self, id: ObjectId) {
        if let Some(node) = self.queues.find(id) {
            self.queues.remove(node);
        }
    }

    fn victim(&mut self, skip: &dyn Fn(ObjectId) -> bool) -> Option<ObjectId> {
        self.fill_main();
        let small_is_due = self.queues.bytes(SMALL) >= self.resident_bytes() / SMALL_SHARE;
        let incumbent = self.incumbent(skip);
        let challenger = if small_is_due || incumbent.is_none() {
            self.challenger(skip)
        } else {
            None
        };
        let victim = match (challenger, incumbent) {
            (Some(challenger), Some(incumbent)) => Some(self.challenge(challenger, incumbent)),
            (one, other) => one.or(other),
        };
        victim.map(|node| self.queues.remove(node))
    }

    fn resident_bytes(&self) -> u64 {
        self.queues.bytes(SMALL) + self.queues.bytes(MAIN)
    }
}
