//! Bytes of objects on their way to another member.
//!
//! A whole chunk goes out with the checksum under which it was filed, so what a disk or
//! this process has got wrong meanwhile is found by the one who receives it. Nobody here
//! has to look at its bytes: over a plain connection the kernel sends them from the file
//! (sendfile), for TLS they are read into memory once. Parts of chunks, and what is in
//! memory only, are copied and summed up.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use forebay_core::cache::{Availability, Backing};
use forebay_core::{ByteRange, chunk};
use forebay_proto::peer::Header;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown, send, shutdown};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::super::socket::Socket;
use super::super::stream::Stream;
use crate::fill::OpenObject;
use crate::store;

/// How long a member may take nothing of what it has asked for.
const STALL: Timespec = Timespec {
    tv_sec: 20,
    tv_nsec: 0,
};

/// Why bytes were not sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unsent {
    #[error("the cached bytes cannot be read")]
    Unreadable,
    #[error(transparent)]
    Connection(#[from] io::Error),
}

/// Chunks that lie in one file, each with the header of its frame.
struct Run {
    backing: Backing,
    frames: Vec<(Header, ByteRange)>,
}

impl Run {
    /// The whole chunks from the beginning of `range` on that are present; empty if the
    /// first one is not, or is wanted in part.
    fn of(object: &OpenObject, backing: Backing, range: ByteRange) -> Self {
        let frames = chunk::covering(range).map_while(|index| {
            let whole = chunk::range(index, object.target.size);
            let wanted = whole.intersect(range) == whole;
            let crc = object.lease.checksum(index).filter(|_| wanted)?;
            let len = u32::try_from(whole.len()).ok()?;
            Some((Header::of_data_with(len, crc), whole))
        });
        Self {
            frames: frames.collect(),
            backing,
        }
    }

    /// The end of the last chunk.
    fn end(&self) -> Option<u64> {
        self.frames.last().map(|(_, range)| range.end())
    }
}

/// Threads that send from files at once, for all connections: others need threads, too,
/// such as those that write what arrives from elsewhere.
pub(super) const SENDERS: usize = 128;

/// What sends the bytes of one answer.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// The memory of the last frame, which is used again.
    frame: Vec<u8>,
    senders: Arc<Semaphore>,
}

impl Outgoing {
    /// A sender that waits for one of `senders` where it needs a thread for long.
    pub(super) fn new(senders: &Arc<Semaphore>) -> Self {
        Self {
            frame: Vec::new(),
            senders: Arc::clone(senders),
        }
    }

    /// Sends the bytes of `range`, of which the first chunk was `found`: that chunk or the
    /// part of it that is wanted, and those behind it that are present too. Where what was
    /// sent ends.
    pub(super) async fn send(
        &mut self,
        stream: &mut Stream,
        object: &OpenObject,
        found: Availability,
        range: ByteRange,
    ) -> Result<u64, Unsent> {
        let first = chunk::range(range.start() / chunk::CHUNK_SIZE, object.target.size);
        let piece = first.intersect(range);
        let backing = match found {
            Availability::Inline(bytes) if bytes.len() as u64 == piece.len() => {
                let header = Header::of_data(&bytes).encode();
                stream.write_all(&header).await?;
                stream.write_all(&bytes).await?;
                return Ok(piece.end());
            }
            Availability::Inline(_) => return Err(Unsent::Unreadable),
            Availability::Backed(backing) => backing,
        };
        if let Stream::Left(Socket::Watched(socket)) = stream {
            let run = Run::of(object, backing.clone(), range);
            if let Some(end) = run.end() {
                // An error says that the semaphore was closed, and it never is.
                let _place = self.senders.acquire().await;
                send_from_file(socket, run).await?;
                return Ok(end);
            }
        }
        let crc = Run::of(object, backing.clone(), piece).frames.pop();
        let frame = std::mem::take(&mut self.frame);
        let header = crc.map(|(header, _)| header);
        self.frame = read(frame, backing, piece, header).await?;
        stream.write_all(&self.frame).await?;
        Ok(piece.end())
    }
}

/// The frame that carries `range`, in the memory of another one.
async fn read(
    mut frame: Vec<u8>,
    backing: Backing,
    range: ByteRange,
    header: Option<Header>,
) -> Result<Vec<u8>, Unsent> {
    let len = usize::try_from(range.len()).map_err(|_| Unsent::Unreadable)?;
    let read = move || {
        frame.resize(Header::LEN + len, 0);
        let (head, payload) = frame.split_at_mut(Header::LEN);
        let at = backing.offset + range.start();
        backing.file.read_exact_at(payload, at).ok()?;
        let header = header.unwrap_or_else(|| Header::of_data(payload));
        head.copy_from_slice(&header.encode());
        Some(frame)
    };
    let read = tokio::task::spawn_blocking(read).await;
    read.ok().flatten().ok_or(Unsent::Unreadable)
}

/// Has the kernel send the frames of `run`, on a thread that may wait for disk and
/// socket.
///
/// # Cancel safety
/// Dropping the future ends the connection, and the thread with it.
async fn send_from_file(stream: &TcpStream, run: Run) -> Result<(), Unsent> {
    let socket = stream.as_fd().try_clone_to_owned()?;
    let mut broken = BreakOff(Some(stream));
    let sent = tokio::task::spawn_blocking(move || send_frames(&socket, &run)).await;
    sent.map_err(|_| Unsent::Unreadable)??;
    broken.0 = None;
    Ok(())
}

/// Ends a connection in the middle of a frame, unless it was told that all was sent.
struct BreakOff<'a>(Option<&'a TcpStream>);

impl Drop for BreakOff<'_> {
    fn drop(&mut self) {
        if let Some(stream) = self.0 {
            // It may have ended by itself.
            let _ = shutdown(stream, Shutdown::Both);
        }
    }
}

fn send_frames(socket: &OwnedFd, run: &Run) -> Result<(), Unsent> {
    if let (Some((_, first)), Some((_, last))) = (run.frames.first(), run.frames.last()) {
        // All of it at once: of itself the kernel reads no more than a pipe takes.
        let whole = ByteRange::new(first.start(), last.end());
        store::read_into_memory(&run.backing, whole);
    }
    for (header, range) in &run.frames {
        send_header(socket, &header.encode())?;
        let (mut at, end) = (
            run.backing.offset + range.start(),
            run.backing.offset + range.end(),
        );
        while at < end {
            let left = usize::try_from(end - at).unwrap_or(usize::MAX);
            match rustix::fs::sendfile(socket, &*run.backing.file, Some(&mut at), left) {
                // The file is shorter than it was.
                Ok(0) => return Err(Unsent::Unreadable),
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => wait(socket)?,
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
    }
    Ok(())
}

fn send_header(socket: &OwnedFd, mut header: &[u8]) -> io::Result<()> {
    while !header.is_empty() {
        // With the bytes that follow.
        match send(socket, header, SendFlags::MORE | SendFlags::NOSIGNAL) {
            Ok(sent) => header = &header[sent..],
            Err(Errno::AGAIN) => wait(socket)?,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Waits until the socket takes something again.
fn wait(socket: &OwnedFd) -> io::Result<()> {
    let mut fds = [PollFd::new(socket, PollFlags::OUT)];
    match poll(&mut fds, Some(&STALL)) {
        Ok(0) => Err(io::ErrorKind::TimedOut.into()),
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
