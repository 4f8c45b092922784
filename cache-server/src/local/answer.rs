//! Replies on their way to a client.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use forebay_core::ByteRange;
use forebay_core::ErrorKind;
use forebay_core::cache::{Availability, Backing, Cache, CacheError};
use forebay_proto::local::{FrameWriter, Reply, StreamError, WholeFile};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::leases::HeldLease;

/// Inline bytes that wait for one client to read them.
const INLINE_BYTES: usize = 64 << 20;
/// Inline bytes of one frame.
const PIECE: usize = 1 << 20;
/// Frames without a descriptor that are written with one system call.
const FRAMES_AT_ONCE: usize = 64;

/// One frame, and what must live until it is written.
#[derive(Debug)]
struct Outgoing {
    frame: Vec<u8>,
    descriptor: Option<OwnedFd>,
    _room: Option<OwnedSemaphorePermit>,
}

/// The sending end of a connection.
#[derive(Clone, Debug)]
pub(super) struct Answers {
    // Without a limit of its own: there are as many replies as requests are unanswered,
    // and long ones take room first.
    outgoing: mpsc::UnboundedSender<Outgoing>,
    room: Arc<Semaphore>,
}

/// What was sent and is not written yet.
#[derive(Debug)]
pub(super) struct Unwritten {
    frames: mpsc::UnboundedReceiver<Outgoing>,
}

impl Answers {
    pub(super) fn new() -> (Self, Unwritten) {
        let (outgoing, frames) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(INLINE_BYTES));
        (Self { outgoing, room }, Unwritten { frames })
    }

    fn push(&self, outgoing: Outgoing) {
        // Refused only when the connection has gone, and then nobody waits.
        let _ = self.outgoing.send(outgoing);
    }

    /// Sends a reply without a descriptor.
    pub(super) fn send(&self, request: u64, reply: &Reply) {
        self.push(Outgoing {
            frame: reply.frame(request, false),
            descriptor: None,
            _room: None,
        });
    }

    /// Sends a reply with a descriptor.
    pub(super) fn send_with(&self, request: u64, reply: &Reply, descriptor: OwnedFd) {
        self.push(Outgoing {
            frame: reply.frame(request, true),
            descriptor: Some(descriptor),
            _room: None,
        });
    }

    /// Sends a reply with a descriptor of `file` that can only read.
    pub(super) fn send_file(
        &self,
        request: u64,
        reply: &Reply,
        file: &File,
    ) -> Result<(), CacheError> {
        let descriptor = read_only(file).map_err(|error| {
            let message = format!("open a cached file for a client: {error}");
            CacheError::new(ErrorKind::Internal, message)
        })?;
        self.send_with(request, reply, descriptor);
        Ok(())
    }

    /// Says that a request failed.
    pub(super) fn fail(&self, request: u64, error: &CacheError) {
        let reply = Reply::Failed {
            kind: error.kind,
            message: error.to_string(),
        };
        self.send(request, &reply);
    }

    /// Answers a lease request: with the file and what of it is present.
    pub(super) fn leased(&self, request: u64, held: &HeldLease, cache: &dyn Cache) {
        let presence = held.presence(cache);
        let first = first_present(&presence)
            .map(|chunk| forebay_core::chunk::range(chunk, held.lease.size))
            .and_then(|range| cache.ready(&held.lease, range));
        let reply = |offset, presence| Reply::Leased {
            lease: held.number,
            size: held.lease.size,
            offset,
            presence,
        };
        if let Some(Availability::Backed(backing)) = first {
            let mut passed = held.passed.lock().unwrap_or_else(PoisonError::into_inner);
            if let Ok(descriptor) = read_only(&backing.file) {
                *passed = Some(backing.file);
                let reply = reply(Some(backing.offset), presence);
                return self.send_with(request, &reply, descriptor);
            }
        }
        self.send(
            request,
            &reply(None, forebay_proto::local::Presence::Nothing),
        );
    }

    /// Answers that `range` is present.
    pub(super) async fn available(
        &self,
        request: u64,
        held: &HeldLease,
        cache: &dyn Cache,
        range: ByteRange,
        availability: Availability,
    ) {
        match availability {
            Availability::Backed(backing) => {
                if let Err(error) = self.backed(request, held, cache, range, backing) {
                    self.fail(request, &error);
                }
            }
            Availability::Inline(bytes) => self.inline(request, bytes).await,
        }
    }

    fn backed(
        &self,
        request: u64,
        held: &HeldLease,
        cache: &dyn Cache,
        range: ByteRange,
        backing: Backing,
    ) -> Result<(), CacheError> {
        let reply = Reply::Backed {
            lease: held.number,
            offset: backing.offset,
            chunks: held.present_from(cache, range),
        };
        self.pass(request, held, backing.file, |_| reply.clone())
    }

    /// Answers with the file that holds the whole object.
    pub(super) fn whole(
        &self,
        request: u64,
        held: &HeldLease,
        file: Option<Arc<File>>,
    ) -> Result<(), CacheError> {
        let reply = |file| Reply::Whole {
            lease: held.number,
            file,
        };
        match file {
            None => {
                self.send(request, &reply(WholeFile::None));
                Ok(())
            }
            Some(file) => self.pass(request, held, file, |is_new| {
                reply(if is_new {
                    WholeFile::New
                } else {
                    WholeFile::Known
                })
            }),
        }
    }

    /// Sends a reply about `file`, whose descriptor goes with it unless it has gone before.
    fn pass(
        &self,
        request: u64,
        held: &HeldLease,
        file: Arc<File>,
        reply: impl FnOnce(bool) -> Reply,
    ) -> Result<(), CacheError> {
        let mut passed = held.passed.lock().unwrap_or_else(PoisonError::into_inner);
        if passed
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, &file))
        {
            self.send(request, &reply(false));
            return Ok(());
        }
        self.send_file(request, &reply(true), &file)?;
        *passed = Some(file);
        Ok(())
    }

    async fn inline(&self, request: u64, bytes: Bytes) {
        let mut rest = bytes;
        loop {
            let piece = rest.split_to(rest.len().min(PIECE));
            let room = Arc::clone(&self.room)
                .acquire_many_owned(u32::try_from(piece.len()).unwrap_or(0))
                .await;
            let more = !rest.is_empty();
            let reply = Reply::Inline { more, bytes: piece };
            self.push(Outgoing {
                frame: reply.frame(request, false),
                descriptor: None,
                _room: room.ok(),
            });
            if !more {
                return;
            }
        }
    }
}

fn first_present(presence: &forebay_proto::local::Presence) -> Option<u64> {
    use forebay_proto::local::Presence;
    match presence {
        Presence::Nothing => None,
        Presence::Everything => Some(0),
        Presence::Chunks(words) => words
            .iter()
            .zip(0_u64..)
            .find(|(word, _)| **word != 0)
            .map(|(word, index)| index * 64 + u64::from(word.trailing_zeros())),
    }
}

/// Opens `file` again for reading: a client must not get a descriptor that can write.
fn read_only(file: &File) -> std::io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    File::open(path).map(Into::into)
}

impl Unwritten {
    /// Writes replies until the connection breaks off.
    pub(super) async fn write(mut self, writer: FrameWriter) -> StreamError {
        let mut batch = Vec::with_capacity(FRAMES_AT_ONCE);
        let mut bytes = Vec::new();
        loop {
            if self.frames.recv_many(&mut batch, FRAMES_AT_ONCE).await == 0 {
                return StreamError::Closed;
            }
            let mut frames = batch.drain(..).peekable();
            while let Some(first) = frames.next() {
                bytes.clear();
                bytes.extend_from_slice(&first.frame);
                // A descriptor goes with the first byte of a call, so each frame that
                // has one begins a new call.
                let mut kept = vec![first];
                while let Some(next) = frames.next_if(|next| next.descriptor.is_none()) {
                    bytes.extend_from_slice(&next.frame);
                    kept.push(next);
                }
                let descriptor = kept[0].descriptor.as_ref().map(AsFd::as_fd);
                if let Err(error) = writer.write(&bytes, descriptor).await {
                    return error;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use forebay_proto::local::Presence;

    use super::*;

    #[test]
    fn a_passed_descriptor_cannot_write() {
        let file = tempfile::tempfile().unwrap();
        let mut passed = File::from(read_only(&file).unwrap());
        assert!(passed.write(b"x").is_err());
    }

    #[test]
    fn the_first_present_chunk_is_found() {
        assert_eq!(first_present(&Presence::Nothing), None);
        assert_eq!(first_present(&Presence::Everything), Some(0));
        assert_eq!(first_present(&Presence::Chunks(vec![0, 8])), Some(67));
    }
}
