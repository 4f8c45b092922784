//! The process that serves a mount: where cache, origin, manifest and FUSE meet.
//!
//! A mount is made from the bottom up, and what can fail without a network is tried
//! first: run directory, mount point and `/dev/fuse`, cache directory, sources, store,
//! listing, sockets, mount. It ends from the top down: unmount, so that nobody asks any
//! more; end what still waits for an origin; make the cache durable; let go of the
//! directories.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use forebay_core::cache::Cache;
use forebay_core::manifest::Manifest;
use forebay_core::metric::Measured;
use forebay_fuse_client::{DatasetFs, Mount, MountError, MountOptions, Unmount};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::audience::Audience;
use crate::config::MountConfig;
use crate::exit::{Exit, Failure};
use crate::off_runtime::off_runtime;
use crate::rundir::{Claim, RunDir};
use crate::{control_server, http};

mod backend;
mod drift;
mod gauges;
mod plan;
mod selection;
mod service;
mod warmup;

pub use service::Service;

use gauges::Gauges;

/// How long calls under way on the sockets may take when the process ends.
const SOCKET_DRAIN: Duration = Duration::from_secs(5);

/// How a mount ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Whether files were still open.
    pub busy: bool,
}

/// Somebody who asked for the end of the mount, and waits to hear of it.
type StopRequest = oneshot::Sender<Result<Ended, Failure>>;

/// A mount that is served.
#[derive(Debug)]
pub struct MountProcess {
    service: Arc<Service>,
    stop_requests: mpsc::Receiver<StopRequest>,
    sockets: Sockets,
    claim: Claim,
}

/// The servers beside the mount, and how to end them.
#[derive(Debug)]
struct Sockets {
    stop: CancellationToken,
    control: tokio::task::JoinHandle<Result<(), tonic::transport::Error>>,
    http: Option<tokio::task::JoinHandle<std::io::Result<()>>>,
}

impl MountProcess {
    /// Makes the mount. When this returns, it is ready.
    ///
    /// # Errors
    /// The [`Failure`] of the first step that failed; what was done before it is undone.
    pub async fn start(
        config: &MountConfig,
        run_base: &Path,
        audience: &dyn Audience,
        cancel: &CancellationToken,
    ) -> Result<Self, Failure> {
        RunDir::refuse_held(run_base, &config.mountpoint)?;
        preflight(config).await?;
        let claim = RunDir::claim(run_base, &config.mountpoint)?;
        let (backend, shown) = backend::start(config, audience, cancel).await?;
        let endpoint =
            http::Endpoint::bind(config.metrics.as_ref(), claim.dir().metrics_socket()).await?;
        let control = control_server::bind(&claim.dir().control_socket())?;
        let mount = mount(config, Arc::clone(&shown.manifest), backend.cache()).await?;
        let (stop_sender, stop_requests) = mpsc::channel(8);
        let service = Arc::new(Service::new(service::Parts {
            mountpoint: config.mountpoint.clone(),
            run_dir: claim.dir().clone(),
            metrics: endpoint.as_ref().map(|found| found.address().to_owned()),
            backend,
            mount,
            shown,
            stop: stop_sender,
        }));
        let stop = CancellationToken::new();
        let mut measured = service.backend().measured();
        measured.push(Arc::new(Gauges::new(&service)) as Arc<dyn Measured>);
        let sockets = Sockets {
            control: control_server::serve(control, Arc::clone(&service), stop.clone()),
            http: endpoint.map(|endpoint| endpoint.serve(measured, stop.clone())),
            stop,
        };
        service.publish()?;
        Ok(Self {
            service,
            stop_requests,
            sockets,
            claim,
        })
    }

    /// What is mounted.
    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// Serves until `signal` resolves, somebody asks for the end, or the mount is taken
    /// away; then ends.
    ///
    /// # Errors
    /// If the mount cannot be taken away.
    pub async fn serve(mut self, signal: impl Future<Output = ()>) -> Result<Ended, Failure> {
        let mut asked_by = None;
        tokio::select! {
            () = signal => tracing::info!("asked to end by a signal"),
            request = self.stop_requests.recv() => asked_by = request,
            () = self.service.mount().wait() => tracing::info!("unmounted from outside"),
        }
        let ended = self.service.end().await;
        if let Some(asker) = asked_by {
            let told = match &ended {
                Ok(ended) => Ok(*ended),
                Err(failure) => Err(Failure::new(failure.exit(), failure.to_string())),
            };
            // Who asked may have gone; the mount has ended all the same.
            let _ = asker.send(told);
        }
        self.sockets.end().await;
        drop(self.claim);
        ended
    }
}

impl Sockets {
    async fn end(self) {
        self.stop.cancel();
        let drained = async {
            let control = self.control.await;
            let http = match self.http {
                Some(http) => http.await.map(drop),
                None => Ok(()),
            };
            tracing::debug!(?control, ?http, "sockets closed");
        };
        if tokio::time::timeout(SOCKET_DRAIN, drained).await.is_err() {
            tracing::warn!("calls on the control or metrics socket were cut off");
        }
    }
}

/// What is known to go wrong with the mount, before a listing that may take minutes.
async fn preflight(config: &MountConfig) -> Result<(), Failure> {
    let mountpoint = config.mountpoint.clone();
    let checked = off_runtime(move || forebay_fuse_client::preflight(&mountpoint)).await?;
    Ok(checked.map(drop)?)
}

async fn mount(
    config: &MountConfig,
    manifest: Arc<Manifest>,
    cache: Arc<dyn Cache>,
) -> Result<Mount, Failure> {
    let options = mount_options(config);
    let mountpoint = config.mountpoint.clone();
    let runtime = Handle::current();
    let make = move || {
        let tree = Arc::new(DatasetFs::new(manifest, cache, &options));
        Mount::start(tree, &mountpoint, &options, runtime)
    };
    Ok(off_runtime(make).await??)
}

fn mount_options(config: &MountConfig) -> MountOptions {
    let tree = &config.tree;
    let defaults = MountOptions::default();
    MountOptions {
        dataset: config.dataset_name().to_owned(),
        uid: tree.uid.unwrap_or(defaults.uid),
        gid: tree.gid.unwrap_or(defaults.gid),
        file_mode: tree.file_mode,
        dir_mode: tree.dir_mode,
        allow_other: tree.allow_other,
        open_mode: tree.open_mode.into(),
        read_ahead_kb: u32::try_from(tree.read_ahead.0 / 1024).unwrap_or(u32::MAX),
        prefetch_budget: config.cache.prefetch_bytes(),
        ..defaults
    }
}

impl From<MountError> for Failure {
    fn from(error: MountError) -> Self {
        Self::new(Exit::Mount, error)
    }
}

/// Takes the mount away as hard as it must: cleanly if nobody uses it, at once if
/// somebody does.
fn unmount(mount: &Mount) -> Result<Ended, MountError> {
    match mount.unmount(Unmount::Clean) {
        Ok(()) => Ok(Ended { busy: false }),
        Err(MountError::InUse { .. }) => mount
            .unmount(Unmount::Detach)
            .map(|()| Ended { busy: true }),
        // Whatever else is wrong, a mount without a process behind it is worse.
        Err(error) => {
            tracing::warn!(error = %crate::exit::chain(&error), "detaching after a failed unmount");
            mount
                .unmount(Unmount::Detach)
                .map(|()| Ended { busy: true })
        }
    }
}
