//! Commands' way to the process that serves a mount.

use std::path::{Path, PathBuf};
use std::time::Duration;

use forebay_proto::cache::v1::cache_control_client::CacheControlClient;
use forebay_proto::mount::v1::mount_control_client::MountControlClient;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};
use tonic::transport::{Channel, Endpoint};

use crate::control_server::exit_of;
use crate::exit::{Exit, Failure};
use crate::mountpoint;
use crate::options::ServerAddr;
use crate::rundir::{self, RunDir};

/// A process that listens answers at once; one that does not is stopped or hangs.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A process that takes a mount over needs less, as a rule a tenth of a second.
const TAKES_OVER: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(20);

/// Counting what is cached of a hundred million files takes this long.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// What is known of a mount point before anybody is asked.
#[derive(Debug)]
pub enum Found {
    /// A living process serves it.
    Alive(Mounted),
    /// A process is still making the mount.
    Starting {
        /// The process, if it has said so.
        pid: Option<u32>,
    },
    /// The process has gone, and its supervisor starts another.
    Unserved(Mounted),
    /// The process has gone and has left this behind.
    Dead(RunDir),
    /// There is nothing.
    Nothing,
}

/// A mount with a living process.
#[derive(Clone, Debug)]
pub struct Mounted {
    /// The mount point.
    pub mountpoint: PathBuf,
    /// Its run directory.
    pub dir: RunDir,
}

/// Looks for the mount at `dir`, without touching it.
///
/// # Errors
/// If `dir` is no path.
pub fn find(dir: &Path) -> Result<(PathBuf, Found), Failure> {
    let mountpoint = mountpoint::absolute(dir).map_err(|error| Failure::new(Exit::Usage, error))?;
    let dir = RunDir::of(&rundir::base(), &mountpoint);
    let (is_alive, is_ready) = (dir.is_alive(), dir.state().is_some());
    let mounted = |dir| Mounted {
        mountpoint: mountpoint.clone(),
        dir,
    };
    let found = if is_alive && is_ready {
        Found::Alive(mounted(dir))
    } else if let Some(supervisor) = dir.supervisor() {
        if is_ready {
            Found::Unserved(mounted(dir))
        } else {
            let pid = Some(supervisor);
            Found::Starting { pid }
        }
    } else if is_alive {
        Found::Starting { pid: dir.pid() }
    } else if dir.pid().is_some() {
        Found::Dead(dir)
    } else {
        Found::Nothing
    };
    Ok((mountpoint, found))
}

/// Connects to the process that serves `dir`.
///
/// # Errors
/// [`Exit::NotMounted`] if none does, told by what there is instead.
pub async fn connect(dir: &Path) -> Result<MountControlClient<Channel>, Failure> {
    let (mountpoint, found) = find(dir)?;
    let shown = mountpoint.display();
    match found {
        Found::Alive(mounted) | Found::Unserved(mounted) => mounted.connect().await,
        Found::Starting { pid } => {
            let pid = pid.map_or_else(String::new, |pid| format!(" by process {pid}"));
            let text = format!("{shown} is still being mounted{pid}");
            Err(Failure::new(Exit::NotMounted, text).next("try again when it is ready"))
        }
        Found::Dead(_) => {
            let text = format!("the process that served {shown} has gone");
            let step = format!("clean up with `forebay umount {shown}`, then mount again");
            Err(Failure::new(Exit::NotMounted, text).next(step))
        }
        Found::Nothing => Err(not_mounted(&mountpoint)),
    }
}

/// Nothing of ours is at `mountpoint`.
pub fn not_mounted(mountpoint: &Path) -> Failure {
    let text = format!("forebay is not mounted at {}", mountpoint.display());
    Failure::new(Exit::NotMounted, text).next("`forebay status` lists the mounts")
}

impl Mounted {
    /// Connects to the control socket. Where one process takes over from another, it is
    /// waited for.
    ///
    /// # Errors
    /// [`Exit::Failed`] if the process does not answer.
    pub async fn connect(&self) -> Result<MountControlClient<Channel>, Failure> {
        let deadline = Instant::now() + TAKES_OVER;
        loop {
            match self.channel(self.dir.control_socket()).await {
                Ok(channel) => return Ok(MountControlClient::new(channel)),
                Err(failure) if !self.dir.is_supervised() => return Err(failure),
                Err(_) if Instant::now() >= deadline => return Err(self.unserved()),
                Err(_) => sleep(RETRY).await,
            }
        }
    }

    /// Connects to one of the sockets in the run directory.
    ///
    /// # Errors
    /// [`Exit::Failed`] if nobody answers there.
    pub async fn channel(&self, socket: PathBuf) -> Result<Channel, Failure> {
        channel(socket).await.map_err(|error| {
            let pid = self
                .dir
                .pid()
                .map_or_else(String::new, |pid| format!(" (process {pid})"));
            let text = format!(
                "the mount at {}{pid} does not answer",
                self.mountpoint.display()
            );
            Failure::new(Exit::Failed, text)
                .next(format!("{}; see its log", crate::exit::chain(&error)))
        })
    }

    /// Process after process has died here.
    fn unserved(&self) -> Failure {
        let course = self.dir.course().unwrap_or_default();
        let last = course.last_end.unwrap_or_else(|| "has died".to_owned());
        let text = format!(
            "nobody serves {} now: the process before {last}, and {} were started in its place",
            self.mountpoint.display(),
            course.restarts
        );
        Failure::new(Exit::Failed, text).next("see its log, or `forebay umount` it")
    }
}

async fn channel(socket: PathBuf) -> Result<Channel, tonic::transport::Error> {
    // The authority is never looked at: the connector knows the way.
    Endpoint::from_static("http://localhost")
        .connect_timeout(CONNECT_TIMEOUT)
        .connect_with_connector(tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        }))
        .await
}

/// Connects to a cache server for control calls.
///
/// # Errors
/// [`Exit::Failed`] if nobody answers at its socket.
pub async fn of_server(server: &ServerAddr) -> Result<CacheControlClient<Channel>, Failure> {
    let channel = channel(server.0.clone()).await.map_err(|error| {
        let text = format!(
            "no cache server answers at {server}: {}",
            crate::exit::chain(&error)
        );
        Failure::new(Exit::Failed, text).next("is `forebay cache-server` running?")
    });
    Ok(CacheControlClient::new(channel?))
}

/// Waits for the answer to a question that a mount can answer without its origin.
///
/// # Errors
/// The mount's refusal, or [`Exit::Failed`] if it says nothing for half a minute.
pub async fn answer<T>(
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(ANSWER_TIMEOUT, call).await {
        Ok(answer) => answer
            .map(tonic::Response::into_inner)
            .map_err(|status| failure(&status)),
        Err(_) => {
            let text = "the mount's process does not answer; it may be stopped or hang";
            Err(Failure::new(Exit::Failed, text).next("see its log, or `forebay umount` it"))
        }
    }
}

/// What a refused call means for the command.
pub fn failure(status: &tonic::Status) -> Failure {
    match exit_of(status) {
        Some(exit) => Failure::new(exit, status.message().to_owned()),
        None => {
            let text = format!("the mount's process broke off: {}", status.message());
            Failure::new(Exit::Failed, text).next("see its log")
        }
    }
}
