//! Running ahead of readers: how much at once, how fast, and when not at all.
//!
//! Whatever is fetched before somebody waits for it (windows of sequential readers,
//! neighbours, plans, warm-ups) passes through one [`Prefetch`] for the whole node:
//!
//! - the [`Budget`] bounds the bytes that are asked for and not yet here.
//!   Advice that does not fit is refused, and its giver comes again;
//! - the [`Gate`] bounds the origin reads at once. It grows while throughput
//!   grows, shrinks when the origin asks to slow down, and leaves to prefetch only what
//!   readers that wait do not use;
//! - [`Pressure`] closes the gate while memory is short: prefetch is
//!   what a node can do without.
//!
//! Readers that wait never come here: a fill on demand takes no permit of these.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::origin::OriginStats;

mod budget;
mod cgroup;
mod climb;
mod gate;
mod pressure;
mod stall;

pub(crate) use budget::Reservation;
pub(crate) use gate::{DemandFlight, Slot};
pub use pressure::memory_limit;

use budget::Budget;
use gate::Gate;
use pressure::Pressure;

/// How often a prefetch that waits for memory looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Limits of prefetch.
#[derive(Clone, Debug)]
pub struct PrefetchConfig {
    /// Bytes asked for ahead of readers and not yet here, all readers together; 0 for no
    /// prefetch. Warm-ups have room even then.
    pub budget_bytes: u64,
    /// Origin reads at once to begin with; throughput tells the way from there.
    pub first_flights: usize,
    /// The most origin reads at once.
    pub most_flights: usize,
}

impl Default for PrefetchConfig {
    fn default() -> Self {
        Self {
            // A second of a 2 Gbit/s link: as long as a far bucket may hesitate.
            budget_bytes: 256 << 20,
            first_flights: 8,
            // Objects of 100 KiB that take 20 ms each reach 600 MB/s with so many.
            most_flights: 128,
        }
    }
}

/// What prefetch does now and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrefetchSnapshot {
    /// The budget, in bytes.
    pub budget_bytes: u64,
    /// The part of it that is taken.
    pub window_bytes: u64,
    /// Origin reads that may be under way at once.
    pub concurrency: u64,
    /// Whether prefetch waits for memory.
    pub paused: bool,
    /// Bytes that were advised and refused for want of memory.
    pub shed_bytes: u64,
}

/// All prefetch of one node.
#[derive(Debug)]
pub(crate) struct Prefetch {
    budget: Arc<Budget>,
    gate: Arc<Gate>,
    pressure: Pressure,
    enabled: bool,
    warmup_bytes: u64,
    shed_bytes: AtomicU64,
}

/// The right of one origin read ahead of readers. Dropping it gives everything back.
#[derive(Debug)]
pub(crate) struct Admission {
    _slot: Slot,
    // Shared by the reads of one part.
    _reserved: Arc<Reservation>,
}

impl Prefetch {
    /// Limits by `config`; `part_bytes` is the most that is asked for in one read.
    /// `origin` tells when the origin wants fewer requests.
    pub(crate) fn new(config: &PrefetchConfig, part_bytes: u64, origin: Arc<OriginStats>) -> Self {
        let limit = config.budget_bytes.max(part_bytes);
        Self {
            budget: Budget::new(limit),
            gate: Gate::new(config.first_flights, config.most_flights, origin),
            pressure: Pressure::of_this_process(),
            enabled: config.budget_bytes > 0,
            // Half, so that a warm-up that takes hours leaves readers their windows.
            warmup_bytes: (limit / 2).max(part_bytes),
            shed_bytes: AtomicU64::new(0),
        }
    }

    /// Takes `bytes` of the budget for advice; `None` if they are not there, or memory is
    /// short, or there is no prefetch.
    pub(crate) fn reserve(&self, bytes: u64) -> Option<Reservation> {
        if !self.enabled {
            return None;
        }
        if self.pressure.is_high() {
            self.shed_bytes.fetch_add(bytes, Ordering::Relaxed);
            return None;
        }
        self.budget.try_take(bytes)
    }

    /// Waits for `bytes` of the budget, for a warm-up.
    pub(crate) async fn reserve_for_warmup(&self, bytes: u64) -> Arc<Reservation> {
        Arc::new(self.budget.take_below(bytes, self.warmup_bytes).await)
    }

    /// Waits until one more origin read may begin.
    ///
    /// # Cancel safety
    /// Dropping it gives up the place in the queue.
    pub(crate) async fn admit(&self, reserved: &Arc<Reservation>) -> Admission {
        loop {
            while self.pressure.is_high() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            let slot = self.gate.enter().await;
            // The wait may have been long.
            if !self.pressure.is_high() {
                return Admission {
                    _slot: slot,
                    _reserved: Arc::clone(reserved),
                };
            }
        }
    }

    /// Counts a read for somebody who waits, until the guard is dropped.
    pub(crate) fn demand(&self) -> DemandFlight {
        self.gate.demand()
    }

    /// Notes bytes that have come from the origin, whoever wanted them.
    pub(crate) fn received(&self, bytes: u64) {
        self.gate.received(bytes);
    }

    pub(crate) fn snapshot(&self) -> PrefetchSnapshot {
        PrefetchSnapshot {
            budget_bytes: if self.enabled { self.budget.limit() } else { 0 },
            window_bytes: self.budget.used(),
            concurrency: self.gate.limit() as u64,
            paused: self.pressure.is_high(),
            shed_bytes: self.shed_bytes.load(Ordering::Relaxed),
        }
    }
}
