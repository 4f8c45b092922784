//! The cache for other processes of this machine: the server's end of the Unix socket
//! whose protocol is [`forebay_proto::local`].
//!
//! A connection reads requests and answers what it can at once; what must wait is a task
//! of its own, so that a reader that waits for an origin holds up no other. A client that
//! breaks the protocol is disconnected and harms nobody else. Its leases outlive it for a
//! grace time: a client that is upgraded or crashes finds its objects still here.

use std::fmt;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use forebay_core::cache::{Cache, CacheError};
use forebay_core::manifest::VersionId;
use forebay_proto::local::{Attach, Report, StoredVersion, Welcome};
use futures::future::BoxFuture;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::control::{self, ControlPort};
use crate::node::{NodeCache, Summary, WarmupProgress};

mod answer;
mod connection;
mod leases;
mod peer;
mod places;
mod socket;
mod stats;

pub use socket::{BindError, Listening, bind};
pub use stats::ClientStats;

use connection::{Connection, HANDSHAKE};

/// A dataset version that has been made readable.
#[derive(Debug)]
pub struct Attached {
    /// The version.
    pub version: VersionId,
    /// Its manifest, open for reading.
    pub manifest: File,
    /// Whether it is an old one because the sources do not answer.
    pub origin_unreachable: bool,
}

/// What clients may ask for beside bytes: datasets, by the names that the server's
/// configuration gives them. A client never names a source, so it can make the server
/// use its credentials for nothing else.
pub trait Datasets: Send + Sync + fmt::Debug {
    /// Makes a version readable. `listed` is told how a listing goes: objects, and their
    /// bytes.
    fn attach<'a>(
        &'a self,
        attach: Attach,
        listed: &'a (dyn Fn(u64, u64) + Send + Sync),
    ) -> BoxFuture<'a, Result<Attached, CacheError>>;

    /// The stored versions of a dataset, the one listed last first.
    fn versions(&self, dataset: String) -> BoxFuture<'_, Result<Vec<StoredVersion>, CacheError>>;

    /// What of a version is cached, and what the server has done.
    fn report(&self, version: VersionId) -> BoxFuture<'_, Result<Report, CacheError>>;

    /// Brings the files in `runs` (first entry, number of entries; from a client, so
    /// neither ascending nor within the manifest) into the cache and verifies them.
    fn warmup<'a>(
        &'a self,
        version: VersionId,
        runs: Vec<(u32, u32)>,
        progress: &'a WarmupProgress,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Summary, CacheError>>;
}

/// Limits of the clients of this machine.
#[derive(Clone, Debug)]
pub struct LocalConfig {
    /// Requests that one client may have unanswered.
    ///
    /// 4096: a mount has at most some hundred reads under way, each of them one request,
    /// and a waiting request costs a few hundred bytes.
    pub in_flight: u32,
    /// How long the leases of a client outlast its connection.
    pub grace: Duration,
    /// The group whose members may connect, beside root and the server's own user.
    pub group: Option<u32>,
    /// Where connections for control calls go, if anybody takes them.
    pub control: Option<ControlPort>,
}

impl Default for LocalConfig {
    fn default() -> Self {
        Self {
            in_flight: 4096,
            grace: Duration::from_secs(10),
            group: None,
            control: None,
        }
    }
}

/// Serves the cache to other processes of this machine.
#[derive(Debug)]
pub struct LocalServer {
    node: Arc<NodeCache>,
    datasets: Arc<dyn Datasets>,
    config: LocalConfig,
    stats: Arc<ClientStats>,
    /// Told to clients, so that they can tell two runs of the server apart.
    run: u64,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl LocalServer {
    /// A server of the cache of `node`, in which every version that `datasets` attaches can be read.
    /// It serves until `stop`.
    pub fn new(
        node: Arc<NodeCache>,
        datasets: Arc<dyn Datasets>,
        config: LocalConfig,
        stop: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            node,
            datasets,
            config,
            stats: Arc::default(),
            run: rand::random(),
            tasks: TaskTracker::new(),
            stop,
        })
    }

    /// What clients hold and have asked for.
    pub fn stats(&self) -> &Arc<ClientStats> {
        &self.stats
    }

    /// Accepts and serves clients until the server is stopped; returns when every
    /// connection has ended.
    pub async fn serve(self: Arc<Self>, listener: Listening) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok(stream) => self.welcome(stream),
                Err(error) => {
                    // Out of descriptors, most likely: clients that leave give some back.
                    tracing::warn!(%error, "a client could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        // A successor may take the name while the connections end.
        drop(listener);
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn welcome(self: &Arc<Self>, stream: UnixStream) {
        let peer = match peer::identify(&stream, self.config.group) {
            Ok(peer) => peer,
            Err(refusal) => {
                self.stats.refused();
                tracing::warn!(reason = %refusal, "refused a client");
                return;
            }
        };
        let server = Arc::clone(self);
        self.tasks.spawn(async move {
            let stop = server.stop.clone();
            let Some(stream) = server.unless_control(stream).await else {
                return;
            };
            let connection = Connection::serve(&server, stream, &peer);
            // A server that ends takes its connections with it.
            let _ = stop.run_until_cancelled(connection).await;
        });
    }

    /// The connection of a client. One for control calls is handed over, and one that says
    /// nothing is closed.
    async fn unless_control(&self, stream: UnixStream) -> Option<UnixStream> {
        let first = tokio::time::timeout(HANDSHAKE, control::peek_first(&stream));
        let first = first.await.ok()?.ok()?;
        match &self.config.control {
            Some(control) if control::is_control(&first) => {
                control.hand_over(stream, BytesMut::new(), None).await;
                None
            }
            _ => Some(stream),
        }
    }

    fn greeting(&self, version: u16) -> Welcome {
        Welcome {
            version,
            server: self.run,
            in_flight: self.config.in_flight,
            grace_ms: u32::try_from(self.config.grace.as_millis()).unwrap_or(u32::MAX),
            usage: self.node.usage(),
        }
    }
}
