//! What was asked of peers, and by them.

use std::sync::atomic::{AtomicU64, Ordering};

use forebay_core::metric::{self, Measured, Reading};

/// Counters of the traffic between the servers of a cluster.
#[derive(Debug, Default)]
pub struct ClusterStats {
    pub(super) received_bytes: AtomicU64,
    pub(super) sent_bytes: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) hedges: AtomicU64,
    pub(super) members: AtomicU64,
}

impl ClusterStats {
    pub(super) fn add(counter: &AtomicU64, amount: usize) {
        counter.fetch_add(amount as u64, Ordering::Relaxed);
    }

    /// Bytes of objects received from peers.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of objects sent to peers.
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }

    /// Reads for which a second peer was asked because the first was slow to begin.
    pub fn hedges(&self) -> u64 {
        self.hedges.load(Ordering::Relaxed)
    }

    /// Reads from peers that failed and went on elsewhere.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

impl Measured for ClusterStats {
    fn readings(&self) -> Vec<Reading> {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        vec![
            Reading::plain(&metric::PEER_MEMBERS, value(&self.members)),
            Reading::plain(&metric::PEER_RECEIVED_BYTES, value(&self.received_bytes)),
            Reading::plain(&metric::PEER_SENT_BYTES, value(&self.sent_bytes)),
            Reading::plain(&metric::PEER_FAILURES, value(&self.failures)),
            Reading::plain(&metric::PEER_HEDGES, value(&self.hedges)),
        ]
    }
}
