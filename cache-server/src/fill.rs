//! The miss path: one fetch for any number of readers.
//!
//! A **flight** is one origin read of a run of chunks, on its way into the store. Every
//! chunk in flight is listed once, so a second reader of the same chunk waits for the
//! first one's flight instead of asking the origin again. A flight is a task of its own:
//! a reader that gives up stops waiting, and the flight goes on for the others.
//!
//! Readers that wait go first. A prefetch is admitted *before* its chunks are listed as in
//! flight, so that a reader never queues behind prefetch that has not begun (see
//! [`crate::prefetch`] for who is admitted).
//!
//! Where the store has no room, a chunk goes to the **transient** cache instead: a small
//! byte-bounded map from which the waiting readers take it. They read through, and get
//! no error for a full disk.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use forebay_core::cache::{Availability, CacheError};
use forebay_core::{ByteRange, ErrorKind, ObjectId, chunk};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::dataset::Target;
use crate::origin::OriginStats;
use crate::prefetch::{Admission, Prefetch, PrefetchConfig, PrefetchSnapshot};
use crate::store::{ChunkState, ObjectLease};

mod ahead;
mod flight;
mod stats;
mod transfer;
mod whole;

pub use stats::{FillSnapshot, FillStats};

use flight::Flight;

/// Limits of the miss path.
#[derive(Clone, Debug)]
pub struct FillConfig {
    /// Longest wait of one reader, whatever happens below.
    pub origin_timeout: Duration,
    /// Bytes of one origin read ahead of a reader; a multiple of the chunk size.
    ///
    /// 8 MiB: large enough that the time to the first byte of a far bucket (20 to
    /// 100 ms) is small beside the transfer.
    pub part_bytes: u64,
    /// Origin reads at once for readers that wait.
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
            demand_flights: 128,
            prefetch: PrefetchConfig::default(),
            origin_stats: Arc::default(),
            transient_bytes: 64 << 20,
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
}

type ChunkKey = (ObjectId, u64);

/// The flights of a node.
#[derive(Debug)]
pub struct Fills {
    config: FillConfig,
    // Held for look-ups and inserts only, never over an await.
    flights: Mutex<HashMap<ChunkKey, Arc<Flight>>>,
    transient: moka::sync::Cache<ChunkKey, Bytes>,
    demand: Arc<Semaphore>,
    ahead: Prefetch,
    tasks: TaskTracker,
    cancel: CancellationToken,
    stats: FillStats,
}

impl Fills {
    /// The miss path of one node.
    pub fn new(config: FillConfig) -> Arc<Self> {
        let transient = moka::sync::Cache::builder()
            .weigher(|_: &ChunkKey, bytes: &Bytes| u32::try_from(bytes.len()).unwrap_or(u32::MAX))
            .max_capacity(config.transient_bytes)
            // A chunk that nobody took within this time is not wanted any more.
            .time_to_live(Duration::from_secs(10))
            .build();
        Arc::new(Self {
            flights: Mutex::default(),
            transient,
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
        let chunks = chunk::covering(range);
        loop {
            let Some(missing) = object.lease.first_not_present(chunks.clone()) else {
                match object.lease.backing() {
                    Some(backing) => return Ok(Availability::Backed(backing)),
                    None if range.is_empty() => return Ok(Availability::Inline(Bytes::new())),
                    // Present without a file that can be opened: somebody removed it
                    // under us. Forget it and fetch it again.
                    None => {
                        chunks.clone().for_each(|chunk| object.lease.discard(chunk));
                        continue;
                    }
                }
            };
            if self.transient.contains_key(&(object.target.id, missing)) {
                return self.collect(object, range).await.map(Availability::Inline);
            }
            self.bring(object, missing..chunks.end).await?;
        }
    }

    /// Brings the first chunk of `chunks` within reach: verified, fetched into the store
    /// or fetched into the transient cache.
    async fn bring(
        self: &Arc<Self>,
        object: &Arc<OpenObject>,
        chunks: Range<u64>,
    ) -> Result<(), CacheError> {
        match object.lease.state(chunks.start) {
            ChunkState::Present => Ok(()),
            ChunkState::Unverified => {
                self.verify(object, chunks).await;
                Ok(())
            }
            ChunkState::Missing => {
                let first = chunks.start;
                let Some(boarded) = self.join_or_start(object, chunks, Urgency::Demand) else {
                    return Ok(());
                };
                match boarded.flight.wait_for(first).await {
                    // Another's flight may have begun long before this reader came, and
                    // its time may be up while the reader's is not.
                    Err(error) if !boarded.ours && error.kind.is_retryable() => Ok(()),
                    outcome => outcome,
                }
            }
        }
    }

    /// Reads a range whose chunks are not all in the store into one buffer.
    async fn collect(
        self: &Arc<Self>,
        object: &Arc<OpenObject>,
        range: ByteRange,
    ) -> Result<Bytes, CacheError> {
        let mut joined = BytesMut::with_capacity(usize::try_from(range.len()).unwrap_or(0));
        for index in chunk::covering(range) {
            let whole = chunk::range(index, object.target.size);
            let bytes = self.chunk_bytes(object, index).await?;
            let from = range.start().max(whole.start()) - whole.start();
            let to = range.end().min(whole.end()) - whole.start();
            joined.extend_from_slice(&bytes[from as usize..to as usize]);
        }
        Ok(joined.freeze())
    }

    async fn chunk_bytes(
        self: &Arc<Self>,
        object: &Arc<OpenObject>,
        index: u64,
    ) -> Result<Bytes, CacheError> {
        loop {
            if let Some(bytes) = self.transient.get(&(object.target.id, index)) {
                return Ok(bytes);
            }
            if object.lease.state(index) == ChunkState::Present
                && let Some(bytes) = self.read_back(object, index).await
            {
                return Ok(bytes);
            }
            self.bring(object, index..index + 1).await?;
        }
    }

    /// A present chunk's bytes; `None`, and the chunk forgotten, if they cannot be read.
    async fn read_back(&self, object: &Arc<OpenObject>, index: u64) -> Option<Bytes> {
        let object = Arc::clone(object);
        let read = move || {
            let backing = object.lease.backing()?;
            let range = chunk::range(index, object.target.size);
            let mut buffer = vec![0; range.len() as usize];
            let at = backing.offset + range.start();
            match std::os::unix::fs::FileExt::read_exact_at(&*backing.file, &mut buffer, at) {
                Ok(()) => Some(Bytes::from(buffer)),
                Err(error) => {
                    tracing::warn!(%error, object = %object.target.name(), chunk = index, "cached chunk unreadable");
                    object.lease.discard(index);
                    None
                }
            }
        };
        tokio::task::spawn_blocking(read).await.ok().flatten()
    }

    /// Checks the chunks that an earlier process recorded, on a blocking thread; breaks
    /// off when the node shuts down.
    async fn verify(&self, object: &Arc<OpenObject>, chunks: Range<u64>) {
        let (object, cancel) = (Arc::clone(object), self.cancel.clone());
        let check = move || {
            for index in chunks.take_while(|_| !cancel.is_cancelled()) {
                if object.lease.state(index) == ChunkState::Unverified {
                    object.lease.verify(index);
                }
            }
        };
        // A join error is a panic there; the chunk stays unverified and the caller's
        // deadline ends the wait.
        if let Err(error) = tokio::task::spawn_blocking(check).await {
            tracing::error!(%error, "verification of cached chunks broke off");
        }
    }

    /// The flight that brings the first of `chunks`: the one under way, or a new one for
    /// that chunk and the missing ones behind it. `None` if the chunk is there by now.
    fn join_or_start(
        self: &Arc<Self>,
        object: &Arc<OpenObject>,
        chunks: Range<u64>,
        urgency: Urgency,
    ) -> Option<Boarded> {
        let id = object.target.id;
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(&(id, chunks.start)) {
            self.stats.joined();
            return Some(Boarded {
                flight: Arc::clone(flight),
                ours: false,
            });
        }
        // Look again under the lock: a flight takes itself off the list only after its
        // chunks are in the store, so "not listed" and "missing" together mean that
        // nobody fetches it.
        let wanted = |index: u64| {
            object.lease.state(index) == ChunkState::Missing && !flights.contains_key(&(id, index))
        };
        if !wanted(chunks.start) || self.transient.contains_key(&(id, chunks.start)) {
            return None;
        }
        let end = (chunks.start + 1..chunks.end)
            .find(|&i| !wanted(i))
            .unwrap_or(chunks.end);
        let flight = Arc::new(Flight::new(chunks.start..end));
        for index in flight.chunks() {
            flights.insert((id, index), Arc::clone(&flight));
        }
        drop(flights);
        self.launch(Arc::clone(object), Arc::clone(&flight), urgency);
        Some(Boarded { flight, ours: true })
    }

    fn launch(self: &Arc<Self>, object: Arc<OpenObject>, flight: Arc<Flight>, urgency: Urgency) {
        let fills = Arc::clone(self);
        self.tasks.spawn(async move {
            let outcome = fills.fly(&object, &flight, urgency).await;
            {
                let mut flights = fills.flights.lock().unwrap_or_else(PoisonError::into_inner);
                for index in flight.chunks() {
                    flights.remove(&(object.target.id, index));
                }
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

/// A flight that brings a wanted chunk.
struct Boarded {
    flight: Arc<Flight>,
    /// Whether it was begun for this very request.
    ours: bool,
}

/// Who waits for a flight.
enum Urgency {
    /// A reader, now.
    Demand,
    /// Nobody yet; the admission bounds how many of these there are.
    Prefetch(Admission),
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
