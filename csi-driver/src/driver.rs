//! The driver from its start to its end.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use forebay_proto::csi::v1::controller_server::ControllerServer;
use forebay_proto::csi::v1::identity_server::IdentityServer;
use forebay_proto::csi::v1::node_server::NodeServer;
use forebay_proto::plugin_registration::v1::registration_server::RegistrationServer;
use rustix::fs::{FlockOperation, flock};
use tokio::net::UnixListener;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::Router;

use crate::authority::AnyAuthority;
use crate::config::Config;
use crate::controller::{Catalogue, ControllerService};
use crate::identity::IdentityService;
use crate::locks::Locks;
use crate::mounter::Mounter;
use crate::node::{NodeService, Parts};
use crate::place::Root;
use crate::record::{self, Records};
use crate::recovery;
use crate::registration::RegistrationService;
use crate::resolver::FromVolume;
use crate::serve::bind_private;
use crate::shared::SharedMounts;
use crate::task::Tasks;

/// How long an earlier driver of this node may take to end.
const TAKE_OVER: Duration = Duration::from_secs(60);
/// How long calls under way may take when the driver ends.
const DRAIN: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(100);

/// Why a driver does not start, or ends before its time.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file or directory cannot be used.
    #[error("{what} {path}", path = path.display())]
    Path {
        /// What was to be done with it.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it was not.
        source: io::Error,
    },
    /// Another driver of this node does not end.
    #[error("another driver holds {path}", path = path.display())]
    Held {
        /// Its lock.
        path: PathBuf,
    },
    /// A socket failed.
    #[error("serve {path}", path = path.display())]
    Serve {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: tonic::transport::Error,
    },
}

/// A driver that is ready to serve.
#[derive(Debug)]
pub struct Driver {
    config: Config,
    shared: Arc<SharedMounts>,
    tasks: Tasks,
    services: Router,
    // Held until the process ends: two drivers of one node would undo each other's work.
    _lock: File,
}

impl Driver {
    /// Finds what earlier drivers left on the node, and mends it. No socket is there
    /// before that: whoever calls finds the node in order.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: Config, mounter: Arc<dyn Mounter>) -> Result<Self, StartError> {
        let run_dir = &config.run_dir;
        at("create", run_dir, record::make_private(run_dir))?;
        let lock = take_over(run_dir.join("lock")).await?;
        at(
            "create",
            &config.mounts_dir,
            std::fs::create_dir_all(&config.mounts_dir),
        )?;
        let mounts_dir = at("find", &config.mounts_dir, config.mounts_dir.canonicalize())?;
        let root = at("find", &config.kubelet_dir, Root::new(&config.kubelet_dir))?;
        let notes = run_dir.join("notes");
        let records = at("open", &notes, Records::open(notes.clone()))?;
        let volumes = config.state_dir.join("volumes");
        let catalogue = at("open", &volumes, Catalogue::open(volumes.clone()))?;
        let shared = Arc::new(SharedMounts::new(
            mounts_dir,
            root.clone(),
            mounter,
            records,
        ));
        recovery::sweep(&shared).await;
        let tasks = Tasks::new(config.deadline);
        let parts = Parts {
            root,
            shared: Arc::clone(&shared),
            resolver: Box::new(FromVolume {
                local_sources: config.local_sources,
                server: config.server.clone(),
            }),
            volumes: Locks::default(),
            config: config.clone(),
        };
        let services = Server::builder()
            .add_service(IdentityServer::new(IdentityService))
            .add_service(ControllerServer::new(ControllerService::new(
                catalogue,
                tasks.clone(),
            )))
            .add_service(NodeServer::new(NodeService::new(parts, tasks.clone())));
        Ok(Self {
            config,
            shared,
            tasks,
            services,
            _lock: lock,
        })
    }

    /// Serves until `stop`. Mounts stay: they are served by processes of their own.
    ///
    /// # Errors
    /// [`StartError`], if a socket cannot be made or fails.
    pub async fn serve(self, stop: CancellationToken) -> Result<(), StartError> {
        let Config {
            socket,
            registration_dir,
            check_every,
            ..
        } = &self.config;
        let listener = at("listen at", socket, bind_private(socket))?;
        let watching = recovery::watch(Arc::clone(&self.shared), *check_every, stop.clone());
        let watching = tokio::spawn(watching);
        let services = run(self.services, socket, listener, stop.clone());
        let registration = register(registration_dir.as_deref(), socket, stop.clone());
        tracing::info!(socket = %socket.display(), node = self.config.node, "serving");
        let ended = tokio::try_join!(services, registration);
        stop.cancel();
        self.tasks.drain(DRAIN).await;
        // It ends with `stop`, whatever it was doing.
        watching.abort();
        ended.map(drop)
    }
}

async fn run(
    router: Router,
    socket: &Path,
    listener: UnixListener,
    stop: CancellationToken,
) -> Result<(), StartError> {
    let incoming = UnixListenerStream::new(listener).map(|stream| stream.map(AnyAuthority::new));
    let served = router
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await;
    served.map_err(|source| StartError::Serve {
        path: socket.to_owned(),
        source,
    })
}

async fn register(
    dir: Option<&Path>,
    socket: &Path,
    stop: CancellationToken,
) -> Result<(), StartError> {
    let Some(dir) = dir else {
        return Ok(());
    };
    let path = dir.join(RegistrationService::socket_name());
    let listener = at("listen at", &path, bind_private(&path))?;
    let service = RegistrationServer::new(RegistrationService::new(socket));
    let router = Server::builder().add_service(service);
    let served = run(router, &path, listener, stop).await;
    // The kubelet forgets the driver when the socket goes; it is told again at the next
    // start. What cannot be removed is replaced then.
    let _ = std::fs::remove_file(&path);
    served
}

/// Takes the lock of this node's driver, once an earlier one has ended.
async fn take_over(path: PathBuf) -> Result<File, StartError> {
    let opened = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path);
    let file = at("open", &path, opened)?;
    let deadline = tokio::time::Instant::now() + TAKE_OVER;
    while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        if tokio::time::Instant::now() > deadline {
            return Err(StartError::Held { path });
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(file)
}

fn at<T>(what: &'static str, path: &Path, done: io::Result<T>) -> Result<T, StartError> {
    done.map_err(|source| StartError::Path {
        what,
        path: path.to_owned(),
        source,
    })
}
