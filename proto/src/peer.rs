//! The protocol between the cache servers of a cluster, over TCP or TLS.
//!
//! # Frames
//! A [`Header`] of 16 bytes and a payload of up to [`MAX_PAYLOAD`]; numbers are
//! little-endian. Each payload carries its CRC32C, from the sender's memory to the
//! receiver's: what a network card or a switch gets wrong is found.
//!
//! | bytes | field |
//! |---|---|
//! | 0..4 | length of the payload |
//! | 4 | kind: requests below 128, replies from 128 on |
//! | 5..8 | 0 |
//! | 8..12 | CRC32C of the payload |
//! | 12..16 | 0 |
//!
//! # Conversation
//! The first frame is [`Request::Hello`], answered by [`Reply::Welcome`] or
//! [`Reply::Refused`]. Then one request at a time: a connection that is busy is not used
//! for another, so back-pressure is TCP's own and giving up is closing. A
//! [`Request::Read`] is answered by [`Reply::Began`] at once, which says that the server
//! lives and works at it; then [`Reply::Data`] in order, then [`Reply::End`], or
//! [`Reply::Failed`] at any point.

use bytes::{BufMut, Bytes, BytesMut};
use forebay_core::{ByteRange, ErrorKind, checksum};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::wire::{DecodeError, Fields, PutFields, Result};

/// The most bytes of a payload.
pub const MAX_PAYLOAD: usize = 1 << 20;
/// The oldest version of the protocol that this program speaks.
pub const OLDEST: u16 = 1;
/// The newest.
pub const NEWEST: u16 = 1;

const MAX_NAME: usize = 255;
const MAX_MESSAGE: usize = 4096;
const MAX_IDENTITY: usize = 4096;
const MAX_KEY: usize = 8192;
const MAX_ETAG: usize = 4096;

/// What a server asks another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Opens the conversation.
    Hello {
        /// The oldest version of the protocol that it speaks.
        oldest: u16,
        /// The newest.
        newest: u16,
        /// The name of the cluster: servers of another one are refused.
        cluster: String,
        /// The member's name.
        member: String,
    },
    /// A sign of life is wanted.
    Ping,
    /// Bytes of an object are wanted.
    Read(ReadRequest),
}

/// Bytes of an object in one version. The one who is asked has them or fetches them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// The identity of the origin; both servers must have it configured.
    pub origin: String,
    /// The object's key.
    pub key: Vec<u8>,
    /// Its validator.
    pub etag: String,
    /// Its size in bytes.
    pub size: u64,
    /// The bytes.
    pub range: ByteRange,
    /// Whether they are wanted only if they are there already: who asks has asked the
    /// owner too, and the origin is not to be read twice.
    pub present_only: bool,
}

/// What a server answers another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To [`Request::Hello`].
    Welcome {
        /// The version of the protocol that is spoken from here on.
        version: u16,
    },
    /// To [`Request::Hello`]: it will not be spoken to.
    Refused {
        /// Why.
        message: String,
    },
    /// To [`Request::Ping`].
    Pong {
        /// Whether the server is about to leave: it is asked for nothing new.
        draining: bool,
    },
    /// To [`Request::Read`]: it is worked at.
    Began,
    /// The next bytes.
    Data(Bytes),
    /// All bytes were sent.
    End,
    /// They cannot be had.
    Failed {
        /// The class of the error.
        kind: ErrorKind,
        /// What happened.
        message: String,
    },
}

/// What stands before each payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    len: u32,
    kind: u8,
    crc: u32,
}

/// Why a frame cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The connection failed or ended.
    #[error("the connection broke off")]
    Io(#[from] std::io::Error),
    /// The payload would be too long.
    #[error("a frame of {len} bytes; the limit is {MAX_PAYLOAD}")]
    TooLong {
        /// Its length.
        len: u32,
    },
    /// Something stands in a reserved field.
    #[error("the frame's header says what no version of the protocol means")]
    Reserved,
    /// The payload is not what was sent.
    #[error("a frame arrived with another checksum than it was sent with")]
    Checksum,
    /// The payload is no message.
    #[error(transparent)]
    Message(#[from] DecodeError),
}

/// The kind of [`Reply::Data`].
const DATA: u8 = 132;

impl Header {
    /// The length of an encoded header.
    pub const LEN: usize = 16;

    /// The header of a data frame with this payload.
    pub fn of_data(payload: &[u8]) -> Self {
        Self::of(DATA, payload)
    }

    /// The header of a data frame whose payload has `len` bytes, at most [`MAX_PAYLOAD`],
    /// and this checksum.
    pub fn of_data_with(len: u32, crc: u32) -> Self {
        let kind = DATA;
        Self { len, kind, crc }
    }

    /// The length of the payload, if it is bytes of an object.
    pub fn data_len(&self) -> Option<usize> {
        (self.kind == DATA).then_some(self.len as usize)
    }

    /// The CRC32C of the payload.
    pub fn crc(&self) -> u32 {
        self.crc
    }

    fn of(kind: u8, payload: &[u8]) -> Self {
        Self {
            len: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            kind,
            crc: checksum::crc32c(payload),
        }
    }

    /// The header's bytes.
    pub fn encode(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..4].copy_from_slice(&self.len.to_le_bytes());
        bytes[4] = self.kind;
        bytes[8..12].copy_from_slice(&self.crc.to_le_bytes());
        bytes
    }

    /// Reads a header.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] and [`FrameError::Reserved`].
    pub fn decode(bytes: &[u8; Self::LEN]) -> std::result::Result<Self, FrameError> {
        let [a, b, c, d, kind, zeros @ .., e, f, g, h, w, x, y, z] = *bytes;
        let len = u32::from_le_bytes([a, b, c, d]);
        if len as usize > MAX_PAYLOAD {
            return Err(FrameError::TooLong { len });
        }
        if zeros != [0; 3] || [w, x, y, z] != [0; 4] {
            return Err(FrameError::Reserved);
        }
        let crc = u32::from_le_bytes([e, f, g, h]);
        Ok(Self { len, kind, crc })
    }
}

/// Reads one frame and checks it: its kind and its payload. What was read beyond it stays
/// in `buffer`, which begins empty.
///
/// # Errors
/// [`FrameError`].
///
/// # Cancel safety
/// Cancel-safe, if the same `buffer` is used again.
pub async fn read_frame(
    from: &mut (impl AsyncRead + Unpin + ?Sized),
    buffer: &mut BytesMut,
) -> std::result::Result<(u8, Bytes), FrameError> {
    loop {
        let mut missing = Header::LEN.saturating_sub(buffer.len());
        if let Some(header) = buffer.first_chunk() {
            let header = Header::decode(header)?;
            let end = Header::LEN + header.len as usize;
            if buffer.len() >= end {
                let payload = buffer.split_to(end).split_off(Header::LEN).freeze();
                if checksum::crc32c(&payload) != header.crc {
                    return Err(FrameError::Checksum);
                }
                return Ok((header.kind, payload));
            }
            missing = end - buffer.len();
        }
        // With the header of the next frame, which mostly follows at once.
        buffer.reserve(missing + Header::LEN);
        if from.read_buf(buffer).await? == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
    }
}

fn frame(kind: u8, encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = vec![0; Header::LEN];
    encode(&mut frame);
    let header = Header::of(kind, &frame[Header::LEN..]);
    frame[..Header::LEN].copy_from_slice(&header.encode());
    frame
}

impl Request {
    /// The frame that carries it.
    pub fn frame(&self) -> Vec<u8> {
        match self {
            Self::Hello {
                oldest,
                newest,
                cluster,
                member,
            } => frame(1, |payload| {
                payload.put_u16_le(*oldest);
                payload.put_u16_le(*newest);
                payload.put_text(cluster, MAX_NAME);
                payload.put_text(member, MAX_NAME);
            }),
            Self::Ping => frame(2, |_| {}),
            Self::Read(read) => frame(3, |payload| {
                payload.put_text(&read.origin, MAX_IDENTITY);
                payload.put_counted(&read.key);
                payload.put_text(&read.etag, MAX_ETAG);
                payload.put_u64_le(read.size);
                payload.put_range(read.range);
                payload.put_truth(read.present_only);
            }),
        }
    }

    /// Reads the payload of a frame of this `kind`.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(kind: u8, payload: &[u8]) -> Result<Self> {
        let mut fields = Fields::new(payload);
        let request = match kind {
            1 => Self::Hello {
                oldest: fields.u16("oldest version")?,
                newest: fields.u16("newest version")?,
                cluster: fields.text("cluster", MAX_NAME)?.to_owned(),
                member: fields.text("member", MAX_NAME)?.to_owned(),
            },
            2 => Self::Ping,
            3 => Self::Read(ReadRequest {
                origin: fields.text("origin", MAX_IDENTITY)?.to_owned(),
                key: fields.counted("key", MAX_KEY)?.to_vec(),
                etag: fields.text("validator", MAX_ETAG)?.to_owned(),
                size: fields.u64("size")?,
                range: fields.range("range")?,
                present_only: fields.truth("only if present")?,
            }),
            kind => return Err(DecodeError::UnknownKind { kind }),
        };
        fields.end()?;
        Ok(request)
    }
}

impl Reply {
    /// The frame that carries it.
    pub fn frame(&self) -> Vec<u8> {
        match self {
            Self::Welcome { version } => frame(128, |payload| payload.put_u16_le(*version)),
            Self::Refused { message } => {
                frame(129, |payload| payload.put_text(message, MAX_MESSAGE))
            }
            Self::Pong { draining } => frame(130, |payload| payload.put_truth(*draining)),
            Self::Began => frame(131, |_| {}),
            Self::Data(bytes) => frame(DATA, |payload| payload.put_slice(bytes)),
            Self::End => frame(133, |_| {}),
            Self::Failed { kind, message } => frame(134, |payload| {
                payload.put_error_kind(*kind);
                payload.put_text(message, MAX_MESSAGE);
            }),
        }
    }

    /// Reads the payload of a frame of this `kind`.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(kind: u8, payload: Bytes) -> Result<Self> {
        if kind == DATA {
            return Ok(Self::Data(payload));
        }
        let mut fields = Fields::new(&payload);
        let reply = match kind {
            128 => Self::Welcome {
                version: fields.u16("version")?,
            },
            129 => Self::Refused {
                message: fields.text("message", MAX_MESSAGE)?.to_owned(),
            },
            130 => Self::Pong {
                draining: fields.truth("draining")?,
            },
            131 => Self::Began,
            133 => Self::End,
            134 => Self::Failed {
                kind: fields.error_kind("class of the error")?,
                message: fields.text("message", MAX_MESSAGE)?.to_owned(),
            },
            kind => return Err(DecodeError::UnknownKind { kind }),
        };
        fields.end()?;
        Ok(reply)
    }
}

#[cfg(test)]
mod tests;
