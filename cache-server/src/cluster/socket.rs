//! A socket of a member, for tasks or for a thread.
//!
//! A task that streams a large read is woken for every few pieces of it by another
//! thread, and hands each chunk to a third one, which may wait for a disk. A thread that
//! has the socket to itself sleeps in the read call, and what arrives while it writes a
//! chunk is there when it comes back.

use std::io::{self, Read, Write};
use std::net::TcpStream as Held;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How long a thread sleeps in a call before it looks whether anybody still wants it to.
const LOOK_UP: Duration = Duration::from_millis(100);

/// A TCP connection.
#[derive(Debug)]
pub(super) enum Socket {
    /// Its events wake tasks.
    Watched(TcpStream),
    /// Reading and writing hold up the thread: only to be polled where that is allowed.
    Held(Held),
    /// It could not be made the one out of the other.
    Lost,
}

impl Socket {
    /// From here on reading and writing hold up the thread, for a tenth of a second at
    /// most.
    ///
    /// # Errors
    /// Of the system; the socket is lost then.
    pub(super) fn hold(&mut self) -> io::Result<()> {
        let Self::Watched(stream) = std::mem::replace(self, Self::Lost) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        // No longer watched: an event that nobody waits for wakes a thread all the same.
        let stream = stream.into_std()?;
        stream.set_read_timeout(Some(LOOK_UP))?;
        stream.set_write_timeout(Some(LOOK_UP))?;
        stream.set_nonblocking(false)?;
        *self = Self::Held(stream);
        Ok(())
    }

    pub(super) fn is_held(&self) -> bool {
        matches!(self, Self::Held(_))
    }

    /// From here on events wake tasks again. Nothing happens if they do.
    ///
    /// # Errors
    /// As [`hold`](Self::hold).
    pub(super) fn watch(&mut self) -> io::Result<()> {
        *self = match std::mem::replace(self, Self::Lost) {
            Self::Held(stream) => {
                stream.set_nonblocking(true)?;
                Self::Watched(TcpStream::from_std(stream)?)
            }
            other => other,
        };
        Ok(())
    }
}

/// What a call came to that may have been given up for a while.
fn looked_up<T>(context: &Context<'_>, outcome: io::Result<T>) -> Poll<io::Result<T>> {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    match outcome {
        Err(error) if matches!(error.kind(), WouldBlock | TimedOut | Interrupted) => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
        outcome => Poll::Ready(outcome),
    }
}

fn lost<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Watched(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Held(stream) => {
                let read = stream.read(buffer.initialize_unfilled());
                looked_up(context, read).map_ok(|read| buffer.advance(read))
            }
            Self::Lost => lost(),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Watched(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Held(stream) => looked_up(context, stream.write(bytes)),
            Self::Lost => lost(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What was written to a socket is on its way.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Watched(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Held(stream) => Poll::Ready(stream.shutdown(std::net::Shutdown::Write)),
            Self::Lost => lost(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::runtime::Handle;

    use super::*;

    /// A socket, and the other end.
    async fn pair() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
        (
            Socket::Watched(ours.expect("connected")),
            theirs.expect("accepted").0,
        )
    }

    /// What `work` comes to on a thread that may be held up.
    async fn on_a_thread<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
        let runtime = Handle::current();
        let done = tokio::task::spawn_blocking(move || runtime.block_on(work));
        done.await.expect("no panic")
    }

    #[tokio::test]
    async fn a_held_socket_brings_what_comes_and_can_be_watched_again() {
        let (mut socket, mut other) = pair().await;
        socket.hold().expect("held");
        other.write_all(b"first").await.expect("sent");
        let (mut socket, read) = on_a_thread(async move {
            let mut read = [0; 5];
            socket.read_exact(&mut read).await.expect("read");
            socket.write_all(b"second").await.expect("sent");
            (socket, read)
        })
        .await;
        assert_eq!(&read, b"first");
        let mut read = [0; 6];
        other.read_exact(&mut read).await.expect("read");
        assert_eq!(&read, b"second");
        socket.watch().expect("watched");
        other.write_all(b"third").await.expect("sent");
        let mut read = [0; 5];
        socket.read_exact(&mut read).await.expect("read");
        assert_eq!(&read, b"third");
    }

    #[tokio::test]
    async fn who_waits_at_a_held_socket_can_give_up() {
        let (mut socket, other) = pair().await;
        socket.hold().expect("held");
        let gave_up = on_a_thread(async move {
            let waited = tokio::time::timeout(LOOK_UP / 2, socket.read_u8());
            waited.await.is_err()
        })
        .await;
        assert!(gave_up, "nothing was sent");
        drop(other);
    }

    #[tokio::test]
    async fn a_held_socket_tells_the_end() {
        let (mut socket, other) = pair().await;
        socket.hold().expect("held");
        drop(other);
        let read = on_a_thread(async move { socket.read_u8().await }).await;
        let error = read.expect_err("nothing comes any more");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
