//! What the server answers.

use std::ops::Range;

use bytes::{BufMut, Bytes};
use forebay_core::ErrorKind;
use forebay_core::cache::Usage;
use forebay_core::manifest::VersionId;

use super::frame::frame;
use super::{MAX_MESSAGE, MAX_PAYLOAD, PLACES, Presence, option, put_option, put_version, version};
use crate::wire::{DecodeError, Fields, PutFields, Result};

/// The most stored versions in one answer; the newest are told.
const MAX_VERSIONS: usize = 10_000;
/// The longest path of a failed file. A key of S3 has at most 1024 bytes.
const MAX_PATH: usize = 8192;
/// The longest path of a cache directory.
const MAX_DIR: usize = 4096;

/// The server's half of the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The version of the protocol that is spoken from here on.
    pub version: u16,
    /// Different after each start of the server.
    pub server: u64,
    /// How many requests a client may have unanswered.
    pub in_flight: u32,
    /// How long leases outlast a broken connection, in milliseconds.
    pub grace_ms: u32,
    /// How full the cache is.
    pub usage: Usage,
}

/// A dataset version whose manifest is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredVersion {
    /// The version.
    pub version: VersionId,
    /// When it was last listed, in seconds since 1970.
    pub listed_unix_seconds: u64,
    /// Files in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What of a version is in the server's cache, and what the server has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Cached bytes of the version.
    pub bytes: u64,
    /// Files of which every byte is cached.
    pub files: u64,
    /// Chunks found wrong and dropped since the server started.
    pub corrupt_chunks: u64,
    /// Bytes evicted since then.
    pub evicted_bytes: u64,
    /// Requests to the dataset's origins since then.
    pub origin_requests: u64,
    /// Bytes from them.
    pub origin_bytes: u64,
    /// Requests that failed.
    pub origin_errors: u64,
    /// How full the cache is.
    pub usage: Usage,
    /// The cache directory.
    pub dir: String,
}

/// The file that holds a whole object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WholeFile {
    /// There is none now.
    None,
    /// The one whose descriptor was passed before.
    Known,
    /// The one whose descriptor comes with this message.
    New,
}

/// How far a warm-up has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WarmupCounts {
    /// Files asked for.
    pub files_total: u64,
    /// Their bytes.
    pub bytes_total: u64,
    /// Files brought or found so far; at the end, those that are verified.
    pub files_done: u64,
    /// Their bytes.
    pub bytes_done: u64,
    /// Files that failed.
    pub files_failed: u64,
}

/// A file that a warm-up could not bring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WarmupFailure {
    /// Its path in the tree.
    pub path: Vec<u8>,
    /// The class of the error.
    pub kind: ErrorKind,
    /// What happened.
    pub reason: String,
}

/// Where a small file lies in a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file's entry in the manifest.
    pub entry: u32,
    /// The offset of its first byte in the pack.
    pub offset: u32,
    /// Its bytes.
    pub len: u32,
}

/// What the server answers, or says unasked. The number of a variant on the wire is its
/// position, from 128 on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To [`Hello`](super::Request::Hello).
    Welcome(Welcome),
    /// To any request: it failed.
    Failed {
        /// The class of the error.
        kind: ErrorKind,
        /// What happened.
        message: String,
    },
    /// The sources are being listed.
    Listing {
        /// Objects so far.
        objects: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// The version is readable; its manifest's descriptor comes with this message.
    Attached {
        /// The version.
        version: VersionId,
        /// Whether it is an old one because the sources do not answer.
        origin_unreachable: bool,
    },
    /// A lease was taken.
    Leased {
        /// Its number, to be used in requests.
        lease: u64,
        /// The object's size.
        size: u64,
        /// Where the object begins in the file whose descriptor comes with this message;
        /// `None` if there is no file yet.
        offset: Option<u64>,
        /// What of the object is present.
        presence: Presence,
    },
    /// The range is present in the lease's file. A descriptor comes with this message
    /// if the file is not the one passed last.
    Backed {
        /// The lease.
        lease: u64,
        /// Where the object begins in the file.
        offset: u64,
        /// Chunks that are wholly present, from the first of the range on; none if
        /// that one is present in parts.
        chunks: Range<u64>,
    },
    /// The bytes of the range, for want of room to keep them.
    Inline {
        /// Whether more of them come.
        more: bool,
        /// These bytes.
        bytes: Bytes,
    },
    /// To [`Whole`](super::Request::Whole).
    Whole {
        /// The lease.
        lease: u64,
        /// The file.
        file: WholeFile,
    },
    /// To [`CachedBytes`](super::Request::CachedBytes).
    Count(u64),
    /// To [`Report`](super::Request::Report).
    Report(Report),
    /// To [`Versions`](super::Request::Versions): the one listed last first.
    Versions(Vec<StoredVersion>),
    /// A warm-up is under way.
    WarmupProgress(WarmupCounts),
    /// A file that the warm-up did not bring.
    WarmupFailure(WarmupFailure),
    /// A warm-up has ended.
    WarmupEnd(WarmupCounts),
    /// How full the cache is now. Never asked for.
    Usage(Usage),
    /// What [`Request::Places`](super::Request::Places) asked for, of one pack. The number
    /// is 0.
    Places {
        /// The version.
        version: VersionId,
        /// The pack, by a number that the server uses once. Its descriptor comes with this
        /// message if it has not come before, or was withdrawn since.
        pack: u32,
        /// The files in it, at most [`PLACES`].
        places: Vec<Place>,
    },
    /// The places in this pack are good no more. Never asked for.
    Withdrawn(u32),
}

impl Reply {
    /// The number on the wire.
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Welcome(_) => 128,
            Self::Failed { .. } => 129,
            Self::Listing { .. } => 130,
            Self::Attached { .. } => 131,
            Self::Leased { .. } => 132,
            Self::Backed { .. } => 133,
            Self::Inline { .. } => 134,
            Self::Whole { .. } => 135,
            Self::Count(_) => 136,
            Self::Report(_) => 137,
            Self::Versions(_) => 138,
            Self::WarmupProgress(_) => 139,
            Self::WarmupFailure(_) => 140,
            Self::WarmupEnd(_) => 141,
            Self::Usage(_) => 142,
            Self::Places { .. } => 143,
            Self::Withdrawn(_) => 144,
        }
    }

    /// Whether the request that it answers gets further replies.
    pub const fn is_partial(&self) -> bool {
        matches!(
            self,
            Self::Listing { .. }
                | Self::Inline { more: true, .. }
                | Self::WarmupProgress(_)
                | Self::WarmupFailure(_)
        )
    }

    /// The frame that carries it, and says whether a descriptor comes with it.
    pub fn frame(&self, request: u64, descriptor: bool) -> Vec<u8> {
        frame(self.kind(), request, descriptor, |payload| {
            self.encode(payload);
        })
    }

    /// Appends the payload.
    pub fn encode(&self, payload: &mut Vec<u8>) {
        match self {
            Self::Welcome(welcome) => {
                payload.put_u16_le(welcome.version);
                payload.put_u64_le(welcome.server);
                payload.put_u32_le(welcome.in_flight);
                payload.put_u32_le(welcome.grace_ms);
                put_usage(payload, welcome.usage);
            }
            Self::Failed { kind, message } => {
                payload.put_error_kind(*kind);
                payload.put_text(message, MAX_MESSAGE);
            }
            Self::Listing { objects, bytes } => {
                payload.put_u64_le(*objects);
                payload.put_u64_le(*bytes);
            }
            Self::Attached {
                version,
                origin_unreachable,
            } => {
                put_version(payload, *version);
                payload.put_truth(*origin_unreachable);
            }
            Self::Leased {
                lease,
                size,
                offset,
                presence,
            } => {
                payload.put_u64_le(*lease);
                payload.put_u64_le(*size);
                put_option(payload, *offset);
                presence.put(payload);
            }
            Self::Backed {
                lease,
                offset,
                chunks,
            } => {
                for number in [*lease, *offset, chunks.start, chunks.end] {
                    payload.put_u64_le(number);
                }
            }
            Self::Inline { more, bytes } => {
                payload.put_truth(*more);
                payload.put_slice(bytes);
            }
            Self::Whole { lease, file } => {
                payload.put_u64_le(*lease);
                payload.put_u8(*file as u8);
            }
            Self::Count(count) => payload.put_u64_le(*count),
            Self::Report(report) => put_report(payload, report),
            Self::Versions(versions) => {
                let told = &versions[..versions.len().min(MAX_VERSIONS)];
                payload.put_count(told.len());
                for stored in told {
                    put_version(payload, stored.version);
                    payload.put_u64_le(stored.listed_unix_seconds);
                    payload.put_u64_le(stored.files);
                    payload.put_u64_le(stored.bytes);
                }
            }
            Self::WarmupProgress(counts) | Self::WarmupEnd(counts) => put_counts(payload, counts),
            Self::WarmupFailure(failure) => {
                payload.put_counted(&failure.path[..failure.path.len().min(MAX_PATH)]);
                payload.put_error_kind(failure.kind);
                payload.put_text(&failure.reason, MAX_MESSAGE);
            }
            Self::Usage(usage) => put_usage(payload, *usage),
            Self::Places {
                version,
                pack,
                places,
            } => {
                put_version(payload, *version);
                payload.put_u32_le(*pack);
                payload.put_count(places.len());
                for place in places {
                    for number in [place.entry, place.offset, place.len] {
                        payload.put_u32_le(number);
                    }
                }
            }
            Self::Withdrawn(pack) => payload.put_u32_le(*pack),
        }
    }

    /// Reads the payload of a frame of this `kind`.
    ///
    /// # Errors
    /// [`DecodeError`], also for what is left behind the message.
    pub fn decode(kind: u8, payload: &Bytes) -> Result<Self> {
        let mut fields = Fields::new(payload);
        let reply = decode(kind, &mut fields, payload)?;
        fields.end()?;
        Ok(reply)
    }
}

fn decode(kind: u8, fields: &mut Fields<'_>, payload: &Bytes) -> Result<Reply> {
    Ok(match kind {
        128 => Reply::Welcome(Welcome {
            version: fields.u16("version")?,
            server: fields.u64("server")?,
            in_flight: fields.u32("requests in flight")?,
            grace_ms: fields.u32("grace")?,
            usage: usage(fields)?,
        }),
        129 => Reply::Failed {
            kind: fields.error_kind("class of the error")?,
            message: fields.text("message", MAX_MESSAGE)?.to_owned(),
        },
        130 => Reply::Listing {
            objects: fields.u64("objects")?,
            bytes: fields.u64("bytes")?,
        },
        131 => Reply::Attached {
            version: version(fields)?,
            origin_unreachable: fields.truth("origin unreachable")?,
        },
        132 => Reply::Leased {
            lease: fields.u64("lease")?,
            size: fields.u64("size")?,
            offset: option(fields, "offset")?,
            presence: Presence::read(fields)?,
        },
        133 => Reply::Backed {
            lease: fields.u64("lease")?,
            offset: fields.u64("offset")?,
            chunks: fields.u64("first chunk")?..fields.u64("end of chunks")?,
        },
        134 => Reply::Inline {
            more: fields.truth("more")?,
            bytes: payload.slice_ref(fields.rest()),
        },
        135 => Reply::Whole {
            lease: fields.u64("lease")?,
            file: whole_file(fields)?,
        },
        136 => Reply::Count(fields.u64("count")?),
        137 => Reply::Report(report(fields)?),
        138 => Reply::Versions(versions(fields)?),
        139 => Reply::WarmupProgress(counts(fields)?),
        140 => Reply::WarmupFailure(WarmupFailure {
            path: fields.counted("path", MAX_PATH)?.to_vec(),
            kind: fields.error_kind("class of the error")?,
            reason: fields.text("reason", MAX_MESSAGE)?.to_owned(),
        }),
        141 => Reply::WarmupEnd(counts(fields)?),
        142 => Reply::Usage(usage(fields)?),
        143 => Reply::Places {
            version: version(fields)?,
            pack: fields.u32("pack")?,
            places: places(fields)?,
        },
        144 => Reply::Withdrawn(fields.u32("pack")?),
        kind => return Err(DecodeError::UnknownKind { kind }),
    })
}

fn put_usage(payload: &mut Vec<u8>, usage: Usage) {
    payload.put_u64_le(usage.capacity_bytes);
    payload.put_u64_le(usage.used_bytes);
}

fn usage(fields: &mut Fields<'_>) -> Result<Usage> {
    Ok(Usage {
        capacity_bytes: fields.u64("capacity")?,
        used_bytes: fields.u64("used bytes")?,
    })
}

fn put_report(payload: &mut Vec<u8>, report: &Report) {
    payload.put_u64_le(report.bytes);
    payload.put_u64_le(report.files);
    payload.put_u64_le(report.corrupt_chunks);
    payload.put_u64_le(report.evicted_bytes);
    payload.put_u64_le(report.origin_requests);
    payload.put_u64_le(report.origin_bytes);
    payload.put_u64_le(report.origin_errors);
    put_usage(payload, report.usage);
    payload.put_text(&report.dir, MAX_DIR);
}

fn report(fields: &mut Fields<'_>) -> Result<Report> {
    Ok(Report {
        bytes: fields.u64("bytes")?,
        files: fields.u64("files")?,
        corrupt_chunks: fields.u64("corrupt chunks")?,
        evicted_bytes: fields.u64("evicted bytes")?,
        origin_requests: fields.u64("origin requests")?,
        origin_bytes: fields.u64("origin bytes")?,
        origin_errors: fields.u64("origin errors")?,
        usage: usage(fields)?,
        dir: fields.text("cache directory", MAX_DIR)?.to_owned(),
    })
}

fn places(fields: &mut Fields<'_>) -> Result<Vec<Place>> {
    let count = fields.count("places", PLACES as usize)?;
    (0..count)
        .map(|_| {
            Ok(Place {
                entry: fields.u32("entry")?,
                offset: fields.u32("offset")?,
                len: fields.u32("length")?,
            })
        })
        .collect()
}

fn whole_file(fields: &mut Fields<'_>) -> Result<WholeFile> {
    match fields.u8("whole file")? {
        0 => Ok(WholeFile::None),
        1 => Ok(WholeFile::Known),
        2 => Ok(WholeFile::New),
        value => Err(DecodeError::Invalid {
            field: "whole file",
            value: value.into(),
        }),
    }
}

fn versions(fields: &mut Fields<'_>) -> Result<Vec<StoredVersion>> {
    let count = fields.count("versions", MAX_VERSIONS)?;
    let stored = |fields: &mut Fields<'_>| {
        Ok(StoredVersion {
            version: version(fields)?,
            listed_unix_seconds: fields.u64("listed")?,
            files: fields.u64("files")?,
            bytes: fields.u64("bytes")?,
        })
    };
    (0..count).map(|_| stored(fields)).collect()
}

fn put_counts(payload: &mut Vec<u8>, counts: &WarmupCounts) {
    let (totals, done) = (
        [counts.files_total, counts.bytes_total],
        [counts.files_done, counts.bytes_done, counts.files_failed],
    );
    for number in totals.into_iter().chain(done) {
        payload.put_u64_le(number);
    }
}

fn counts(fields: &mut Fields<'_>) -> Result<WarmupCounts> {
    Ok(WarmupCounts {
        files_total: fields.u64("files")?,
        bytes_total: fields.u64("bytes")?,
        files_done: fields.u64("files done")?,
        bytes_done: fields.u64("bytes done")?,
        files_failed: fields.u64("files failed")?,
    })
}

/// A reply is never longer than a frame.
const _: () = assert!(MAX_VERSIONS * 40 < MAX_PAYLOAD);
