//! The protocol between a client and the cache server of its machine, over a Unix socket.
//!
//! # Frames
//! Everything is a frame: a [`Header`] of 16 bytes and a payload of up to
//! [`MAX_PAYLOAD`]. Numbers are little-endian.
//!
//! | bytes | field | meaning |
//! |---|---|---|
//! | 0..4 | length | of the payload |
//! | 4 | kind | which message; requests below 128, replies from 128 on |
//! | 5 | descriptors | 0 or 1: passed by `SCM_RIGHTS` with the frame's first byte |
//! | 6..8 | reserved | 0 |
//! | 8..16 | request | chosen by the client; the replies to a request carry its number |
//!
//! Requests are answered in any order. Request numbers are not used twice while the first
//! is unanswered. Replies with the number 0 are not asked for.
//!
//! # Handshake
//! The client's first frame is [`Request::Hello`]: the protocol versions that it speaks,
//! from oldest to newest, and a token of its own. The server answers with
//! [`Reply::Welcome`] and the newest version that both speak, or with [`Reply::Failed`]
//! and closes. Messages may be added to a version's successor; within a version nothing
//! changes. Version 2 adds [`Request::Places`], [`Request::Used`] and their replies.
//!
//! # Leases
//! A lease belongs to the connection. When the connection breaks off, the server keeps
//! its leases for the time that [`Welcome`] has said, so that nothing is evicted while
//! a client that restarts or reconnects takes them anew. A client that says
//! [`Request::Bye`] is done with all of them.
//!
//! The descriptor of a lease's file is passed when it is first known and whenever it
//! changes, read-only. Chunks that a reply has called present stay readable through that
//! descriptor for as long as the lease lives, so the client need not ask again.
//!
//! # Places
//! A lease of a small object costs a message, and so does each of the next thousand. A
//! client may ask for the **places** of a run of files instead: in which pack each of them
//! lies, and where. The pack's descriptor comes with its first places, and the client opens
//! what lies there without a lease, for as long as the server has not said
//! [`Reply::Withdrawn`]: that the pack was evicted, or that some of it was found wrong. It
//! then closes the descriptor, whose file takes up room until it does. No pack outlasts the
//! connection that follows on the one in which it was told.
//!
//! # Limits
//! A client has at most [`Welcome::in_flight`] requests unanswered. Whoever breaks a rule
//! is disconnected; what it breaks is logged on the other side.

use forebay_core::cache::FileRef;
use forebay_core::manifest::{EntryId, VersionId};

use crate::wire::{Fields, PutFields, Result};

mod frame;
mod presence;
mod reply;
mod request;
mod stream;

pub use frame::{Header, MAX_PAYLOAD};
pub use presence::Presence;
pub use reply::{
    Place, Reply, Report, StoredVersion, WarmupCounts, WarmupFailure, Welcome, WholeFile,
};
pub use request::{Attach, Hello, MAX_RUNS, PLACES, Request, Wanted};
pub use stream::{Frame, FrameReader, FrameWriter, StreamError};

/// The oldest version of the protocol that this program speaks.
pub const OLDEST: u16 = 1;
/// The newest.
pub const NEWEST: u16 = 2;
/// The first that knows of places.
pub const WITH_PLACES: u16 = 2;

/// The most bytes that one [`Request::Ensure`] may name: four times what the kernel asks
/// for at once.
pub const MAX_RANGE: u64 = 64 << 20;
/// The most packs that a client keeps open for the places in them: 64 GiB of small objects.
pub const MAX_PACKS: usize = 1024;
/// The longest name of a dataset, in bytes.
pub const MAX_NAME: usize = 255;
/// The longest message of an error, in bytes; longer ones are cut.
pub const MAX_MESSAGE: usize = 4096;

fn put_file(payload: &mut Vec<u8>, file: FileRef) {
    payload.extend_from_slice(file.version.as_bytes());
    bytes::BufMut::put_u32_le(payload, file.entry.0);
}

fn file(fields: &mut Fields<'_>) -> Result<FileRef> {
    Ok(FileRef {
        version: version(fields)?,
        entry: EntryId(fields.u32("entry")?),
    })
}

fn put_version(payload: &mut Vec<u8>, version: VersionId) {
    payload.extend_from_slice(version.as_bytes());
}

fn version(fields: &mut Fields<'_>) -> Result<VersionId> {
    fields.array("version").map(VersionId::from_bytes)
}

/// Writes an optional number: a byte that says whether it is there, then it.
fn put_option(payload: &mut Vec<u8>, number: Option<u64>) {
    payload.put_truth(number.is_some());
    if let Some(number) = number {
        bytes::BufMut::put_u64_le(payload, number);
    }
}

fn option(fields: &mut Fields<'_>, field: &'static str) -> Result<Option<u64>> {
    fields.truth(field)?.then(|| fields.u64(field)).transpose()
}

#[cfg(test)]
mod tests;
