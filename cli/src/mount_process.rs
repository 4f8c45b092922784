//! The process that serves a mount: where cache, origin, manifest and FUSE meet.
//!
//! A mount is made from the bottom up, and what can fail without a network is tried
//! first: run directory, mount point and `/dev/fuse`, cache directory, sources, store,
//! listing, sockets, mount. A mount that a process before has left is taken over in the
//! same order, with what was written down in the place of a listing. It ends from the top
//! down: unmount, so that nobody asks any more; end what still waits for an origin; make
//! the cache durable; let go of the directories.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use forebay_core::metric::Measured;
use forebay_fuse_client::{DatasetFs, HandleLog, Mount, MountError, MountOptions, Unmount};
use forebay_keeper::Client as KeeperClient;
use tokio::net::UnixListener;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::audience::Audience;
use crate::config::MountConfig;
use crate::dataset::Shown;
use crate::exit::{Exit, Failure};
use crate::off_runtime::off_runtime;
use crate::options::MetricsAddr;
use crate::rundir::{Claim, RunDir};
use crate::{control_server, http};

mod backend;
mod drift;
mod gauges;
mod keeping;
mod legacy;
mod plan;
mod service;
mod warmup;

pub use service::Service;

use backend::{Backend, Heir};
use gauges::Gauges;
use keeping::Keeping;
use legacy::Legacy;

/// How long calls under way on the sockets may take when the process ends.
const SOCKET_DRAIN: Duration = Duration::from_secs(5);

/// What a reply may take beside a wait for the origin, which the cache ends by itself.
const BEYOND_THE_ORIGIN: Duration = Duration::from_secs(10);

/// Set by tests: the mount is made as on a kernel that cannot repeat requests.
const WITHOUT_RESEND: &str = "FOREBAY_TEST_WITHOUT_RESEND";

/// How a mount ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Whether files were still open.
    pub busy: bool,
}

/// Somebody who asked for the end of the mount, and waits to hear of it.
type StopRequest = oneshot::Sender<Result<Ended, Failure>>;

/// What becomes of the mount when this process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It ends, too.
    Alone,
    /// A supervisor has another process take it over.
    Supervised,
}

/// A mount that is served.
#[derive(Debug)]
pub struct MountProcess {
    service: Arc<Service>,
    stop_requests: mpsc::Receiver<StopRequest>,
    sockets: Sockets,
    claim: Claim,
}

/// What a [`MountProcess`] is made of.
struct Parts<'a> {
    config: &'a MountConfig,
    claim: Claim,
    backend: Arc<dyn Backend>,
    shown: Shown,
    endpoint: Option<http::Endpoint>,
    control: UnixListener,
    mount: Arc<Mount>,
    keeping: Option<Arc<Keeping>>,
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
        standing: Standing,
        audience: &dyn Audience,
        cancel: &CancellationToken,
    ) -> Result<Self, Failure> {
        if standing == Standing::Alone {
            RunDir::refuse_held(run_base, &config.mountpoint)?;
        }
        preflight(config).await?;
        let claim = match standing {
            Standing::Alone => RunDir::claim(run_base, &config.mountpoint)?,
            Standing::Supervised => RunDir::claim_supervised(run_base, &config.mountpoint)?,
        };
        let (backend, shown) = backend::start(config, audience, cancel).await?;
        let endpoint =
            http::Endpoint::bind(config.metrics.as_ref(), claim.dir().metrics_socket()).await?;
        let control = control_server::bind(&claim.dir().control_socket())?;
        let (cache, manifest) = (backend.cache(), Arc::clone(&shown.manifest));
        let (mountpoint, options) = (config.mountpoint.clone(), mount_options(config));
        let (runtime, run_dir) = (Handle::current(), claim.dir().clone());
        let make = move || -> Result<_, Failure> {
            let mut tree = DatasetFs::new(manifest, cache, &options);
            if standing == Standing::Supervised {
                tree = tree.with_handle_log(open_log(&run_dir, HandleLog::create)?);
            }
            let mount = Mount::start(Arc::new(tree), &mountpoint, &options, runtime)?;
            let mount = Arc::new(mount);
            service::record(&run_dir, &mount, None)?;
            let keeping = (standing == Standing::Supervised).then(|| keep(&run_dir, &mount, None));
            Ok((mount, keeping))
        };
        let (mount, keeping) = off_runtime(make).await??;
        let process = Self::serving(Parts {
            config,
            claim,
            backend,
            shown,
            endpoint,
            control,
            mount,
            keeping,
        });
        process.service.publish()?;
        Ok(process)
    }

    /// Takes over a mount from a process that has died or is about to. When this returns,
    /// it is served again.
    ///
    /// What can be done beside the other process is done; then `gate` waits for its end.
    ///
    /// # Errors
    /// The [`Failure`] of the first step that failed; the mount is then as it was.
    pub async fn resume(
        config: &MountConfig,
        run_base: &Path,
        gate: impl FnOnce() -> Result<(), Failure> + Send + 'static,
    ) -> Result<Self, Failure> {
        let run_dir = RunDir::of(run_base, &config.mountpoint);
        let heir = Heir::prepare(config, &Legacy::read(&run_dir)?).await?;
        off_runtime(gate).await??;
        let claim = RunDir::claim_supervised(run_base, &config.mountpoint)?;
        // The process before may have shown another version meanwhile.
        let legacy = Legacy::read(&run_dir)?;
        let (backend, versions) = heir.take_over(config, &legacy).await?;
        // Readers wait: what is only looked at must not keep them waiting.
        let endpoint = bind_again(config, &run_dir).await;
        let control = control_server::bind(&run_dir.control_socket())?;
        let shown = Shown {
            manifest: legacy.current_of(&versions)?,
            origin_unreachable: false,
        };
        let (cache, options) = (backend.cache(), mount_options(config));
        let (place, runtime) = (legacy.place(&config.mountpoint), Handle::current());
        let take_over = move || -> Result<_, Failure> {
            let tree = DatasetFs::resume(versions, legacy.current, cache, &options)
                .expect("the current version was found among them")
                .with_handle_log(open_log(&run_dir, HandleLog::adopt)?);
            let keeper = KeeperClient::connect(&run_dir.keeper_socket())?;
            let kept = keeper.fetch(&run_dir.keeper_name())?;
            let mount = Mount::adopt(Arc::new(tree), place, kept, &options, runtime)?;
            let mount = Arc::new(mount);
            let keeping = keep(&run_dir, &mount, Some(keeper));
            Ok((mount, Some(keeping)))
        };
        let (mount, keeping) = off_runtime(take_over).await??;
        let tree = Arc::clone(mount.fs());
        tokio::spawn(async move { tree.restore_leases().await });
        let process = Self::serving(Parts {
            config,
            claim,
            backend,
            shown,
            endpoint,
            control,
            mount,
            keeping,
        });
        if let Err(error) = process.service.publish() {
            tracing::warn!(%error, "the mount is served, but not announced");
        }
        Ok(process)
    }

    /// Serves the sockets beside a mount that is served.
    fn serving(parts: Parts<'_>) -> Self {
        let (stop_sender, stop_requests) = mpsc::channel(8);
        let metrics = parts.endpoint.as_ref();
        let service = Arc::new(Service::new(service::Parts {
            mountpoint: parts.config.mountpoint.clone(),
            run_dir: parts.claim.dir().clone(),
            metrics: metrics.map(|found| found.address().to_owned()),
            backend: parts.backend,
            mount: parts.mount,
            keeping: parts.keeping,
            shown: parts.shown,
            stop: stop_sender,
        }));
        let stop = CancellationToken::new();
        let mut measured = service.backend().measured();
        measured.push(Arc::new(Gauges::new(&service)) as Arc<dyn Measured>);
        let sockets = Sockets {
            control: control_server::serve(parts.control, Arc::clone(&service), stop.clone()),
            http: parts
                .endpoint
                .map(|endpoint| endpoint.serve(measured, stop.clone())),
            stop,
        };
        Self {
            service,
            stop_requests,
            sockets,
            claim: parts.claim,
        }
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

/// Metrics are served where they were, or not at all: readers come first.
async fn bind_again(config: &MountConfig, run_dir: &RunDir) -> Option<http::Endpoint> {
    if let Some(MetricsAddr::Unix(path)) = &config.metrics {
        // The process before has left it.
        let _ = std::fs::remove_file(path);
    }
    let bound = http::Endpoint::bind(config.metrics.as_ref(), run_dir.metrics_socket()).await;
    bound.unwrap_or_else(|error| {
        tracing::warn!(error = %crate::exit::chain(&error), "no metrics from this process");
        None
    })
}

fn open_log(
    run_dir: &RunDir,
    open: impl FnOnce(&Path) -> std::io::Result<HandleLog>,
) -> Result<HandleLog, Failure> {
    let path = run_dir.handle_log();
    open(&path).map_err(|error| {
        let text = format!("the log of open files, {}: {error}", path.display());
        Failure::new(Exit::Failed, text).next("set FOREBAY_RUN_DIR to a directory with room")
    })
}

fn keep(run_dir: &RunDir, mount: &Arc<Mount>, client: Option<KeeperClient>) -> Arc<Keeping> {
    let (socket, name) = (run_dir.keeper_socket(), run_dir.keeper_name());
    Keeping::start(mount, &socket, name, client)
}

fn mount_options(config: &MountConfig) -> MountOptions {
    let (defaults, tree) = (MountOptions::default(), &config.tree);
    MountOptions {
        dataset: config.dataset_name().to_owned(),
        uid: tree.uid.unwrap_or(defaults.uid),
        gid: tree.gid.unwrap_or(defaults.gid),
        file_mode: tree.file_mode,
        dir_mode: tree.dir_mode,
        allow_other: tree.allow_other,
        read_ahead_kb: u32::try_from(tree.read_ahead.0 / 1024).unwrap_or(u32::MAX),
        open_mode: tree.open_mode.into(),
        prefetch_budget: config.cache.prefetch_bytes(),
        reply_timeout: config.origin_timeout + BEYOND_THE_ORIGIN,
        resend: std::env::var_os(WITHOUT_RESEND).is_none(),
        ..defaults
    }
}

impl From<forebay_keeper::Error> for Failure {
    fn from(error: forebay_keeper::Error) -> Self {
        Self::new(Exit::Mount, error)
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
