//! The bytes of a flight: from the origin's body, chunk by chunk, into the store.

use std::sync::Arc;

use bytes::Bytes;
use forebay_core::cache::CacheError;
use forebay_core::{ByteRange, ErrorKind, chunk};
use futures::StreamExt;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::transient::Owner;
use super::{Fills, Flight, OpenObject, chunk_end};
use crate::origin::{CheckedBody, Error as OriginError, Piece};
use crate::store::{Pieces, WriteError};

/// The chunk, or the part of one, that is being put together: pieces as they arrived, not
/// copied.
struct Assembly {
    range: ByteRange,
    pieces: Pieces,
}

impl Assembly {
    /// What comes at `at` of a flight that brings `whole`; `None` if nothing does.
    fn at(at: u64, whole: ByteRange) -> Option<Self> {
        let chunk = ByteRange::new(at, chunk_end(at));
        let range = chunk.intersect(whole);
        (!range.is_empty()).then_some(Self {
            range,
            pieces: Pieces::default(),
        })
    }

    /// Takes as much of `piece` as belongs here; true once nothing is missing.
    fn take(&mut self, piece: &mut Piece) -> bool {
        let wanted = usize::try_from(self.range.len() - self.pieces.len()).unwrap_or(usize::MAX);
        // Of a part of it the checksum is not known.
        let crc = piece.crc.filter(|_| piece.bytes.len() <= wanted);
        let taken = piece.bytes.split_to(piece.bytes.len().min(wanted));
        piece.crc = crc;
        match crc {
            Some(crc) => self.pieces.push_checked(taken, crc),
            None => self.pieces.push(taken),
        }
        self.pieces.len() == self.range.len()
    }

    /// Its bytes, copied together once; the pieces that they came in are let go.
    fn in_one_piece(&mut self) -> Bytes {
        let (bytes, crc) = (self.pieces.join(), self.pieces.crc());
        self.pieces = Pieces::default();
        self.pieces.push_checked(bytes.clone(), crc);
        bytes
    }
}

impl Fills {
    /// Reads the flight's range and files each chunk, or part of one, as soon as it is
    /// complete.
    pub(super) async fn transfer(
        self: &Arc<Self>,
        object: &Arc<OpenObject>,
        flight: &Arc<Flight>,
    ) -> Result<(), CacheError> {
        let origin = object.target.origin();
        let read = origin.read_checked(object.target.pinned(), flight.range());
        let body = read.await.map_err(classify)?;
        if !body.holds_thread {
            return self.receive(object, flight, body).await;
        }
        let (fills, object, flight) = (Arc::clone(self), Arc::clone(object), Arc::clone(flight));
        let dropped = CancellationToken::new();
        let runtime = Handle::current();
        let unless_dropped = dropped.clone();
        let work = self.tasks.spawn_blocking(move || {
            let received = fills.receive(&object, &flight, body);
            runtime.block_on(unless_dropped.run_until_cancelled(received))
        });
        let _drop = dropped.drop_guard();
        match work.await {
            Ok(received) => received.unwrap_or_else(|| Err(super::shutting_down())),
            Err(error) => Err(CacheError::new(ErrorKind::Internal, error.to_string())),
        }
    }

    /// Takes the pieces of `body`. The write of one chunk overlaps with the arrival of the
    /// next, in the socket's buffer if the same thread does both; at most two chunks are in
    /// memory for each flight.
    async fn receive(
        self: &Arc<Self>,
        object: &Arc<OpenObject>,
        flight: &Arc<Flight>,
        mut body: CheckedBody,
    ) -> Result<(), CacheError> {
        let range = flight.range();
        let mut assembly = Assembly::at(range.start(), range);
        let mut filing: Option<JoinHandle<()>> = None;
        while let Some(piece) = body.pieces.next().await {
            let mut piece = piece.map_err(classify)?;
            while !piece.bytes.is_empty() {
                let Some(part) = &mut assembly else {
                    return Err(wrong_length(object, range, "more"));
                };
                if !part.take(&mut piece) {
                    continue;
                }
                settle(filing.take()).await;
                let next = Assembly::at(part.range.end(), range);
                if let Some(part) = std::mem::replace(&mut assembly, next) {
                    match body.holds_thread {
                        true => self.file_here(object, flight, part).await,
                        false => filing = Some(self.file(object, flight, part)),
                    }
                }
            }
        }
        settle(filing).await;
        if assembly.is_some() {
            return Err(wrong_length(object, range, "fewer"));
        }
        Ok(())
    }

    /// Files what was put together, on this thread.
    async fn file_here(&self, object: &Arc<OpenObject>, flight: &Flight, part: Assembly) {
        let _turn = object.lease.turn().await;
        self.file_now(object, flight, part);
    }

    /// Files what was put together, on a blocking thread, and lets its readers have it:
    /// from the store, or from the transient cache if the store has no room. Who waits for
    /// less than a chunk gets it at once.
    fn file(
        self: &Arc<Self>,
        object: &Arc<OpenObject>,
        flight: &Arc<Flight>,
        mut part: Assembly,
    ) -> JoinHandle<()> {
        // Of a whole chunk the next reads are served from the file as well.
        if part.range.len() < chunk::CHUNK_SIZE && flight.is_awaited() {
            flight.passing(part.range.start(), part.in_one_piece());
        }
        let (fills, object, flight) = (Arc::clone(self), Arc::clone(object), Arc::clone(flight));
        // What readers have been given is kept, even if the node shuts down.
        self.tasks.spawn(async move {
            let turn = object.lease.turn().await;
            let written = tokio::task::spawn_blocking(move || {
                fills.file_now(&object, &flight, part);
                drop(turn);
            });
            settle(Some(written)).await;
        })
    }

    fn file_now(&self, object: &Arc<OpenObject>, flight: &Flight, part: Assembly) {
        let Assembly { range, pieces } = part;
        self.ahead.received(range.len());
        let is_copy = object.target.is_copy();
        let written = match is_copy.is_some_and(|is_copy| is_copy(range.start())) {
            true => object.lease.write_copied(range, &pieces),
            false => object.lease.write_pages(range, &pieces),
        };
        match written {
            Ok(()) => self.stats.stored(range.len()),
            Err(error) => {
                report(&error, object, range);
                self.stats.read_through(range.len());
                let owner = Owner::of(object);
                self.transient.insert(owner, range.start(), pieces.join());
            }
        }
        flight.arrived(range.end());
    }
}

async fn settle(filing: Option<JoinHandle<()>>) {
    if let Some(filing) = filing
        && let Err(error) = filing.await
    {
        // The writer panicked. The chunk is missing, and the reader that needs it
        // fetches it again.
        tracing::error!(%error, "the write of a cached chunk broke off");
    }
}

fn report(error: &WriteError, object: &OpenObject, range: ByteRange) {
    match error {
        WriteError::Full => {
            tracing::debug!(object = %object.target.name(), %range, "no room: read through");
        }
        error => {
            tracing::warn!(%error, object = %object.target.name(), %range, "bytes not cached");
        }
    }
}

fn classify(error: OriginError) -> CacheError {
    CacheError::new(error.kind(), error.to_string())
}

fn wrong_length(object: &OpenObject, range: ByteRange, how: &str) -> CacheError {
    let name = object.target.name();
    let message = format!("the origin sent {how} bytes than bytes {range} of {name}");
    CacheError::new(ErrorKind::Corrupt, message)
}
