//! gRPC where other protocols are spoken: a connection that begins as HTTP/2 is handed
//! over to whoever serves control calls.
//!
//! So a server has one Unix socket and one address, each with one check of who may
//! connect. No frame of ours begins like HTTP/2: as a length, it would be far too long.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use rustix::net::RecvFlags;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, Interest, ReadBuf};
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tonic::transport::server::Connected;

/// How every HTTP/2 connection begins ("PRI * HTTP/2.0", RFC 9113, 3.4), as far as it takes
/// to tell.
const PREFACE: [u8; 4] = *b"PRI ";
/// Connections that wait to be taken over. They are taken at once.
const WAITING: usize = 16;

/// A stream of bytes in both directions, with or without TLS.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// Where connections for control calls are handed over.
#[derive(Clone, Debug)]
pub struct ControlPort(mpsc::Sender<io::Result<ControlStream>>);

/// The connections that are handed over.
pub type ControlStreams = mpsc::Receiver<io::Result<ControlStream>>;

/// A port, and what comes in through it.
pub fn port() -> (ControlPort, ControlStreams) {
    let (sender, streams) = mpsc::channel(WAITING);
    (ControlPort(sender), streams)
}

/// Whether a connection whose first bytes are `first` wants to make control calls.
pub(crate) fn is_control(first: &[u8]) -> bool {
    first.starts_with(&PREFACE)
}

/// Reads the first bytes of a connection into `buffer`, as many as tell what it speaks.
pub(crate) async fn read_first(
    from: &mut (impl AsyncRead + Unpin + ?Sized),
    buffer: &mut BytesMut,
) -> io::Result<()> {
    while buffer.len() < PREFACE.len() {
        if from.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// The first bytes of a connection, which stay to be read.
pub(crate) async fn peek_first(stream: &UnixStream) -> io::Result<[u8; PREFACE.len()]> {
    let mut first = [0; PREFACE.len()];
    let peek = || {
        let (read, _) = rustix::net::recv(stream, &mut first, RecvFlags::PEEK)?;
        Ok(read)
    };
    match stream.async_io(Interest::READABLE, peek).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        // Whoever speaks HTTP/2 sends its preface at once.
        _ => Ok(first),
    }
}

impl ControlPort {
    /// Hands a connection over, of which `first` was read already. `permit` is given back
    /// when it ends.
    pub(crate) async fn hand_over(
        &self,
        stream: impl Duplex + 'static,
        first: BytesMut,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        let (read, write) = tokio::io::split(stream);
        let read = io::Cursor::new(first).chain(read);
        let stream = ControlStream {
            stream: Box::new(tokio::io::join(read, write)),
            _permit: permit,
        };
        // Nobody takes it over any more: the server ends.
        let _ = self.0.send(Ok(stream)).await;
    }
}

/// A connection for control calls.
pub struct ControlStream {
    stream: Box<dyn Duplex>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl fmt::Debug for ControlStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlStream").finish_non_exhaustive()
    }
}

impl Connected for ControlStream {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for ControlStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for ControlStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
