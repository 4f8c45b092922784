//! What the clients of this machine hold and have asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use forebay_core::metric::{self, Measured, Reading};

/// Counters of the local socket.
#[derive(Debug, Default)]
pub struct ClientStats {
    connections: AtomicU64,
    leases: AtomicU64,
    requests: AtomicU64,
    refused: AtomicU64,
}

impl ClientStats {
    /// Clients that are connected.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Leases that they hold, those in their grace time included.
    pub fn leases(&self) -> u64 {
        self.leases.load(Ordering::Relaxed)
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn connected(self: &Arc<Self>) -> Held {
        Held::new(self, |stats| &stats.connections)
    }

    pub(super) fn leased(self: &Arc<Self>) -> Held {
        Held::new(self, |stats| &stats.leases)
    }
}

/// Counts one for as long as it lives.
#[derive(Debug)]
pub(super) struct Held {
    stats: Arc<ClientStats>,
    gauge: fn(&ClientStats) -> &AtomicU64,
}

impl Held {
    fn new(stats: &Arc<ClientStats>, gauge: fn(&ClientStats) -> &AtomicU64) -> Self {
        gauge(stats).fetch_add(1, Ordering::Relaxed);
        Self {
            stats: Arc::clone(stats),
            gauge,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        (self.gauge)(&self.stats).fetch_sub(1, Ordering::Relaxed);
    }
}

impl Measured for ClientStats {
    fn readings(&self) -> Vec<Reading> {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        vec![
            Reading::plain(&metric::CLIENT_CONNECTIONS, value(&self.connections)),
            Reading::plain(&metric::CLIENT_LEASES, value(&self.leases)),
            Reading::plain(&metric::CLIENT_REQUESTS, value(&self.requests)),
            Reading::plain(&metric::CLIENT_REFUSED, value(&self.refused)),
        ]
    }
}
