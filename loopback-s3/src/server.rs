//! Starting, pausing and stopping the server.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::buckets::Buckets;
use crate::fault::Faults;
use crate::frontend::Frontend;
use crate::object::{Content, Object};
use crate::service::Service;
use crate::stats::{Counters, Stats};

/// How long requests in flight may take when the server stops.
const DRAIN: Duration = Duration::from_secs(5);
/// How long to try for the same port again after a pause.
const REBIND: Duration = Duration::from_secs(5);

/// Why the server could not start or resume.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its port cannot be listened on.
    #[error("listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The reason.
        source: io::Error,
    },
    /// Its threads cannot be started.
    #[error("start the threads of the server")]
    Threads {
        /// The reason.
        source: io::Error,
    },
}

/// How a server is to be.
#[derive(Clone, Default)]
pub struct Builder {
    credentials: Option<(String, String)>,
    threads: Option<usize>,
    address: Option<IpAddr>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("anonymous", &self.credentials.is_none())
            .field("threads", &self.threads)
            .field("address", &self.address)
            .finish()
    }
}

impl Builder {
    /// Accepts only requests signed with these keys. Without this the server accepts
    /// only requests that are not signed.
    pub fn credentials(mut self, access: impl Into<String>, secret: impl Into<String>) -> Self {
        self.credentials = Some((access.into(), secret.into()));
        self
    }

    /// The number of threads that serve; 2 if not set.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads.max(1));
        self
    }

    /// Listens at this address of the machine; at 127.0.0.1 if not set.
    pub fn address(mut self, address: IpAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// Starts the server on a free port.
    ///
    /// It has threads of its own: it can be started from asynchronous code or not, and
    /// a client that blocks its runtime does not block the server.
    ///
    /// # Errors
    /// If there is no port or no thread to be had.
    pub fn start(self) -> Result<LoopbackS3, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(self.threads.unwrap_or(2))
            .thread_name("loopback-s3")
            .enable_all()
            .build()
            .map_err(|source| Error::Threads { source })?;
        let buckets = Arc::new(Buckets::default());
        let mut s3 = S3ServiceBuilder::new(Service(Arc::clone(&buckets)));
        if let Some((access, secret)) = self.credentials {
            s3.set_auth(SimpleAuth::from_single(access, secret));
        }
        let frontend = Frontend {
            s3: s3.build(),
            faults: Arc::new(Faults::default()),
            counters: Arc::new(Counters::default()),
        };
        let address = self.address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let (address, listener) = listen(SocketAddr::new(address, 0))?;
        let serving = Serving::start(&runtime, listener, frontend.clone());
        Ok(LoopbackS3 {
            buckets,
            frontend,
            address,
            serving: Mutex::new(Some(serving)),
            runtime: Some(runtime),
        })
    }
}

/// A running server. Dropping it closes its connections and frees its memory.
pub struct LoopbackS3 {
    buckets: Arc<Buckets>,
    frontend: Frontend,
    address: SocketAddr,
    /// `None` while the server is paused.
    serving: Mutex<Option<Serving>>,
    /// `None` only while it is being dropped.
    runtime: Option<Runtime>,
}

impl fmt::Debug for LoopbackS3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopbackS3")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl LoopbackS3 {
    /// A builder for a server without authentication.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The URL of the server, without a slash at the end. Buckets are addressed by path.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Creates a bucket. False if it was there. `put` and `put_synthetic` do so on demand.
    pub fn create_bucket(&self, bucket: &str) -> bool {
        self.buckets.create(bucket)
    }

    /// Puts an object and returns its ETag, without quotes. The tag changes exactly when
    /// the content does.
    pub fn put(&self, bucket: &str, key: &str, content: impl Into<Bytes>) -> String {
        self.put_content(bucket, key, Content::Stored(content.into()))
    }

    /// Puts an object of `size` bytes of the stream of `seed` (see
    /// [`synthetic`](crate::synthetic)) and returns its ETag, without quotes.
    pub fn put_synthetic(&self, bucket: &str, key: &str, size: u64, seed: u64) -> String {
        self.put_content(bucket, key, Content::Synthetic { size, seed })
    }

    fn put_content(&self, bucket: &str, key: &str, content: Content) -> String {
        let object = Object::new(content);
        let etag = object.etag();
        self.buckets.put(bucket, key, object);
        etag
    }

    /// Removes an object. False if it was not there.
    pub fn remove(&self, bucket: &str, key: &str) -> bool {
        let removed = self
            .buckets
            .change(bucket, |objects| objects.remove(key.as_bytes()));
        matches!(removed, Ok(Some(_)))
    }

    /// What the server has been asked for and has sent.
    pub fn stats(&self) -> Stats {
        self.frontend.counters.read()
    }

    /// The faults that are to happen.
    pub fn faults(&self) -> &Faults {
        &self.frontend.faults
    }

    /// Goes away: breaks every connection and refuses new ones until [`Self::resume`].
    /// The objects stay.
    pub fn pause(&self) {
        if let Some(serving) = self.lock().take() {
            serving.abort();
        }
    }

    /// Comes back on the same port. Does nothing if the server is there.
    ///
    /// # Errors
    /// If another process has taken the port.
    pub fn resume(&self) -> Result<(), Error> {
        let mut serving = self.lock();
        if let (None, Some(runtime)) = (&*serving, &self.runtime) {
            let (_, listener) = listen(self.address)?;
            *serving = Some(Serving::start(runtime, listener, self.frontend.clone()));
        }
        Ok(())
    }

    /// Stops: takes no new connection, lets requests in flight end for up to 5 seconds.
    pub fn stop(self) {
        if let Some(serving) = self.lock().take() {
            serving.drain();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Serving>> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LoopbackS3 {
    fn drop(&mut self) {
        // A runtime that is dropped in asynchronous code would panic; this does not wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The tasks from one `start` or `resume` to the next `pause` or `stop`.
struct Serving {
    /// Takes no new connection and no new request.
    draining: CancellationToken,
    /// Breaks what there is.
    aborting: CancellationToken,
    /// Every task holds a sender: the channel closes when the last one has ended.
    ended: Receiver<()>,
}

impl Serving {
    fn start(runtime: &Runtime, listener: TcpListener, frontend: Frontend) -> Self {
        let (alive, ended) = channel();
        let draining = CancellationToken::new();
        let aborting = CancellationToken::new();
        let task = Acceptor {
            frontend,
            draining: draining.clone(),
            aborting: aborting.clone(),
            _alive: alive,
        };
        runtime.spawn(task.run(listener));
        Self {
            draining,
            aborting,
            ended,
        }
    }

    fn abort(self) {
        self.aborting.cancel();
        self.wait();
    }

    fn drain(self) {
        self.draining.cancel();
        if self.wait() {
            return;
        }
        self.abort();
    }

    /// Whether all tasks have ended in time.
    fn wait(&self) -> bool {
        self.ended.recv_timeout(DRAIN) == Err(RecvTimeoutError::Disconnected)
    }
}

/// Accepts connections and serves each in a task of its own.
#[derive(Clone)]
struct Acceptor {
    frontend: Frontend,
    draining: CancellationToken,
    aborting: CancellationToken,
    /// Dropped with the task, after what it holds.
    _alive: Sender<()>,
}

impl Acceptor {
    async fn run(self, listener: TcpListener) {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return debug!(%error, "cannot listen"),
        };
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.aborting.cancelled() => return,
                () = self.draining.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => drop(tokio::spawn(self.clone().serve(stream))),
                Err(error) => {
                    // Most often too many open files: it passes when connections end.
                    debug!(%error, "cannot accept");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
    }

    async fn serve(self, stream: TcpStream) {
        self.frontend.counters.connection();
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "cannot set TCP_NODELAY");
        }
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), self.frontend.clone());
        tokio::pin!(connection);
        tokio::select! {
            biased;
            () = self.aborting.cancelled() => return,
            ended = &mut connection => return log_end(ended),
            () = self.draining.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            biased;
            () = self.aborting.cancelled() => {}
            ended = connection => log_end(ended),
        }
    }
}

fn log_end(ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        debug!(%error, "connection ended");
    }
}

/// Listens on `address`; tries again for a while if the port was ours a moment ago.
fn listen(address: SocketAddr) -> Result<(SocketAddr, TcpListener), Error> {
    let deadline = Instant::now() + REBIND;
    let listener = loop {
        match TcpListener::bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            bound => break bound,
        }
    };
    let prepared = listener.and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok((listener.local_addr()?, listener))
    });
    prepared.map_err(|source| Error::Listen { address, source })
}
