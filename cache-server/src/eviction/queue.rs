//! Doubly linked queues over one slab: what both policies are made of.
//!
//! Each resident id has one node, which lies in one queue at a time. Moving and removing
//! a node costs the same however long the queues are.

use std::collections::HashMap;

use forebay_core::ObjectId;

const NONE: u32 = u32::MAX;

/// A node's position in the slab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodeId(u32);

/// What a policy keeps for one id.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: ObjectId,
    pub(super) bytes: u64,
    /// In which queue the node lies.
    pub(super) queue: u8,
    /// Accesses since it came there, as far as the policy counts them.
    pub(super) hits: u8,
    /// When it was last asked for, by a clock of the policy's own.
    pub(super) seen: u64,
    older: u32,
    newer: u32,
}

#[derive(Clone, Copy, Debug)]
struct Queue {
    oldest: u32,
    newest: u32,
    bytes: u64,
    len: usize,
}

const EMPTY: Queue = Queue {
    oldest: NONE,
    newest: NONE,
    bytes: 0,
    len: 0,
};

/// `N` queues and the map from ids to their nodes.
#[derive(Debug)]
pub(super) struct Queues<const N: usize> {
    nodes: Vec<Node>,
    free: Vec<u32>,
    by_id: HashMap<ObjectId, u32>,
    queues: [Queue; N],
}

impl<const N: usize> Default for Queues<N> {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::new(),
            queues: [EMPTY; N],
        }
    }
}

impl<const N: usize> Queues<N> {
    pub(super) fn find(&self, id: ObjectId) -> Option<NodeId> {
        self.by_id.get(&id).copied().map(NodeId)
    }

    pub(super) fn node(&mut self, node: NodeId) -> &mut Node {
        &mut self.nodes[node.0 as usize]
    }

    /// The bytes of one queue.
    pub(super) fn bytes(&self, queue: u8) -> u64 {
        self.queues[usize::from(queue)].bytes
    }

    /// The nodes of one queue.
    pub(super) fn len(&self, queue: u8) -> usize {
        self.queues[usize::from(queue)].len
    }

    pub(super) fn oldest(&self, queue: u8) -> Option<NodeId> {
        let oldest = self.queues[usize::from(queue)].oldest;
        (oldest != NONE).then_some(NodeId(oldest))
    }

    /// Adds `id`, which has no node yet, as the newest of `queue`.
    pub(super) fn push(&mut self, queue: u8, id: ObjectId, bytes: u64) {
        let node = Node {
            id,
            bytes,
            queue,
            hits: 0,
            seen: 0,
            older: NONE,
            newer: NONE,
        };
        let at = match self.free.pop() {
            Some(at) => {
                self.nodes[at as usize] = node;
                at
            }
            None => {
                self.nodes.push(node);
                u32::try_from(self.nodes.len() - 1).expect("fewer than 2^32 cached objects")
            }
        };
        self.by_id.insert(id, at);
        self.link(at, queue);
    }

    /// Makes `node` the newest of `queue`.
    pub(super) fn move_to(&mut self, node: NodeId, queue: u8) {
        self.unlink(node.0);
        self.link(node.0, queue);
    }

    pub(super) fn remove(&mut self, node: NodeId) -> ObjectId {
        self.unlink(node.0);
        self.free.push(node.0);
        let id = self.nodes[node.0 as usize].id;
        self.by_id.remove(&id);
        id
    }

    /// Changes the weight of `node`.
    pub(super) fn weigh(&mut self, node: NodeId, bytes: u64) {
        let node = &mut self.nodes[node.0 as usize];
        let queue = &mut self.queues[usize::from(node.queue)];
        queue.bytes = queue.bytes - node.bytes + bytes;
        node.bytes = bytes;
    }

    fn link(&mut self, at: u32, number: u8) {
        let queue = &mut self.queues[usize::from(number)];
        let node = &mut self.nodes[at as usize];
        (node.queue, node.older, node.newer) = (number, queue.newest, NONE);
        queue.bytes += node.bytes;
        queue.len += 1;
        match std::mem::replace(&mut queue.newest, at) {
            NONE => queue.oldest = at,
            older => self.nodes[older as usize].newer = at,
        }
    }

    fn unlink(&mut self, at: u32) {
        let node = &self.nodes[at as usize];
        let (older, newer, bytes) = (node.older, node.newer, node.bytes);
        let queue = &mut self.queues[usize::from(node.queue)];
        queue.bytes -= bytes;
        queue.len -= 1;
        match older {
            NONE => queue.oldest = newer,
            older => self.nodes[older as usize].newer = newer,
        }
        match newer {
            NONE => queue.newest = older,
            newer => self.nodes[newer as usize].older = older,
        }
    }
}
