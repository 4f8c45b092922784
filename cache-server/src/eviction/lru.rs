//! Least recently opened first.

use forebay_core::ObjectId;

use super::Policy;
use super::queue::Queues;

const ALL: u8 = 0;

/// One queue, in the order of the last access.
#[derive(Debug, Default)]
pub(super) struct Lru {
    queues: Queues<1>,
}

impl Policy for Lru {
    fn insert(&mut self, id: ObjectId, bytes: u64) {
        match self.queues.find(id) {
            Some(node) => self.queues.weigh(node, bytes),
            None => self.queues.push(ALL, id, bytes),
        }
    }

    fn access(&mut self, id: ObjectId) {
        if let Some(node) = self.queues.find(id) {
            self.queues.move_to(node, ALL);
        }
    }

    fn remove(&mut self, id: ObjectId) {
        if let Some(node) = self.queues.find(id) {
            self.queues.remove(node);
        }
    }

    fn victim(&mut self, skip: &dyn Fn(ObjectId) -> bool) -> Option<ObjectId> {
        for _ in 0..self.queues.len(ALL) {
            let node = self.queues.oldest(ALL)?;
            if !skip(self.queues.node(node).id) {
                return Some(self.queues.remove(node));
            }
            // In use is as recent as can be.
            self.queues.move_to(node, ALL);
        }
        None
    }

    fn resident_bytes(&self) -> u64 {
        self.queues.bytes(ALL)
    }
}
