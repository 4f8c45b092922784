//! What a server has been asked for and has sent.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::target::Operation;

/// Counts since the server started, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests of all kinds, those that met a fault included.
    pub requests: u64,
    /// Bytes of all bodies that were handed to the network.
    pub bytes_sent: u64,
    /// Those of them that are bodies of `GetObject`.
    pub object_bytes_sent: u64,
    /// Connections that were accepted.
    pub connections: u64,
    operations: [u64; Operation::ALL.len()],
}

impl Stats {
    /// Requests for one operation.
    pub fn count(&self, operation: Operation) -> u64 {
        self.operations[operation as usize]
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    bytes_sent: AtomicU64,
    object_bytes_sent: AtomicU64,
    connections: AtomicU64,
    operations: [AtomicU64; Operation::ALL.len()],
}

impl Counters {
    pub(crate) fn request(&self, operation: Operation) {
        self.operations[operation as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, operation: Operation, bytes: usize) {
        self.bytes_sent.fetch_add(bytes as u64, Ordering::Relaxed);
        if operation == Operation::GetObject {
            self.object_bytes_sent
                .fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }

    pub(crate) fn connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Stats {
        let operations = Operation::ALL
            .map(|operation| self.operations[operation as usize].load(Ordering::Relaxed));
        Stats {
            requests: operations.iter().sum(),
            bytes_sent: self.bytes_sent.load(Ordering::Relaxed),
            object_bytes_sent: self.object_bytes_sent.load(Ordering::Relaxed),
            connections: self.connections.load(Ordering::Relaxed),
            operations,
        }
    }
}
