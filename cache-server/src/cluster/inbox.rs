//! Bytes of objects as they arrive from another member: each frame straight from the
//! socket into memory that is used again and again.
//!
//! A frame is as large as a chunk. Memory of that size, asked for anew each time, comes from the
//! kernel page by page and is zeroed before the socket's bytes are copied over the zeros.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes, BytesMut};
use forebay_core::checksum::Crc32c;
use forebay_proto::peer::{FrameError, Header, MAX_PAYLOAD};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Pieces of memory that are kept while nobody needs them: 16 MiB.
const MOST_IDLE: usize = 16;
/// Smaller frames are copied: they are many, and each would hold a whole piece.
const SMALL: usize = MAX_PAYLOAD / 4;

/// Memory for frames.
#[derive(Debug, Default)]
pub(super) struct Memory {
    // Held for a push or a pop.
    idle: Mutex<Vec<Box<[u8]>>>,
}

/// A piece of it, given back when the last of its bytes is dropped.
struct Lent {
    memory: Arc<Memory>,
    piece: Box<[u8]>,
    len: usize,
}

impl Memory {
    fn lend(self: &Arc<Self>, len: usize) -> Lent {
        let piece = self.idle().pop();
        Lent {
            piece: piece.unwrap_or_else(|| vec![0; MAX_PAYLOAD].into()),
            memory: Arc::clone(self),
            len,
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Box<[u8]>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.piece[..self.len]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let piece = std::mem::take(&mut self.piece);
        let mut idle = self.memory.idle();
        if idle.len() < MOST_IDLE {
            idle.push(piece);
        }
    }
}

/// Reads the payload of a frame of which `header` was the beginning, and compares it with
/// its checksum. What was read behind the header already is in `buffer`, and is taken from
/// it.
pub(super) async fn receive(
    from: &mut (impl AsyncRead + Unpin + ?Sized),
    buffer: &mut BytesMut,
    memory: &Arc<Memory>,
    len: usize,
    header: Header,
) -> Result<Bytes, FrameError> {
    let mut lent = memory.lend(len);
    let mut crc = Crc32c::default();
    let mut filled = buffer.len().min(len);
    buffer.copy_to_slice(&mut lent.piece[..filled]);
    crc.update(&lent.piece[..filled]);
    while filled < len {
        let read = from.read(&mut lent.piece[filled..len]).await?;
        if read == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        // While it is in the processor's cache.
        crc.update(&lent.piece[filled..filled + read]);
        filled += read;
    }
    if crc.value() != header.crc() {
        return Err(FrameError::Checksum);
    }
    Ok(match len {
        ..SMALL => Bytes::copy_from_slice(&lent.piece[..len]),
        _ => Bytes::from_owner(lent),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn received(frame: &[u8], buffered: usize) -> Result<Bytes, FrameError> {
        let (head, rest) = frame.split_at(Header::LEN);
        let header = Header::decode(head.first_chunk().expect("a header"))?;
        let (first, mut rest) = rest.split_at(buffered);
        let mut buffer = BytesMut::from(first);
        let len = header.data_len().expect("a data frame");
        let memory = Arc::default();
        let received = receive(&mut rest, &mut buffer, &memory, len, header).await;
        drop(received?);
        // Once more, in the memory of the first.
        let (first, mut rest) = frame[Header::LEN..].split_at(buffered);
        let mut buffer = BytesMut::from(first);
        receive(&mut rest, &mut buffer, &memory, len, header).await
    }

    fn frame(payload: &[u8]) -> Vec<u8> {
        [&Header::of_data(payload).encode(), payload].concat()
    }

    #[tokio::test]
    async fn frames_of_every_size_arrive_whole() {
        for len in [0, 1, SMALL - 1, SMALL, MAX_PAYLOAD] {
            let payload: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
            for buffered in [0, len.min(100), len] {
                let received = received(&frame(&payload), buffered).await.expect("right");
                assert!(received == payload, "{len}, {buffered}");
            }
        }
    }

    #[tokio::test]
    async fn a_wrong_or_missing_byte_is_found() {
        let mut wrong = frame(&[7; 300_000]);
        wrong[250_000] ^= 1;
        let error = received(&wrong, 5).await.expect_err("wrong");
        assert!(matches!(error, FrameError::Checksum));
        let short = &frame(&[7; 300_000])[..200_000];
        let error = received(short, 5).await.expect_err("short");
        assert!(matches!(error, FrameError::Io(_)));
    }
}
