//! Another member: its connections, and how it is read from.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use forebay_proto::peer::{ReadRequest, Reply, Request};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::connection::{Connection, Connector, PeerError, Received};
use super::stats::ClusterStats;
use crate::origin::Piece;

/// Reads of one peer at once; more wait. With segments of 4 MiB this is 256 MiB on the way.
const READS_AT_ONCE: usize = 64;
/// Connections that are kept open while nobody uses them.
const MOST_IDLE: usize = 16;
/// How long a peer that works at a read may be silent: it may be waiting for its origin.
const STALL: Duration = Duration::from_secs(20);
/// How long the first sign of work may take, whatever was seen before.
const LONGEST_BEGIN: Duration = Duration::from_secs(2);
/// The bounds of the time after which another member is asked as well.
const HEDGE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// Another member of the cluster.
#[derive(Debug)]
pub(crate) struct Peer {
    name: String,
    connector: Arc<Connector>,
    // Held for a push or a pop.
    idle: Mutex<Vec<Connection>>,
    reads: Arc<Semaphore>,
    /// For control calls, once one was made.
    control: OnceLock<Channel>,
    /// Cancelled when the peer dies; a peer that comes back is another one.
    died: CancellationToken,
    /// About the 95th percentile of the time to the first sign of work, in microseconds.
    begin_micros: AtomicU64,
}

/// Bytes on their way from a peer.
#[derive(Debug)]
pub(crate) struct PeerBody {
    peer: Arc<Peer>,
    // None once the end has come.
    connection: Option<Connection>,
    _permit: OwnedSemaphorePermit,
}

impl Peer {
    pub(super) fn new(name: &str, connector: Arc<Connector>) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            connector,
            idle: Mutex::default(),
            reads: Arc::new(Semaphore::new(READS_AT_ONCE)),
            control: OnceLock::new(),
            died: CancellationToken::new(),
            begin_micros: AtomicU64::new(0),
        })
    }

    /// Its name, which is its address.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Breaks off whatever is under way to it.
    pub(super) fn bury(&self) {
        self.died.cancel();
        self.idle().clear();
    }

    /// The connection for control calls, which is made when it is used.
    pub(super) fn channel(&self) -> Channel {
        let open = || self.connector.channel(&self.name);
        self.control.get_or_init(open).clone()
    }

    /// The outcome of `work`; `None` if the peer dies meanwhile.
    pub(super) async fn while_alive<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.died.run_until_cancelled(work).await
    }

    /// After which time another member is asked as well.
    pub(crate) fn hedge_after(&self) -> Duration {
        let usual = Duration::from_micros(self.begin_micros.load(Ordering::Relaxed));
        (usual * 3).clamp(HEDGE.0, HEDGE.1)
    }

    /// Asks for bytes; returns when the peer has begun to work at it.
    pub(crate) async fn read(
        self: &Arc<Self>,
        request: &ReadRequest,
    ) -> Result<PeerBody, PeerError> {
        let begun = tokio::time::timeout(LONGEST_BEGIN, self.begin(request));
        tokio::select! {
            biased;
            () = self.died.cancelled() => Err(PeerError::Dead),
            begun = begun => begun.map_err(|_| PeerError::TimedOut(LONGEST_BEGIN))?,
        }
    }

    async fn begin(self: &Arc<Self>, request: &ReadRequest) -> Result<PeerBody, PeerError> {
        let permit = Arc::clone(&self.reads).acquire_owned().await;
        let permit = permit.map_err(|_| PeerError::Dead)?;
        let request = Request::Read(request.clone());
        let asked = Instant::now();
        let connection = match self.idle_connection() {
            // It may have been closed meanwhile: then a new one is tried.
            Some(connection) => match ask(connection, &request).await {
                Ok(connection) => connection,
                Err(PeerError::Frame(_)) => self.ask_anew(&request).await?,
                Err(error) => return Err(error),
            },
            None => self.ask_anew(&request).await?,
        };
        self.note_begin(asked.elapsed());
        Ok(PeerBody {
            peer: Arc::clone(self),
            connection: Some(connection),
            _permit: permit,
        })
    }

    async fn ask_anew(&self, request: &Request) -> Result<Connection, PeerError> {
        ask(self.connector.connect(&self.name).await?, request).await
    }

    /// Moves the estimate up fast and down slowly, so that it settles where one in twenty
    /// is slower.
    fn note_begin(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let old = self.begin_micros.load(Ordering::Relaxed);
        let step = (old / 50).max(10);
        let new = match took > old {
            true => old.saturating_add(19 * step).min(took),
            false => old.saturating_sub(step).max(took),
        };
        self.begin_micros.store(new, Ordering::Relaxed);
    }

    fn idle_connection(&self) -> Option<Connection> {
        self.idle().pop()
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle();
        if idle.len() < MOST_IDLE && !self.died.is_cancelled() {
            idle.push(connection);
        }
    }
}

async fn ask(mut connection: Connection, request: &Request) -> Result<Connection, PeerError> {
    connection.send(request).await?;
    match connection.receive().await? {
        Reply::Began => Ok(connection),
        Reply::Failed { message, .. } => Err(PeerError::Failed { message }),
        _ => Err(PeerError::OutOfTurn),
    }
}

impl PeerBody {
    /// The peer.
    pub(crate) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// Has the next bytes hold up the thread that waits for them.
    pub(super) fn hold(&mut self) -> Result<(), PeerError> {
        let connection = self.connection.as_mut();
        connection.map_or(Ok(()), Connection::hold)
    }

    /// The next bytes; `None` when all were sent.
    pub(crate) async fn next(&mut self) -> Result<Option<Piece>, PeerError> {
        let Some(connection) = &mut self.connection else {
            return Ok(None);
        };
        let reply = tokio::select! {
            biased;
            () = self.peer.died.cancelled() => return Err(PeerError::Dead),
            reply = tokio::time::timeout(STALL, connection.receive_data()) => reply,
        };
        match reply.map_err(|_| PeerError::TimedOut(STALL))?? {
            Received::Data(bytes, crc) => {
                let stats = &self.peer.connector.stats;
                ClusterStats::add(&stats.received_bytes, bytes.len());
                let crc = Some(crc);
                Ok(Some(Piece { bytes, crc }))
            }
            Received::Reply(Reply::End) => {
                if let Some(mut connection) = self.connection.take()
                    && connection.watch().is_ok()
                {
                    self.peer.keep(connection);
                }
                Ok(None)
            }
            Received::Reply(Reply::Failed { message, .. }) => Err(PeerError::Failed { message }),
            Received::Reply(_) => Err(PeerError::OutOfTurn),
        }
    }
}
