//! The process of a cache server: one cache for all mounts of a machine.
//!
//! It starts from the bottom up (directories, store, sockets) and contacts no source
//! until a mount asks for a dataset: a server is up whether its origins are or not. It
//! ends from the top down: no new clients, then the connections, then the cache is made
//! durable. What mounts have open stays readable meanwhile, and they wait for the next
//! server.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use forebay_cache_server::control;
use forebay_cache_server::local::{self, BindError, Listening, LocalConfig, LocalServer};
use forebay_cache_server::node::NodeCache;
use forebay_cache_server::source::OriginConfig;
use forebay_core::metric::{self, Measured, Reading};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::ServerConfig;
use crate::config::cache_dir::{self, CacheDirs};
use crate::exit::{Exit, Failure};
use crate::{http, node};

mod calls;
mod datasets;
mod peers;
mod status;
mod warmups;

use calls::{Calls, Controls};
use datasets::Served;
use peers::{Peers, Serving};
use status::StatusService;
use warmups::WarmupService;

/// A cache server that is ready.
#[derive(Debug)]
pub struct ServerProcess {
    dirs: CacheDirs,
    node: Arc<NodeCache>,
    local: Arc<LocalServer>,
    listening: Listening,
    http: Option<JoinHandle<std::io::Result<()>>>,
    peers: Option<Serving>,
    warmups: Arc<WarmupService>,
    controls: Controls,
    stop: CancellationToken,
}

impl ServerProcess {
    /// Opens the cache and listens. `run_base` is where its sockets are by default.
    ///
    /// # Errors
    /// The [`Failure`] of the first step that failed.
    pub async fn start(config: &ServerConfig, run_base: &Path) -> Result<Self, Failure> {
        let dirs = CacheDirs::prepare(&config.cache, cache_dir::of_server)?;
        let socket = match &config.socket {
            Some(socket) => socket.clone(),
            None => default_socket(run_base)?,
        };
        let origin = OriginConfig {
            timeout: config.origin_timeout,
            ..OriginConfig::default()
        };
        let served = Served::open(config, &dirs, &origin)?;
        let listening = local::bind(&socket, config.group)?;
        let stop = CancellationToken::new();
        let peers = match &config.cluster {
            Some(cluster) => Some(Peers::join(cluster, &stop).await?),
            None => None,
        };
        let terms = config.terms.clone();
        let in_cluster = peers.is_some();
        let node = node::start(&dirs, &config.cache, terms, &origin, in_cluster).await?;
        served.assign(&node);
        // Only now, so that what is plainly wrong is told in one line and nothing else.
        tracing::info!(config = %config.summary(), "effective configuration");
        let cluster = peers.as_ref().map(|peers| Arc::clone(peers.cluster()));
        let (members, from_members) = control::port();
        let (here, from_here) = control::port();
        let peers = peers.map(|peers| peers.serve(&node, served.origins(), members));
        let served = Arc::new(served.over(Arc::clone(&node), &dirs, cluster.clone()));
        let warmups = WarmupService::new(&served, &node, cluster.clone(), &dirs.root, &stop);
        let member = peers.as_ref().map(Serving::member_service);
        let status = StatusService::new(&node, cluster.clone());
        let calls = Calls::new(&warmups, status);
        let controls = Controls::serve(calls, from_here, from_members, member);
        warmups.resume();
        let limits = LocalConfig {
            grace: config.lease_grace,
            group: config.group,
            control: Some(here),
            ..LocalConfig::default()
        };
        let local = LocalServer::new(Arc::clone(&node), served, limits, stop.clone());
        let beside = socket.with_extension("metrics.sock");
        // Whoever bound the socket above is the only server of it.
        let _ = std::fs::remove_file(&beside);
        let endpoint = http::Endpoint::bind(config.metrics.as_ref(), beside).await?;
        let mut measured: Vec<Arc<dyn Measured>> = vec![
            Arc::new(Build),
            Arc::clone(&node) as _,
            Arc::clone(&origin.stats) as _,
            Arc::clone(local.stats()) as _,
        ];
        measured.extend(cluster.map(|cluster| Arc::clone(cluster.stats()) as _));
        Ok(Self {
            peers,
            warmups,
            controls,
            http: endpoint.map(|endpoint| endpoint.serve(measured, stop.clone())),
            dirs,
            node,
            local,
            listening,
            stop,
        })
    }

    /// Where clients connect.
    pub fn socket(&self) -> &Path {
        self.listening.path()
    }

    /// Serves until `signal` resolves; then ends.
    ///
    /// # Errors
    /// If the cache could not be closed.
    pub async fn serve(self, signal: impl Future<Output = ()>) -> Result<(), Failure> {
        let serving = tokio::spawn(Arc::clone(&self.local).serve(self.listening));
        signal.await;
        tracing::info!("asked to end by a signal");
        if let Some(peers) = self.peers {
            peers.leave().await;
        }
        self.stop.cancel();
        self.warmups.ended().await;
        self.controls.end().await;
        let clients = serving.await;
        let http = match self.http {
            Some(http) => http.await.map(drop),
            None => Ok(()),
        };
        tracing::debug!(?clients, ?http, "sockets closed");
        node::end(&self.node, &self.dirs).await
    }
}

/// Where a server listens that was told nothing else.
pub(crate) fn socket_in(run_base: &Path) -> PathBuf {
    run_base.join("cache.sock")
}

/// The default socket, in the run directory, which is made.
fn default_socket(run_base: &Path) -> Result<PathBuf, Failure> {
    use std::os::unix::fs::DirBuilderExt;
    // Others may pass: the socket itself says who may connect.
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(run_base);
    made.map_err(|error| {
        let text = format!("make the run directory {}: {error}", run_base.display());
        Failure::new(Exit::Failed, text).next("name the socket with --socket")
    })?;
    Ok(socket_in(run_base))
}

impl From<BindError> for Failure {
    fn from(error: BindError) -> Self {
        let step = match &error {
            BindError::InUse { .. } => "end that one first, or choose another with --socket",
            BindError::NotASocket { .. } | BindError::Io { .. } => "choose another with --socket",
            BindError::Group { .. } => "run as root or as a member, or leave out --group",
        };
        Self::new(Exit::Failed, error).next(step)
    }
}

/// Which build runs.
#[derive(Debug)]
struct Build;

impl Measured for Build {
    fn readings(&self) -> Vec<Reading> {
        let version = env!("CARGO_PKG_VERSION");
        vec![Reading::labelled(&metric::BUILD_INFO, version, 1)]
    }
}
