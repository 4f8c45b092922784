//! One connection to a peer, from connecting to closing.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use forebay_proto::peer::{FrameError, Header, NEWEST, OLDEST, Reply, Request, read_frame};
use forebay_proto::wire::DecodeError;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};

use super::inbox::{self, Memory};
use super::socket::Socket;
use super::stats::ClusterStats;
use super::stream::{self, Stream};
use super::{ClusterConfig, Security};

/// How long connecting may take, handshakes included.
const CONNECT: Duration = Duration::from_secs(1);

/// What is read at once where a header is expected: most frames without bytes of large
/// objects.
const READ_AHEAD: usize = 4 << 10;

/// Why a peer could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    #[error("connect")]
    Connect(#[source] io::Error),
    #[error("it did not answer within {}", humane(*.0))]
    TimedOut(Duration),
    #[error("it refuses this member: {message}")]
    Refused { message: String },
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("it answered out of turn")]
    OutOfTurn,
    #[error("it has not got the bytes: {message}")]
    Failed { message: String },
    #[error("it no longer lives")]
    Dead,
}

impl From<DecodeError> for PeerError {
    fn from(error: DecodeError) -> Self {
        Self::Frame(error.into())
    }
}

fn humane(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

/// Makes connections as this member.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) cluster: String,
    pub(super) member: String,
    pub(super) security: Security,
    pub(super) stats: Arc<ClusterStats>,
    /// Where bytes of objects arrive.
    memory: Arc<Memory>,
}

impl Connector {
    pub(super) fn new(config: &ClusterConfig, stats: Arc<ClusterStats>) -> Self {
        Self {
            cluster: config.name.clone(),
            member: config.member.clone(),
            security: config.security.clone(),
            stats,
            memory: Arc::default(),
        }
    }

    /// Connects to `address` and shakes hands.
    pub(super) async fn connect(&self, address: &str) -> Result<Connection, PeerError> {
        let connected = tokio::time::timeout(CONNECT, self.open(address)).await;
        connected.map_err(|_| PeerError::TimedOut(CONNECT))?
    }

    /// Connects to `address`, with TLS where that is asked for.
    async fn stream(&self, address: &str) -> Result<Stream, PeerError> {
        let stream = TcpStream::connect(address)
            .await
            .map_err(PeerError::Connect)?;
        stream.set_nodelay(true).map_err(PeerError::Connect)?;
        let socket = Socket::Watched(stream);
        match &self.security {
            Security::Insecure => Ok(Stream::Left(socket)),
            Security::Mutual(tls) => {
                let (config, name) = tls.client();
                let connector = tokio_rustls::TlsConnector::from(config);
                let stream = connector.connect(name, socket).await;
                Ok(stream::encrypted(stream.map_err(PeerError::Connect)?))
            }
        }
    }

    /// A connection for control calls to `address`, made when it is used.
    pub(super) fn channel(self: &Arc<Self>, address: &str) -> Channel {
        let (this, address) = (Arc::clone(self), address.to_owned());
        let connect = tower::service_fn(move |_| {
            let (this, address) = (Arc::clone(&this), address.clone());
            async move {
                let stream = tokio::time::timeout(CONNECT, this.stream(&address)).await;
                stream
                    .map_err(|_| PeerError::TimedOut(CONNECT))?
                    .map(TokioIo::new)
            }
        });
        // The name is never looked up: the connector knows the way.
        Endpoint::from_static("http://member").connect_with_connector_lazy(connect)
    }

    async fn open(&self, address: &str) -> Result<Connection, PeerError> {
        let stream = self.stream(address).await?;
        let mut connection = Connection {
            stream,
            buffer: BytesMut::new(),
            memory: Arc::clone(&self.memory),
        };
        let hello = Request::Hello {
            oldest: OLDEST,
            newest: NEWEST,
            cluster: self.cluster.clone(),
            member: self.member.clone(),
        };
        connection.send(&hello).await?;
        match connection.receive().await? {
            Reply::Welcome { .. } => Ok(connection),
            Reply::Refused { message } => Err(PeerError::Refused { message }),
            _ => Err(PeerError::OutOfTurn),
        }
    }
}

/// A connection on which one request is answered at a time.
pub(super) struct Connection {
    stream: Stream,
    buffer: BytesMut,
    memory: Arc<Memory>,
}

/// What a connection brings.
pub(super) enum Received {
    /// Bytes of an object, and their checksum, which was compared.
    Data(Bytes, u32),
    /// Anything else.
    Reply(Reply),
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connection {
    /// From here on what is received holds up the thread, until the connection is
    /// [watched](Self::watch) again.
    pub(super) fn hold(&mut self) -> Result<(), PeerError> {
        stream::socket(&mut self.stream)
            .hold()
            .map_err(FrameError::from)?;
        Ok(())
    }

    pub(super) fn watch(&mut self) -> Result<(), PeerError> {
        stream::socket(&mut self.stream)
            .watch()
            .map_err(FrameError::from)?;
        Ok(())
    }

    pub(super) async fn send(&mut self, request: &Request) -> Result<(), PeerError> {
        let sent = self.stream.write_all(&request.frame()).await;
        sent.map_err(|error| PeerError::Frame(error.into()))?;
        let flushed = self.stream.flush().await;
        flushed.map_err(|error| PeerError::Frame(error.into()))
    }

    pub(super) async fn receive(&mut self) -> Result<Reply, PeerError> {
        let (kind, payload) = read_frame(&mut self.stream, &mut self.buffer).await?;
        Ok(Reply::decode(kind, payload)?)
    }

    /// The same where bytes of an object are expected. Not cancel-safe: a connection that
    /// was left in the middle of a frame is of no use.
    pub(super) async fn receive_data(&mut self) -> Result<Received, PeerError> {
        let header = self.header().await?;
        let Some(len) = header.data_len() else {
            return self.receive().await.map(Received::Reply);
        };
        self.buffer.advance(Header::LEN);
        let Self {
            stream,
            buffer,
            memory,
        } = self;
        let bytes = inbox::receive(stream, buffer, memory, len, header).await?;
        Ok(Received::Data(bytes, header.crc()))
    }

    /// The header of the next frame, which stays in the buffer.
    async fn header(&mut self) -> Result<Header, FrameError> {
        loop {
            if let Some(header) = self.buffer.first_chunk() {
                return Header::decode(header);
            }
            let most = match stream::socket(&mut self.stream).is_held() {
                // TLS waits until it has all that it is asked for.
                true => Header::LEN - self.buffer.len(),
                // Little: what is behind the header is not to be copied.
                false => READ_AHEAD,
            };
            self.buffer.reserve(most);
            let mut room = (&mut self.buffer).limit(most);
            if self.stream.read_buf(&mut room).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }
}
