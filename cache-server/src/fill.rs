//! The miss path: one fetch for any number of readers.
//!
//! A **flight** is one origin read of a run of bytes, on its way into the store. Flights
//! are listed under the chunks that they touch and never overlap, so a second reader of
//! the same bytes waits for the first one's flight instead of asking the origin again. A
//! flight is a task of its own: a reader that gives up stops waiting, and the flight goes
//! on for the others.
//!
//! A reader in sequence gets whole chunks. One that jumps gets the pages that it asks for
//! and no others, until so much of a chunk is here that the rest is worth having.
//!
//! Readers that wait go first. A prefetch is admitted *before* its chunks are listed as in
//! flight, so that a reader never queues behind prefetch that has not begun (see
//! [`crate::prefetch`] for who is admitted).
//!
//! Where the store has no room, bytes go to the **transient** cache instead: a small
//! byte-bounded map from which the waiting readers take them. They read through, and get
//! no error for a full disk.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use forebay_core::cache::{Availability, CacheError};
use forebay_core::{ByteRange, ErrorKind, chunk};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::dataset::Target;
use crate::origin::OriginStats;
use crate::prefetch::{Admission, Prefetch, PrefetchConfig, PrefetchSnapshot};
use crate::store::ObjectLease;

mod ahead;
mod board;
mod flight;
mod gaps;
mod passing;
mod pattern;
mod stats;
mod transfer;
mod transient;
mod whole;

pub use stats::{FillSnapshot, FillStats};

use board::Board;
use flight::Flight;
use gaps::Grain;
use pattern::Pattern;
use transient::{Owner, Transient};

/// Origin reads that one reader's wait begins at most: a chunk of many extents has as
/// many gaps.
const MOST_GAPS: usize = 16;

/// More connections than this make no origin faster.
const MOST_DEMAND_FLIGHTS: usize = 128;
/// Fewer would make a single reader of several files wait for itself.
const LEAST_DEMAND_FLIGHTS: usize = 4;

/// Room for what 64 readers wait for.
const MOST_TRANSIENT_BYTES: u64 = 64 << 20;
/// Room for what the fewest flights bring.
const LEAST_TRANSIENT_BYTES: u64 = 8 << 20;

/// How long a reader waits before it tries again to open a file, when the process is
/// short of descriptors.
const DESCRIPTOR_WAIT: Duration = Duration::from_millis(100);

/// Limits of the miss path.
#[derive(Clone, Debug)]
pub struct FillConfig {
    /// Longest wait of one reader, whatever happens below.
    pub origin_timeout: Duration,
    /// Bytes of one origin read ahead of a reader; a multiple of the chunk size.
    ///
    /// 8 MiB: large enough that the time to the first byte of a far bucket (20 to
    /// 100 ms) is small beside the transfer. In a cluster it is a segment, which is less.
    pub part_bytes: u64,
    /// Origin reads at once for readers that wait; each has up to two chunks in memory.
    pub demand_flights: usize,
    /// Limits of what is fetched ahead of readers.
    pub prefetch: PrefetchConfig,
    /// What the origins say of the requests to them: prefetch slows down when they ask.
    pub origin_stats: Arc<OriginStats>,
    /// Bytes of chunks that are passed on without being kept.
    pub transient_bytes: u64,
}

impl Default for FillConfig {
    fn default() -> Self {
        Self {
            origin_timeout: Duration::from_secs(60),
            part_bytes: 8 << 20,
            demand_flights: MOST_DEMAND_FLIGHTS,
            prefetch: PrefetchConfig::default(),
            origin_stats: Arc::default(),
            transient_bytes: MOST_TRANSIENT_BYTES,
        }
    }
}

impl FillConfig {
    /// The defaults, but for a process that may use `memory` bytes no more than a quarter
    /// of those for readers that wait and an eighth for bytes that find no room in the
    /// store. An eighth is prefetch's; the rest is left to all else.
    pub fn within(memory: u64) -> Self {
        let flights = memory / 4 / (2 * chunk::CHUNK_SIZE);
        let flights = usize::try_from(flights).unwrap_or(usize::MAX);
        Self {
            demand_flights: flights.clamp(LEAST_DEMAND_FLIGHTS, MOST_DEMAND_FLIGHTS),
            transient_bytes: (memory / 8).clamp(LEAST_TRANSIENT_BYTES, MOST_TRANSIENT_BYTES),
            ..Self::default()
        }
    }
}

/// An object that somebody reads: what it is and what of it is here.
#[derive(Debug)]
pub struct OpenObject {
    /// What to fetch, and from where.
    pub target: Target,
    /// What the store has.
    pub lease: ObjectLease,
    pattern: Pattern,
}

impl OpenObject {
    /// An object that has not been read yet.
    pub fn new(target: Target, lease: ObjectLease) -> Self {
        Self {
            target,
            lease,
            pattern: Pattern::default(),
        }
    }
}

/// The flights of a node.
#[derive(Debug)]
pub struct Fills {
    config: FillConfig,
    // Held for look-ups and inserts only, never over an await.
    flights: Mutex<Board>,
    transient: Transient,
    demand: Arc<Semaphore>,
    ahead: Prefetch,
    tasks: TaskTracker,
    cancel: CancellationToken,
    stats: FillStats,
}

impl Fills {
    /// The miss path of one node.
    pub fn new(config: FillConfig) -> Arc<Self> {
        Arc::new(Self {
            flights: Mutex::default(),
            transient: Transient::new(config.transient_bytes),
            demand: Arc::new(Semaphore::new(config.demand_flights)),
            ahead: Prefetch::new(
                &config.prefetch,
                config.part_bytes,
                Arc::clone(&config.origin_stats),
            ),
            tasks: TaskTracker::new(),
            cancel: CancellationToken::new(),
            stats: FillStats::default(),
            config,
        })
    }

    /// What the miss path has done so far.
    pub fn stats(&self) -> &FillStats {
        &self.stats
    }

    /// What prefetch does now and has done.
    pub fn prefetch(&self) -> PrefetchSnapshot {
        self.ahead.snapshot()
    }

    /// Makes `range` of `object` readable and says where it lies.
    ///
    /// # Errors
    /// The class of the origin's answer; [`ErrorKind::TimedOut`] after
    /// `origin_timeout`; [`ErrorKind::Cancelled`] once the node shuts down.
    ///
    /// # Cancel safety
    /// Dropping the future gives up waiting; what was begun goes on.
    pub async fn ensure(
        self: &Arc<Self>,
        object: &Arc<OpenObject>,
        range: ByteRange,
    ) -> Result<Availability, CacheError> {
        // The retries below have the same limit; the second more lets their message,
        // which knows the cause, come first.
        let limit = self.config.origin_timeout + Duration::from_secs(1);
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(shutting_down()),
            answer = tokio::time::timeout(limit, self.make_ready(object, range)) => {
                answer.unwrap_or_else(|_| Err(timed_out(object, range, limit)))
            }
        }
    }

    async fn make_ready(
        self: &Arc<Self>,
        object: &Arc<OpenObject>,
        range: ByteRange,
    ) -> Result<Availability, CacheError> {
        object.pattern.observe(range);
        loop {
            if let Some(absent) = object.lease.first_absent(range) {
                if self.transient.from(Owner::of(object), absent).is_some() {
                    return self.collect(object, range).await.map(Availability::Inline);
                }
                let rest = ByteRange::new(absent, range.end());
                let wanted = if rest == range {
                    Wanted::Anywhere
                } else {
                    Wanted::InPlace
                };
                if let Some(bytes) = self.bring(object, rest, wanted).await? {
                    return Ok(Availability::Inline(bytes));
                }
            } else if range.is_empty() {
                return Ok(Availability::Inline(Bytes::new()));
            } else if let Some(backing) = object.lease.backing() {
                return Ok(Availability::Backed(backing));
            } else if object.lease.first_absent(range).is_none() {
                // All is here, and only cannot be opened now. A file that is gone or cut
                // short would have taken its chunks along.
                tokio::time::sleep(DESCRIPTOR_WAIT).await;
            }
        }
    }

    /// Brings the first byte of `range`, and what comes with it, within reach: verified,
    /// fetched into the store or fetched into the transient cache. The bytes themselves
    /// if they are wanted, and not filed yet.
    async fn bring(
        self: &Arc<Self>,
        object: &Arc<OpenObject>,
        range: ByteRange,
        wanted: Wanted,
    ) -> Result<Option<Bytes>, CacheError> {
        if is_held(object, range.start()) {
            self.verify(object, chunk::covering(range)).await;
            return Ok(None);
        }
        let Some(boarded) = self.join_or_start(object, range) else {
            return Ok(None);
        };
        let waited = match wanted {
            Wanted::Anywhere => boarded.flight.wait_for_bytes(range).await,
            Wanted::InPlace => boarded.flight.wait_for(range.end()).await.map(|()| None),
        };
        match waited {
            // Another's flight may have begun long before this reader came, and its time
            // may be up while the reader's is not.
            Err(error) if !boarded.ours && error.kind.is_retryable() => Ok(None),
            outcome => outcome,
        }
    }

    /// Checks the chunks that an earlier process recorded, on a blocking thread; breaks
    /// off when the node shuts down.
    async fn verify(&self, object: &Arc<OpenObject>, chunks: Range<u64>) {
        let (object, cancel) = (Arc::clone(object), self.cancel.clone());
        let check = move || {
            for index in chunks.take_while(|_| !cancel.is_cancelled()) {
                object.lease.verify(index);
            }
        };
        // A join error is a panic there; the chunk stays unverified and the caller's
        // deadline ends the wait.
        if let Err(error) = tokio::task::spawn_blocking(check).await {
            tracing::error!(%error, "verification of cached chunks broke off");
        }
    }

    /// The flight that brings the first byte of `range` to a reader: the one under way,
    /// or a new one. With it begin those for what else the reader needs. `None` if the
    /// byte is there by now.
    fn join_or_start(
        self: &Arc<Self>,
        object: &Arc<OpenObject>,
        range: ByteRange,
    ) -> Option<Boarded> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(boarded) = self.join(object, &flights, range.start()) {
            return Some(boarded);
        }
        // With the lock: a flight is struck off the list only after its bytes are in the
        // store, so "not listed" and "not here" together mean that nobody fetches them.
        let gaps = self.gaps(object, &flights, range, Self::grain(object, range));
        let first = gaps.iter().position(|gap| contains(*gap, range.start()))?;
        let flight = self.start(object, &mut flights, gaps[first], Urgency::Demand);
        let others = gaps.iter().enumerate().filter(|(at, _)| *at != first);
        for (_, gap) in others.take(MOST_GAPS - 1) {
            self.start(object, &mut flights, *gap, Urgency::Demand);
        }
        Some(Boarded { flight, ours: true })
    }

    /// The flight that brings the first byte of `range` ahead of a reader: the one under
    /// way, or a new one up to where something is here already.
    fn board_ahead(
        self: &Arc<Self>,
        object: &Arc<OpenObject>,
        range: ByteRange,
        grain: Grain,
        admission: Admission,
    ) -> Option<Arc<Flight>> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(boarded) = self.join(object, &flights, range.start()) {
            return Some(boarded.flight);
        }
        let gaps = self.gaps(object, &flights, range, grain);
        let gap = gaps.into_iter().find(|gap| contains(*gap, range.start()))?;
        Some(self.start(object, &mut flights, gap, Urgency::Prefetch(admission)))
    }

    fn join(&self, object: &OpenObject, flights: &Board, at: u64) -> Option<Boarded> {
        let flight = flights.bringing(object.target.id, at)?;
        self.stats.joined();
        Some(Boarded {
            flight: Arc::clone(flight),
            ours: false,
        })
    }

    fn start(
        self: &Arc<Self>,
        object: &Arc<OpenObject>,
        flights: &mut Board,
        range: ByteRange,
        urgency: Urgency,
    ) -> Arc<Flight> {
        let flight = Arc::new(Flight::new(range));
        flights.list(object.target.id, &flight);
        self.launch(Arc::clone(object), Arc::clone(&flight), urgency);
        flight
    }

    fn launch(self: &Arc<Self>, object: Arc<OpenObject>, flight: Arc<Flight>, urgency: Urgency) {
        let fills = Arc::clone(self);
        self.tasks.spawn(async move {
            let outcome = fills.fly(&object, &flight, urgency).await;
            {
                let mut flights = fills.flights.lock().unwrap_or_else(PoisonError::into_inner);
                flights.strike(object.target.id, &flight);
            }
            flight.finish(outcome);
        });
    }

    async fn fly(
        self: &Arc<Self>,
        object: &Arc<OpenObject>,
        flight: &Arc<Flight>,
        urgency: Urgency,
    ) -> Result<(), CacheError> {
        // Held to the end, whichever it is.
        let _permit = match urgency {
            Urgency::Prefetch(admission) => (Some(admission), None, None),
            Urgency::Demand => {
                let acquired = Arc::clone(&self.demand).acquire_owned().await;
                let permit = acquired.map_err(|_| shutting_down())?;
                (None, Some(permit), Some(self.ahead.demand()))
            }
        };
        let _timed = self.stats.begin();
        let outcome = tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(shutting_down()),
            outcome = self.transfer(object, flight) => outcome,
        };
        if let Err(error) = &outcome {
            self.stats.failed();
            tracing::debug!(%error, object = %object.target.name(), "fill failed");
        }
        outcome
    }

    /// Ends every wait with [`ErrorKind::Cancelled`], and returns when no flight is left.
    pub async fn shutdown(&self) {
        self.cancel.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Spawns `work` as a task that [`shutdown`](Self::shutdown) waits for. It must end
    /// soon after the cancellation.
    pub fn spawn_on(
        &self,
        runtime: &tokio::runtime::Handle,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        self.tasks.spawn_on(work, runtime);
    }
}

/// A flight that brings what is wanted.
struct Boarded {
    flight: Arc<Flight>,
    /// Whether it was begun for this very request.
    ours: bool,
}

/// Where bytes must be for who waits for them.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    /// In the store, or in the transient cache.
    InPlace,
    /// There, or on the way there.
    Anywhere,
}

/// Who waits for a flight.
enum Urgency {
    /// A reader, now.
    Demand,
    /// Nobody yet; the admission bounds how many of these there are.
    Prefetch(Admission),
}

/// Whether byte `at` is here, verified or not.
fn is_held(object: &OpenObject, at: u64) -> bool {
    let held = object.lease.held(at / chunk::CHUNK_SIZE);
    held.into_iter().any(|held| contains(held, at))
}

fn contains(range: ByteRange, at: u64) -> bool {
    (range.start()..range.end()).contains(&at)
}

/// The end of the chunk that byte `at` is in.
fn chunk_end(at: u64) -> u64 {
    (at / chunk::CHUNK_SIZE + 1).saturating_mul(chunk::CHUNK_SIZE)
}

fn shutting_down() -> CacheError {
    CacheError::new(ErrorKind::Cancelled, "the cache is shutting down")
}

fn timed_out(object: &OpenObject, range: ByteRange, limit: Duration) -> CacheError {
    let name = object.target.name();
    let message = format!(
        "no answer within {} s for bytes {range} of {name}",
        limit.as_secs()
    );
    CacheError::new(ErrorKind::TimedOut, message)
}

fn no_room(object: &OpenObject) -> CacheError {
    let message = format!("the cache has no room to keep {}", object.target.name());
    CacheError::new(ErrorKind::NoSpace, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_memory_makes_limits_that_fit_into_it_and_much_leaves_the_defaults() {
        for memory in [0, 64 << 20, 128 << 20, 1 << 30] {
            let limits = FillConfig::within(memory);
            let flights = limits.demand_flights as u64 * 2 * chunk::CHUNK_SIZE;
            assert!(limits.demand_flights >= LEAST_DEMAND_FLIGHTS);
            assert!(limits.transient_bytes >= LEAST_TRANSIENT_BYTES);
            assert!(memory == 0 || flights + limits.transient_bytes <= memory * 3 / 8);
        }
        let (much, usual) = (FillConfig::within(u64::MAX), FillConfig::default());
        assert_eq!(much.demand_flights, usual.demand_flights);
        assert_eq!(much.transient_bytes, usual.transient_bytes);
    }
}
