//! What a client asks.

use bytes::BufMut;
use forebay_core::ByteRange;
use forebay_core::cache::FileRef;
use forebay_core::manifest::VersionId;

use super::frame::frame;
use super::{MAX_NAME, MAX_PACKS, file, put_file, put_version, version};
use crate::wire::{DecodeError, Fields, PutFields, Result};

/// The most runs of entries in one frame of a [`Request::Warmup`].
pub const MAX_RUNS: usize = 1 << 16;
/// The entries whose places one [`Request::Places`] asks for.
pub const PLACES: u32 = 1024;

/// The first message of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The oldest version of the protocol that it speaks.
    pub oldest: u16,
    /// The newest.
    pub newest: u16,
    /// Chosen at random when the client starts: the same in each of its connections.
    pub token: [u8; 16],
}

/// Which version of a dataset a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// What the sources hold now; the version listed last if they do not answer.
    Latest,
    /// What the sources hold now, or an error.
    Relisted,
    /// The stored version that begins with these hexadecimal digits.
    Stored(String),
}

/// Asks for a dataset version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attach {
    /// The dataset's name in the server's configuration.
    pub dataset: String,
    /// Which version of it.
    pub wanted: Wanted,
}

/// What a client asks. The number of a variant on the wire is its position, from 1 on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Opens the conversation. Answered by [`Welcome`](super::Reply::Welcome).
    Hello(Hello),
    /// Makes a version readable. Answered by any number of
    /// [`Listing`](super::Reply::Listing), then [`Attached`](super::Reply::Attached) with
    /// the manifest's descriptor.
    Attach(Attach),
    /// Takes a lease. Answered by [`Leased`](super::Reply::Leased).
    Lease(FileRef),
    /// Gives a lease back. Not answered.
    Release(u64),
    /// Makes a range present. Answered by [`Backed`](super::Reply::Backed), or by
    /// [`Inline`](super::Reply::Inline) until one is the last.
    Ensure {
        /// The lease.
        lease: u64,
        /// The range, within the object.
        range: ByteRange,
    },
    /// Asks for the file that holds the whole object, verified. Answered by
    /// [`Whole`](super::Reply::Whole).
    Whole(u64),
    /// Says that a range will probably be read soon. Not answered. The server notes what
    /// it has no room to fetch now, and takes it up later; a range that does not go on
    /// where the noted one ends takes its place.
    Advise {
        /// The lease.
        lease: u64,
        /// The range.
        range: ByteRange,
    },
    /// Asks for the cached bytes of a file. Answered by [`Count`](super::Reply::Count).
    CachedBytes(FileRef),
    /// Asks what of a version is cached. Answered by [`Report`](super::Reply::Report).
    Report(VersionId),
    /// Asks for a dataset's stored versions. Answered by
    /// [`Versions`](super::Reply::Versions).
    Versions(String),
    /// Brings files into the cache and verifies them. Answered by any number of
    /// [`WarmupProgress`](super::Reply::WarmupProgress) and
    /// [`WarmupFailure`](super::Reply::WarmupFailure), then
    /// [`WarmupEnd`](super::Reply::WarmupEnd).
    Warmup {
        /// The version.
        version: VersionId,
        /// Runs of files by their entries: the first, and how many. Ascending.
        runs: Vec<(u32, u32)>,
        /// Whether more runs come, in a frame with the same request number.
        more: bool,
    },
    /// Gives up the request whose number the frame carries. That one is not answered any
    /// more, unless its answer was on the way.
    Cancel,
    /// Gives every lease back. Not answered; the client closes.
    Bye,
    /// Says that a range was called present and could not be read. Answered by
    /// [`Count`](super::Reply::Count), the bytes of the file that are cached, once what is
    /// wrong of them was dropped.
    Distrust {
        /// The lease.
        lease: u64,
        /// The range.
        range: ByteRange,
    },
    /// Asks where the small files of a run of [`PLACES`] entries lie, those that are
    /// verified. Not answered as such: the server sends a
    /// [`Places`](super::Reply::Places) for each pack that has some.
    Places {
        /// The version.
        version: VersionId,
        /// The first entry.
        first: u32,
    },
    /// Says how many objects were opened in which packs since it was said last, so that
    /// the cache knows what is used. Not answered.
    Used(Vec<(u32, u32)>),
}

impl Request {
    /// The number on the wire.
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Hello(_) => 1,
            Self::Attach(_) => 2,
            Self::Lease(_) => 3,
            Self::Release(_) => 4,
            Self::Ensure { .. } => 5,
            Self::Whole(_) => 6,
            Self::Advise { .. } => 7,
            Self::CachedBytes(_) => 8,
            Self::Report(_) => 9,
            Self::Versions(_) => 10,
            Self::Warmup { .. } => 11,
            Self::Cancel => 12,
            Self::Bye => 13,
            Self::Distrust { .. } => 14,
            Self::Places { .. } => 15,
            Self::Used(_) => 16,
        }
    }

    /// The frame that carries it.
    pub fn frame(&self, request: u64) -> Vec<u8> {
        frame(self.kind(), request, false, |payload| self.encode(payload))
    }

    /// Appends the payload.
    pub fn encode(&self, payload: &mut Vec<u8>) {
        match self {
            Self::Hello(hello) => {
                payload.put_u16_le(hello.oldest);
                payload.put_u16_le(hello.newest);
                payload.put_slice(&hello.token);
            }
            Self::Attach(attach) => {
                payload.put_text(&attach.dataset, MAX_NAME);
                match &attach.wanted {
                    Wanted::Latest => payload.put_u8(0),
                    Wanted::Relisted => payload.put_u8(1),
                    Wanted::Stored(prefix) => {
                        payload.put_u8(2);
                        payload.put_text(prefix, 32);
                    }
                }
            }
            Self::Lease(file) | Self::CachedBytes(file) => put_file(payload, *file),
            Self::Release(lease) | Self::Whole(lease) => payload.put_u64_le(*lease),
            Self::Ensure { lease, range }
            | Self::Advise { lease, range }
            | Self::Distrust { lease, range } => {
                payload.put_u64_le(*lease);
                payload.put_range(*range);
            }
            Self::Report(version) => put_version(payload, *version),
            Self::Versions(dataset) => payload.put_text(dataset, MAX_NAME),
            Self::Warmup {
                version,
                runs,
                more,
            } => {
                put_version(payload, *version);
                payload.put_truth(*more);
                put_pairs(payload, runs);
            }
            Self::Places { version, first } => {
                put_version(payload, *version);
                payload.put_u32_le(*first);
            }
            Self::Used(packs) => put_pairs(payload, packs),
            Self::Cancel | Self::Bye => {}
        }
    }

    /// Reads the payload of a frame of this `kind`.
    ///
    /// # Errors
    /// [`DecodeError`], also for what is left behind the message.
    pub fn decode(kind: u8, payload: &[u8]) -> Result<Self> {
        let mut fields = Fields::new(payload);
        let fields = &mut fields;
        let request = match kind {
            1 => Self::Hello(Hello {
                oldest: fields.u16("oldest version")?,
                newest: fields.u16("newest version")?,
                token: fields.array("token")?,
            }),
            2 => Self::Attach(Attach {
                dataset: fields.text("dataset", MAX_NAME)?.to_owned(),
                wanted: wanted(fields)?,
            }),
            3 => Self::Lease(file(fields)?),
            4 => Self::Release(fields.u64("lease")?),
            5 => Self::Ensure {
                lease: fields.u64("lease")?,
                range: fields.range("range")?,
            },
            6 => Self::Whole(fields.u64("lease")?),
            7 => Self::Advise {
                lease: fields.u64("lease")?,
                range: fields.range("range")?,
            },
            8 => Self::CachedBytes(file(fields)?),
            9 => Self::Report(version(fields)?),
            10 => Self::Versions(fields.text("dataset", MAX_NAME)?.to_owned()),
            11 => Self::Warmup {
                version: version(fields)?,
                more: fields.truth("more")?,
                runs: pairs(fields, "runs", MAX_RUNS)?,
            },
            12 => Self::Cancel,
            13 => Self::Bye,
            14 => Self::Distrust {
                lease: fields.u64("lease")?,
                range: fields.range("range")?,
            },
            15 => Self::Places {
                version: version(fields)?,
                first: fields.u32("first entry")?,
            },
            16 => Self::Used(pairs(fields, "packs", MAX_PACKS)?),
            kind => return Err(DecodeError::UnknownKind { kind }),
        };
        fields.end()?;
        Ok(request)
    }
}

fn wanted(fields: &mut Fields<'_>) -> Result<Wanted> {
    match fields.u8("wanted version")? {
        0 => Ok(Wanted::Latest),
        1 => Ok(Wanted::Relisted),
        2 => Ok(Wanted::Stored(fields.text("version", 32)?.to_owned())),
        value => Err(DecodeError::Invalid {
            field: "wanted version",
            value: value.into(),
        }),
    }
}

fn put_pairs(payload: &mut Vec<u8>, pairs: &[(u32, u32)]) {
    payload.put_count(pairs.len());
    for (first, second) in pairs {
        payload.put_u32_le(*first);
        payload.put_u32_le(*second);
    }
}

fn pairs(fields: &mut Fields<'_>, field: &'static str, most: usize) -> Result<Vec<(u32, u32)>> {
    let count = fields.count(field, most)?;
    (0..count)
        .map(|_| Ok((fields.u32(field)?, fields.u32(field)?)))
        .collect()
}
