//! Kubelets' HTTP/2, made acceptable.
//!
//! The kubelet's plugin watcher opens the socket of a plugin by its path and sends that
//! path as the `:authority` of every request, percent-encoded (1.34) or as it is (older
//! ones). Neither is an authority by RFC 3986, and the HTTP/2 library that we serve with
//! refuses the request as malformed; it has no switch for that. So between the socket and
//! the library the frames with headers are decoded, the authority is replaced by
//! `localhost`, and they are encoded again. Everything else passes as it came, and nothing
//! is changed on the way back.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use fluke_hpack::Decoder;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tonic::transport::server::Connected;

// RFC 9113, sections 3.4, 4.1, 6.2 and 6.10.
const PREFACE: usize = 24;
const FRAME_HEADER: usize = 9;
const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// What a peer may send in one frame unless it is told otherwise, which it is not.
const LARGEST_FRAME: usize = 16_384;

/// A connection of a caller whose authority is not looked at.
#[derive(Debug)]
pub(crate) struct AnyAuthority {
    stream: UnixStream,
    frames: Frames,
    ready: Vec<u8>,
    taken: usize,
}

impl AnyAuthority {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            frames: Frames::default(),
            ready: Vec::new(),
            taken: 0,
        }
    }
}

impl Connected for AnyAuthority {
    type ConnectInfo = <UnixStream as Connected>::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for AnyAuthority {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.taken == this.ready.len() {
            let mut piece = [0; LARGEST_FRAME];
            let mut piece = ReadBuf::new(&mut piece);
            std::task::ready!(Pin::new(&mut this.stream).poll_read(context, &mut piece))?;
            if piece.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.ready.clear();
            this.taken = 0;
            this.frames.pass(piece.filled(), &mut this.ready)?;
        }
        let rest = &this.ready[this.taken..];
        let taken = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..taken]);
        this.taken += taken;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for AnyAuthority {
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

/// What a peer sends, cut into frames.
struct Frames {
    /// Bytes that are no whole frame yet.
    rest: Vec<u8>,
    begun: bool,
    decoder: Decoder<'static>,
    /// Headers whose end is in a frame to come: stream, flags, block.
    open: Option<([u8; 4], u8, Vec<u8>)>,
}

impl std::fmt::Debug for Frames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frames").finish_non_exhaustive()
    }
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            rest: Vec::new(),
            begun: false,
            decoder: Decoder::new(),
            open: None,
        }
    }
}

impl Frames {
    /// Takes what has come and adds what is to be passed on to `out`.
    fn pass(&mut self, came: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let mut rest = std::mem::take(&mut self.rest);
        rest.extend_from_slice(came);
        let mut left = rest.as_slice();
        if !self.begun && left.len() >= PREFACE {
            let (preface, frames) = left.split_at(PREFACE);
            out.extend_from_slice(preface);
            left = frames;
            self.begun = true;
        }
        while self.begun && left.len() >= FRAME_HEADER {
            let length =
                usize::from(left[0]) << 16 | usize::from(left[1]) << 8 | usize::from(left[2]);
            if length > LARGEST_FRAME {
                return Err(malformed("a frame is too large"));
            }
            if left.len() < FRAME_HEADER + length {
                break;
            }
            let (frame, others) = left.split_at(FRAME_HEADER + length);
            self.frame(frame, out)?;
            left = others;
        }
        self.rest = left.to_vec();
        Ok(())
    }

    fn frame(&mut self, frame: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let (kind, flags) = (frame[3], frame[4]);
        let stream = [frame[5], frame[6], frame[7], frame[8]];
        let payload = &frame[FRAME_HEADER..];
        let (stream, flags, block, ended) = match (kind, self.open.take()) {
            (HEADERS, None) => {
                let block = fragment(payload, flags)?.to_vec();
                (stream, flags, block, flags & END_HEADERS != 0)
            }
            (CONTINUATION, Some((begun, first_flags, mut block))) if begun == stream => {
                block.extend_from_slice(payload);
                (begun, first_flags, block, flags & END_HEADERS != 0)
            }
            (_, Some(_)) => return Err(malformed("headers are interrupted")),
            (_, None) => {
                out.extend_from_slice(frame);
                return Ok(());
            }
        };
        if block.len() > LARGEST_FRAME {
            return Err(malformed("headers are too large"));
        }
        if !ended {
            self.open = Some((stream, flags, block));
            return Ok(());
        }
        let block = self.replaced(&block)?;
        let length = u16::try_from(block.len())
            .ok()
            .filter(|&length| usize::from(length) <= LARGEST_FRAME);
        let length = length
            .ok_or_else(|| malformed("headers are too large"))?
            .to_be_bytes();
        out.extend([
            0,
            length[0],
            length[1],
            HEADERS,
            END_HEADERS | flags & END_STREAM,
        ]);
        out.extend(stream);
        out.extend(block);
        Ok(())
    }

    /// The headers with another authority, as literals that nobody has to remember.
    fn replaced(&mut self, block: &[u8]) -> io::Result<Vec<u8>> {
        let headers = self.decoder.decode(block);
        let headers = headers.map_err(|_| malformed("headers cannot be decoded"))?;
        let mut encoded = Vec::with_capacity(2 * block.len());
        for (name, value) in &headers {
            let value = if name == b":authority" {
                b"localhost"
            } else {
                value.as_slice()
            };
            // RFC 7541, section 6.2.2: a literal without indexing, with a new name.
            encoded.push(0);
            text(name, &mut encoded);
            text(value, &mut encoded);
        }
        Ok(encoded)
    }
}

/// A block of headers without what stands around it.
fn fragment(payload: &[u8], flags: u8) -> io::Result<&[u8]> {
    let mut rest = payload;
    let mut padding = 0;
    if flags & PADDED != 0 {
        let (length, others) = rest.split_first().ok_or_else(|| malformed("no padding"))?;
        padding = usize::from(*length);
        rest = others;
    }
    let priority = if flags & PRIORITY != 0 { 5 } else { 0 };
    let end = rest.len().checked_sub(padding);
    end.and_then(|end| rest.get(priority..end))
        .ok_or_else(|| malformed("a frame is too short"))
}

/// A text without compression: its length (RFC 7541, section 5.1, a prefix of 7 bits), then it.
fn text(text: &[u8], out: &mut Vec<u8>) {
    const PREFIX: usize = 0x7f;
    let mut length = text.len();
    if length < PREFIX {
        out.push(u8::try_from(length).unwrap_or(0));
    } else {
        out.push(0x7f);
        length -= PREFIX;
        while length >= 0x80 {
            out.push(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
            length >>= 7;
        }
        out.push(u8::try_from(length).unwrap_or(0));
    }
    out.extend_from_slice(text);
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests;
