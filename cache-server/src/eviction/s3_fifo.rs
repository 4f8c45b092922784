//! S3-FIFO: a small queue for the new, a main queue for what was asked for again, and a
//! ghost queue of ids that left the small one.
//!
//! After Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023. Most
//! objects of a scan are asked for once: they pass through the small queue, a tenth of
//! the bytes, and never push out what the main queue holds. An object that comes back
//! soon after it left the small queue goes straight to the main one.

use std::collections::{HashMap, VecDeque};

use forebay_core::ObjectId;

use super::Policy;
use super::queue::{NodeId, Queues};

const SMALL: u8 = 0;
const MAIN: u8 = 1;

/// The small queue's share of the resident bytes is one in this many.
const SMALL_SHARE: u64 = 10;

/// Accesses are counted up to this number (two bits in the paper).
const MOST_HITS: u8 = 3;

/// Accesses in the small queue after which an object is kept: more than one, as in the
/// paper, since the workers of one job open the same file almost at once.
const HITS_TO_KEEP: u8 = 2;

/// The three queues.
#[derive(Debug, Default)]
pub(super) struct S3Fifo {
    queues: Queues<2>,
    ghost: Ghost,
}

impl S3Fifo {
    fn victim_of_small(&mut self, skip: &dyn Fn(ObjectId) -> bool) -> Option<NodeId> {
        for _ in 0..self.queues.len(SMALL) {
            let at = self.queues.oldest(SMALL)?;
            let node = self.queues.node(at);
            if skip(node.id) {
                self.queues.move_to(at, SMALL);
            } else if node.hits >= HITS_TO_KEEP {
                node.hits = 0;
                self.queues.move_to(at, MAIN);
            } else {
                let (id, bytes) = (node.id, node.bytes);
                self.ghost.push(id, bytes);
                return Some(at);
            }
        }
        None
    }

    fn victim_of_main(&mut self, skip: &dyn Fn(ObjectId) -> bool) -> Option<NodeId> {
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
}

impl Policy for S3Fifo {
    fn insert(&mut self, id: ObjectId, bytes: u64) {
        match self.queues.find(id) {
            Some(node) => self.queues.weigh(node, bytes),
            None if self.ghost.take(id) => self.queues.push(MAIN, id, bytes),
            None => self.queues.push(SMALL, id, bytes),
        }
    }

    fn access(&mut self, id: ObjectId) {
        if let Some(node) = self.queues.find(id) {
            let node = self.queues.node(node);
            node.hits = (node.hits + 1).min(MOST_HITS);
        }
    }

    fn remove(&mut self, id: ObjectId) {
        if let Some(node) = self.queues.find(id) {
            self.queues.remove(node);
        }
    }

    fn victim(&mut self, skip: &dyn Fn(ObjectId) -> bool) -> Option<ObjectId> {
        let resident = self.resident_bytes();
        let small_is_due = self.queues.bytes(SMALL) >= resident / SMALL_SHARE;
        let victim = if small_is_due {
            None
        } else {
            self.victim_of_main(skip)
        };
        // The small queue may move all it has to the main one, which is then asked again.
        let victim = victim
            .or_else(|| self.victim_of_small(skip))
            .or_else(|| self.victim_of_main(skip));
        // The ghosts of as many bytes as the cache holds: what would have been a hit in
        // a cache of twice the size deserves a second look.
        self.ghost.trim(resident);
        victim.map(|node| self.queues.remove(node))
    }

    fn resident_bytes(&self) -> u64 {
        self.queues.bytes(SMALL) + self.queues.bytes(MAIN)
    }
}

/// Ids that left the small queue, the oldest first.
#[derive(Debug, Default)]
struct Ghost {
    // Each id with the number of its latest entry; an entry of another number is stale.
    entries: HashMap<ObjectId, u64>,
    order: VecDeque<(ObjectId, u64, u64)>,
    bytes: u64,
    next: u64,
}

impl Ghost {
    fn push(&mut self, id: ObjectId, bytes: u64) {
        self.next += 1;
        self.entries.insert(id, self.next);
        self.order.push_back((id, bytes, self.next));
        self.bytes += bytes;
    }

    fn take(&mut self, id: ObjectId) -> bool {
        self.entries.remove(&id).is_some()
    }

    fn trim(&mut self, most_bytes: u64) {
        while self.bytes > most_bytes
            && let Some((id, bytes, number)) = self.order.pop_front()
        {
            self.bytes -= bytes;
            if self.entries.get(&id) == Some(&number) {
                self.entries.remove(&id);
            }
        }
    }
}
