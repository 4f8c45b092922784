//! The places for origin reads ahead of readers: first come, first served, as many as
//! the [`Climb`] finds useful, less those that readers who wait have taken.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forebay_core::ErrorKind;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::climb::{Climb, Round};
use crate::origin::OriginStats;

/// A round lasts this long at least: shorter ones measure the scheduler.
const SHORTEST_ROUND: Duration = Duration::from_millis(50);

/// The places.
#[derive(Debug)]
pub(crate) struct Gate {
    places: Arc<Semaphore>,
    // Held for arithmetic only.
    state: Mutex<State>,
    /// Those who wait for a place.
    waiting: AtomicUsize,
    /// Whether somebody came in this round and had to wait.
    saturated: AtomicBool,
    received: AtomicU64,
    origin: Arc<OriginStats>,
}

#[derive(Debug)]
struct State {
    climb: Climb,
    /// Places that exist, free or taken. More than wanted until enough are given back.
    places: usize,
    /// Reads under way for readers who wait.
    demand: usize,
    /// Reads that have ended in this round.
    ended: usize,
    /// A round right after a change of the limit is not measured: reads of before it
    /// are still under way.
    settling: bool,
    began: Instant,
    received_before: u64,
    complaints_before: u64,
}

/// A place; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Slot {
    gate: Arc<Gate>,
    permit: Option<OwnedSemaphorePermit>,
}

/// A read for somebody who waits, as long as it lasts.
#[derive(Debug)]
pub(crate) struct DemandFlight(Arc<Gate>);

impl Gate {
    /// `first` places to begin with, `most` at most. `origin` counts its complaints.
    pub(crate) fn new(first: usize, most: usize, origin: Arc<OriginStats>) -> Arc<Self> {
        let climb = Climb::new(first, most);
        let places = climb.limit();
        Arc::new(Self {
            places: Arc::new(Semaphore::new(places)),
            state: Mutex::new(State {
                climb,
                places,
                demand: 0,
                ended: 0,
                settling: false,
                began: Instant::now(),
                received_before: 0,
                complaints_before: complaints(&origin),
            }),
            waiting: AtomicUsize::new(0),
            saturated: AtomicBool::new(false),
            received: AtomicU64::new(0),
            origin,
        })
    }

    /// Waits for a place, behind those who came before.
    ///
    /// # Cancel safety
    /// Dropping it gives up the place in the queue.
    pub(crate) async fn enter(self: &Arc<Self>) -> Slot {
        let permit = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                self.saturated.store(true, Ordering::Relaxed);
                let _waiting = Waiting::new(&self.waiting);
                let waited = Arc::clone(&self.places).acquire_owned().await;
                waited.expect("the places are never closed")
            }
        };
        Slot {
            gate: Arc::clone(self),
            permit: Some(permit),
        }
    }

    /// Counts a read for somebody who waits, until the guard is dropped: prefetch has one
    /// place less meanwhile.
    pub(crate) fn demand(self: &Arc<Self>) -> DemandFlight {
        let mut state = self.state();
        state.demand += 1;
        state.fit(&self.places);
        DemandFlight(Arc::clone(self))
    }

    /// Notes bytes that have come from the origin.
    pub(crate) fn received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Reads that may be under way at once, those on demand included.
    pub(crate) fn limit(&self) -> usize {
        self.state().climb.limit()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, permit: OwnedSemaphorePermit) {
        let mut state = self.state();
        state.ended += 1;
        let elapsed = state.began.elapsed();
        if state.ended >= state.climb.limit() && elapsed >= SHORTEST_ROUND {
            self.end_round(&mut state, elapsed);
        }
        if state.places > state.wanted() {
            state.places -= 1;
            permit.forget();
        }
        state.fit(&self.places);
    }

    fn end_round(&self, state: &mut State, elapsed: Duration) {
        let (received, complaints) = (
            self.received.load(Ordering::Relaxed),
            complaints(&self.origin),
        );
        let round = Round {
            bytes: received - state.received_before,
            elapsed,
            saturated: self.saturated.swap(false, Ordering::Relaxed)
                || self.waiting.load(Ordering::Relaxed) > 0,
            throttled: complaints > state.complaints_before,
        };
        state.settling = if state.settling && !round.throttled {
            false
        } else {
            state.climb.learn(&round)
        };
        state.ended = 0;
        state.began = Instant::now();
        state.received_before = received;
        state.complaints_before = complaints;
    }
}

impl State {
    /// Places that prefetch should have: at least one, so that a plan goes on slowly
    /// where readers keep the origin busy.
    fn wanted(&self) -> usize {
        self.climb.limit().saturating_sub(self.demand).max(1)
    }

    /// Makes places or takes free ones away. Those that are in use go when they are
    /// given back.
    fn fit(&mut self, places: &Semaphore) {
        let wanted = self.wanted();
        if wanted > self.places {
            places.add_permits(wanted - self.places);
            self.places = wanted;
        } else if wanted < self.places {
            self.places -= places.forget_permits(self.places - wanted);
        }
    }
}

/// Counts one who waits, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.gate.leave(permit);
        }
    }
}

impl Drop for DemandFlight {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.demand -= 1;
        state.fit(&self.0.places);
    }
}

/// How often the origin asked for fewer requests, or could not answer.
fn complaints(origin: &OriginStats) -> u64 {
    origin.errors(ErrorKind::Throttled) + origin.errors(ErrorKind::Unavailable)
}

#[cfg(test)]
mod tests;
