//! Frames and descriptors over a Unix stream socket.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::Header;
use super::frame::HeaderError;
use crate::wire::DecodeError;

/// How much is taken from the socket at once.
const READ_BYTES: usize = 64 << 10;
/// The most descriptors that one `recvmsg` accepts (`SCM_MAX_FD` of Linux): fewer would
/// cut off what a stranger sends, and with it the order of things.
const MOST_DESCRIPTORS: usize = 253;

/// Why a conversation ended.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The other side has closed.
    #[error("the other side closed the connection")]
    Closed,
    /// The socket failed.
    #[error("the connection broke off")]
    Io(#[from] io::Error),
    /// The header of a frame is wrong.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A frame is no message.
    #[error(transparent)]
    Message(#[from] DecodeError),
    /// A frame announces a descriptor that did not come, or one came that no frame
    /// announces.
    #[error("descriptors and frames do not go together")]
    Descriptors,
}

/// A frame as it arrived.
#[derive(Debug)]
pub struct Frame {
    /// Its header.
    pub header: Header,
    /// Its payload, not decoded yet.
    pub payload: Bytes,
    /// The descriptor that came with it.
    pub descriptor: Option<OwnedFd>,
}

/// The end of a socket from which frames are read.
#[derive(Debug)]
pub struct FrameReader {
    stream: Arc<UnixStream>,
    buffer: BytesMut,
    scratch: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

impl FrameReader {
    /// Reads from `stream`.
    pub fn new(stream: Arc<UnixStream>) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            scratch: vec![0; READ_BYTES],
            descriptors: VecDeque::new(),
        }
    }

    /// The next frame.
    ///
    /// # Errors
    /// [`StreamError::Closed`] if the other side closed between two frames; the others
    /// when the conversation cannot go on.
    ///
    /// # Cancel safety
    /// Cancel-safe: what was read stays in the buffer.
    pub async fn next(&mut self) -> Result<Frame, StreamError> {
        loop {
            if let Some(frame) = self.take_frame()? {
                return Ok(frame);
            }
            if self.receive().await? == 0 {
                return Err(match self.buffer.is_empty() {
                    true => StreamError::Closed,
                    false => io::Error::from(io::ErrorKind::UnexpectedEof).into(),
                });
            }
        }
    }

    fn take_frame(&mut self) -> Result<Option<Frame>, StreamError> {
        let Some(header) = self.buffer.first_chunk() else {
            return Ok(None);
        };
        let header = Header::decode(*header)?;
        let end = Header::LEN + header.len as usize;
        if self.buffer.len() < end {
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(end);
        let payload = frame.split_off(Header::LEN).freeze();
        let descriptor = match header.descriptor {
            true => Some(
                self.descriptors
                    .pop_front()
                    .ok_or(StreamError::Descriptors)?,
            ),
            false => None,
        };
        // A descriptor comes with the first byte of its frame: when nothing of a next
        // frame has come, no descriptor may be left.
        if self.buffer.is_empty() && !self.descriptors.is_empty() {
            return Err(StreamError::Descriptors);
        }
        Ok(Some(Frame {
            header,
            payload,
            descriptor,
        }))
    }

    async fn receive(&mut self) -> Result<usize, StreamError> {
        let Self {
            stream,
            scratch,
            descriptors,
            ..
        } = self;
        let mut cut_off = false;
        let received = stream
            .async_io(Interest::READABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
                let mut control = RecvAncillaryBuffer::new(&mut space);
                let mut slices = [IoSliceMut::new(scratch)];
                let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
                let received = recvmsg(stream.as_fd(), &mut slices, &mut control, flags)?;
                for message in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(passed) = message {
                        descriptors.extend(passed);
                    }
                }
                cut_off = received.flags.contains(ReturnFlags::CTRUNC);
                Ok(received.bytes)
            })
            .await?;
        if cut_off || descriptors.len() > MOST_DESCRIPTORS {
            return Err(StreamError::Descriptors);
        }
        self.buffer.extend_from_slice(&self.scratch[..received]);
        Ok(received)
    }
}

/// The end of a socket into which frames are written.
#[derive(Debug)]
pub struct FrameWriter {
    stream: Arc<UnixStream>,
}

impl FrameWriter {
    /// Writes into `stream`.
    pub fn new(stream: Arc<UnixStream>) -> Self {
        Self { stream }
    }

    /// Writes `frames`, whole encoded frames one behind the other, and passes
    /// `descriptor` with the first byte.
    ///
    /// # Errors
    /// [`StreamError::Io`].
    ///
    /// # Cancel safety
    /// Not cancel-safe: a part may have been written.
    pub async fn write(
        &self,
        frames: &[u8],
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Result<(), StreamError> {
        let mut descriptor = descriptor;
        let mut rest = frames;
        while !rest.is_empty() {
            let sent = self
                .stream
                .async_io(Interest::WRITABLE, || send(&self.stream, rest, descriptor))
                .await?;
            descriptor = None;
            rest = &rest[sent..];
        }
        Ok(())
    }
}

fn send(
    stream: &UnixStream,
    bytes: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let passed: Vec<BorrowedFd<'_>> = descriptor.into_iter().collect();
    if !passed.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&passed));
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    Ok(sendmsg(
        stream.as_fd(),
        &[IoSlice::new(bytes)],
        &mut control,
        flags,
    )?)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};

    use super::*;
    use crate::local::MAX_PAYLOAD;

    fn frame(request: u64, payload: &[u8], descriptor: bool) -> Vec<u8> {
        let header = Header {
            len: payload.len() as u32,
            kind: 7,
            descriptor,
            request,
        };
        [&header.encode()[..], payload].concat()
    }

    fn pair() -> (FrameWriter, FrameReader, Arc<UnixStream>) {
        let (a, b) = UnixStream::pair().unwrap();
        let a = Arc::new(a);
        (
            FrameWriter::new(Arc::clone(&a)),
            FrameReader::new(Arc::new(b)),
            a,
        )
    }

    #[tokio::test]
    async fn descriptors_stay_with_their_frames() {
        let (writer, mut reader, _) = pair();
        let mut files = Vec::new();
        for n in 0..20_u64 {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&n.to_le_bytes()).unwrap();
            file.rewind().unwrap();
            let bytes = [frame(2 * n, b"with", true), frame(2 * n + 1, b"", false)].concat();
            writer.write(&bytes, Some(file.as_fd())).await.unwrap();
            files.push(file);
        }
        for n in 0..20_u64 {
            let first = reader.next().await.unwrap();
            assert_eq!(
                (first.header.request, &first.payload[..]),
                (2 * n, &b"with"[..])
            );
            let mut text = [0; 8];
            let mut file = std::fs::File::from(first.descriptor.unwrap());
            file.read_exact(&mut text).unwrap();
            assert_eq!(u64::from_le_bytes(text), n);
            let second = reader.next().await.unwrap();
            assert!(second.descriptor.is_none() && second.payload.is_empty());
        }
    }

    #[tokio::test]
    async fn the_longest_frame_goes_through_a_small_socket_buffer() {
        let (writer, mut reader, _) = pair();
        let payload = vec![9; MAX_PAYLOAD];
        let bytes = frame(1, &payload, false);
        let (written, read) = tokio::join!(writer.write(&bytes, None), reader.next());
        written.unwrap();
        assert_eq!(read.unwrap().payload, payload);
    }

    #[tokio::test]
    async fn a_descriptor_without_its_frame_and_a_frame_without_its_descriptor_end_it() {
        let (writer, mut reader, _) = pair();
        writer.write(&frame(1, b"", true), None).await.unwrap();
        assert!(matches!(reader.next().await, Err(StreamError::Descriptors)));
        let (writer, mut reader, _) = pair();
        let file = tempfile::tempfile().unwrap();
        writer
            .write(&frame(1, b"", false), Some(file.as_fd()))
            .await
            .unwrap();
        assert!(matches!(reader.next().await, Err(StreamError::Descriptors)));
    }

    #[tokio::test]
    async fn an_end_between_frames_is_told_from_one_within() {
        let (writer, mut reader, stream) = pair();
        writer.write(&frame(1, b"x", false), None).await.unwrap();
        reader.next().await.unwrap();
        writer
            .write(&frame(2, b"xyz", false)[..17], None)
            .await
            .unwrap();
        drop((writer, stream));
        assert!(matches!(reader.next().await, Err(StreamError::Io(_))));
        let (writer, mut reader, stream) = pair();
        drop((writer, stream));
        assert!(matches!(reader.next().await, Err(StreamError::Closed)));
    }
}
