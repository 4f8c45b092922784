//! A connection between members, with or without encryption.

use tokio_rustls::TlsStream;
use tokio_util::either::Either;

use super::socket::Socket;

/// What a connection is talked over: the socket itself, to which the kernel can send from a
/// file, or TLS.
pub(super) type Stream = Either<Socket, Box<TlsStream<Socket>>>;

/// A stream that is encrypted.
pub(super) fn encrypted(stream: impl Into<TlsStream<Socket>>) -> Stream {
    Either::Right(Box::new(stream.into()))
}

/// The socket below.
pub(super) fn socket(stream: &mut Stream) -> &mut Socket {
    match stream {
        Either::Left(socket) => socket,
        Either::Right(stream) => stream.get_mut().0,
    }
}
