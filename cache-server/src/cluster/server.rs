//! This member's bytes for the others.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::BytesMut;
use forebay_core::cache::CacheError;
use forebay_core::{ByteRange, ETag, ErrorKind, chunk};
use forebay_proto::peer::{FrameError, NEWEST, OLDEST, ReadRequest, Reply, Request, read_frame};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::socket::Socket;
use super::stats::ClusterStats;
use super::stream::{self, Stream};
use super::{Cluster, Security};
use crate::control::{self, ControlPort};
use crate::dataset::Target;
use crate::fill::OpenObject;
use crate::node::NodeCache;
use crate::origin::Origin;

mod member;
mod outgoing;

pub use member::MemberService;

use outgoing::{Outgoing, SENDERS, Unsent};

/// How long a member may take to say hello, TLS included.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Connections at once. A member has up to 64 reads and some idle connections.
const MOST_CONNECTIONS: usize = 4096;

/// Serves this member's node to the others.
#[derive(Debug)]
pub struct PeerServer {
    cluster: Arc<Cluster>,
    node: Arc<NodeCache>,
    /// By identity: those that this member may read, not through the cluster.
    origins: RwLock<HashMap<String, Arc<dyn Origin>>>,
    connections: Arc<Semaphore>,
    senders: Arc<Semaphore>,
    /// Where connections for control calls go, if anybody takes them.
    control: Option<ControlPort>,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("TLS")]
    Tls(#[source] std::io::Error),
    #[error("it said no hello in time")]
    Silent,
    #[error("it was refused: {reason}")]
    Refused { reason: String },
    #[error("it asked out of turn")]
    OutOfTurn,
}

/// How bytes leave for members: by a window, as Linux does of itself. A machine that is told to
/// pace its connections (BBR, for far and lossy ways) pays with timers and small pieces, and is
/// a quarter slower between neighbours.
const CONGESTION: &str = "cubic";

impl From<std::io::Error> for Broken {
    fn from(error: std::io::Error) -> Self {
        Self::Frame(error.into())
    }
}

impl PeerServer {
    /// Serves `node` to the members of `cluster`.
    pub fn new(cluster: Arc<Cluster>, node: Arc<NodeCache>) -> Arc<Self> {
        Self::with_control(cluster, node, None)
    }

    /// The same, and connections for control calls are handed over to `control`.
    pub fn with_control(
        cluster: Arc<Cluster>,
        node: Arc<NodeCache>,
        control: Option<ControlPort>,
    ) -> Arc<Self> {
        Arc::new(Self {
            cluster,
            node,
            origins: RwLock::default(),
            connections: Arc::new(Semaphore::new(MOST_CONNECTIONS)),
            senders: Arc::new(Semaphore::new(SENDERS)),
            control,
        })
    }

    /// Lets the others read from `origin` through this member.
    pub fn add_origin(&self, origin: Arc<dyn Origin>) {
        let mut origins = self.origins.write().unwrap_or_else(PoisonError::into_inner);
        origins.insert(origin.identity().to_owned(), origin);
    }

    /// Accepts and serves members until `stop`.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        if let Err(error) = send_by_window(&listener) {
            tracing::debug!(%error, "members are sent to as the machine does elsewhere");
        }
        let tasks = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a member could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&self.connections).try_acquire_owned() else {
                tracing::warn!("too many connections of members");
                continue;
            };
            let (this, stopped) = (Arc::clone(&self), stop.clone());
            tasks.spawn(async move {
                let from = stream.peer_addr().map(|address| address.to_string());
                let conversation = this.converse(stream, permit);
                match stopped.run_until_cancelled(conversation).await {
                    Some(Err(Broken::Frame(FrameError::Io(_)))) | Some(Ok(())) | None => {}
                    Some(Err(error)) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(
                            error,
                            from = from.unwrap_or_default(),
                            "disconnected a member"
                        );
                    }
                }
            });
        }
        tasks.close();
        tasks.wait().await;
    }

    async fn converse(
        &self,
        stream: TcpStream,
        permit: OwnedSemaphorePermit,
    ) -> Result<(), Broken> {
        stream.set_nodelay(true)?;
        let deadline = tokio::time::Instant::now() + HANDSHAKE;
        let mut buffer = BytesMut::new();
        let secured = tokio::time::timeout_at(deadline, self.secure(stream, &mut buffer));
        let mut stream = secured.await.map_err(|_| Broken::Silent)??;
        if let Some(control) = &self.control
            && control::is_control(&buffer)
        {
            control.hand_over(stream, buffer, Some(permit)).await;
            return Ok(());
        }
        let shaken = self.shake_hands(&mut stream, &mut buffer);
        let shaken = tokio::time::timeout_at(deadline, shaken).await;
        shaken.map_err(|_| Broken::Silent)??;
        loop {
            let (kind, payload) = read_frame(&mut stream, &mut buffer).await?;
            match Request::decode(kind, &payload).map_err(FrameError::from)? {
                Request::Hello { .. } => return Err(Broken::OutOfTurn),
                Request::Ping => {
                    let draining = *self.cluster.draining.borrow();
                    send(&mut stream, &Reply::Pong { draining }).await?;
                }
                Request::Read(read) => self.answer(&mut stream, read).await?,
            }
        }
    }

    /// The connection as it is talked over, and its first bytes in `buffer`.
    async fn secure(&self, stream: TcpStream, buffer: &mut BytesMut) -> Result<Stream, Broken> {
        let socket = Socket::Watched(stream);
        let mut stream = match &self.cluster.config.security {
            Security::Insecure => Stream::Left(socket),
            Security::Mutual(tls) => {
                let acceptor = tokio_rustls::TlsAcceptor::from(tls.server());
                stream::encrypted(acceptor.accept(socket).await.map_err(Broken::Tls)?)
            }
        };
        control::read_first(&mut stream, buffer).await?;
        Ok(stream)
    }

    async fn shake_hands(&self, stream: &mut Stream, buffer: &mut BytesMut) -> Result<(), Broken> {
        let (kind, payload) = read_frame(stream, buffer).await?;
        let Request::Hello {
            oldest,
            newest,
            cluster,
            ..
        } = Request::decode(kind, &payload).map_err(FrameError::from)?
        else {
            return Err(Broken::OutOfTurn);
        };
        let own = &self.cluster.config.name;
        let version = newest.min(NEWEST);
        let reason = if cluster != *own {
            format!("it is of the cluster {cluster:?}, this is {own:?}")
        } else if version < oldest.max(OLDEST) {
            format!("it speaks versions {oldest} to {newest}, this one {OLDEST} to {NEWEST}")
        } else {
            return send(stream, &Reply::Welcome { version }).await;
        };
        let message = reason.clone();
        send(stream, &Reply::Refused { message }).await?;
        Err(Broken::Refused { reason })
    }

    async fn answer(&self, stream: &mut Stream, read: ReadRequest) -> Result<(), Broken> {
        let (range, present_only) = (read.range, read.present_only);
        let object = match self.object(read) {
            Ok(object) => object,
            Err(error) => return fail(stream, &error).await,
        };
        if present_only && object.lease.first_absent(range).is_some() {
            let error = CacheError::new(ErrorKind::NotFound, "the bytes are not here");
            return fail(stream, &error).await;
        }
        send(stream, &Reply::Began).await?;
        let _fetching = self.fetch(&object, range);
        let mut outgoing = Outgoing::new(&self.senders);
        let mut rest = range;
        while !rest.is_empty() {
            let first = chunk::range(rest.start() / chunk::CHUNK_SIZE, object.target.size);
            let found = self
                .node
                .fills()
                .ensure(&object, first.intersect(rest))
                .await;
            let sent = match found {
                Ok(found) => outgoing.send(stream, &object, found, rest).await,
                Err(error) => return fail(stream, &error).await,
            };
            let end = match sent {
                Ok(end) => end,
                Err(Unsent::Connection(error)) => return Err(error.into()),
                Err(error @ Unsent::Unreadable) => {
                    let error = CacheError::new(ErrorKind::Corrupt, error.to_string());
                    return fail(stream, &error).await;
                }
            };
            let sent = usize::try_from(end - rest.start()).unwrap_or(usize::MAX);
            ClusterStats::add(&self.cluster.stats.sent_bytes, sent);
            rest = ByteRange::new(end, range.end());
        }
        send(stream, &Reply::End).await
    }

    /// Begins one fetch for what is missing of `range`, before each chunk is waited for as
    /// it arrives.
    fn fetch(&self, object: &Arc<OpenObject>, range: ByteRange) -> Option<AbortOnDrop> {
        object.lease.first_absent(range)?;
        let (fills, object) = (Arc::clone(self.node.fills()), Arc::clone(object));
        Some(AbortOnDrop(tokio::spawn(async move {
            let _ = fills.ensure(&object, range).await;
        })))
    }

    /// The origin with this identity, not through the cluster.
    fn origin(&self, identity: &str) -> Result<Arc<dyn Origin>, CacheError> {
        let origins = self.origins.read().unwrap_or_else(PoisonError::into_inner);
        origins.get(identity).cloned().ok_or_else(|| {
            let message = format!("{identity} is not configured here");
            CacheError::new(ErrorKind::NotFound, message)
        })
    }

    /// The object that is asked for, to be filled from the origin and not from a member:
    /// a question is never passed on.
    fn object(&self, read: ReadRequest) -> Result<Arc<OpenObject>, CacheError> {
        let origin = self.origin(&read.origin)?;
        if read.range.end() > read.size || read.range.is_empty() {
            let message = format!("bytes {} of an object of {}", read.range, read.size);
            return Err(CacheError::new(ErrorKind::InvalidInput, message));
        }
        let target = Target::new(origin, read.key.into(), ETag::new(read.etag), read.size);
        // Who only looks has asked the owner, too: it need not become this one's.
        Ok(match read.present_only {
            true => self.node.look_at(target),
            false => self.node.open_target(target),
        })
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        // What was begun goes on for others; this only gives up waiting for it.
        self.0.abort();
    }
}

/// Has connections to `listener` send by a window. Those that have begun to pace would not stop.
///
/// # Errors
/// If the kernel has no such thing, or this process may not choose (it takes `CAP_NET_ADMIN`
/// where the machine is told to do otherwise).
fn send_by_window(listener: &TcpListener) -> std::io::Result<()> {
    Ok(rustix::net::sockopt::set_tcp_congestion(
        listener, CONGESTION,
    )?)
}

async fn send(stream: &mut Stream, reply: &Reply) -> Result<(), Broken> {
    stream.write_all(&reply.frame()).await?;
    Ok(stream.flush().await?)
}

async fn fail(stream: &mut Stream, error: &CacheError) -> Result<(), Broken> {
    let reply = Reply::Failed {
        kind: error.kind,
        message: error.to_string(),
    };
    send(stream, &reply).await
}

#[cfg(test)]
mod tests {
    use rustix::net::sockopt::tcp_congestion;

    use super::*;

    #[tokio::test]
    async fn who_is_accepted_is_sent_to_by_a_window_whatever_the_machine_does_elsewhere() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        send_by_window(&listener).expect("cubic; root, where the machine is told otherwise");
        let address = listener.local_addr().expect("an address");
        let (asking, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (_asking, accepted) = (asking.expect("connected"), accepted.expect("accepted").0);
        let used = tcp_congestion(&accepted).expect("known");
        assert_eq!(used, CONGESTION);
    }
}
