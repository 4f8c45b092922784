//! The bytes of a flight: from the origin's body, chunk by chunk, into the store.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use forebay_core::cache::CacheError;
use forebay_core::{ByteRange, ErrorKind, chunk};
use futures::StreamExt;
use tokio::task::JoinHandle;

use super::{Fills, Flight, OpenObject};
use crate::origin::Error as OriginError;
use crate::store::WriteError;

/// The chunk being put together: pieces as they arrived, not copied.
#[derive(Default)]
struct Assembly {
    pieces: Vec<Bytes>,
    bytes: u64,
}

impl Fills {
    /// Reads the flight's range and files each chunk as soon as it is complete.
    ///
    /// The write of one chunk overlaps with the arrival of the next; at most two chunks
    /// are in memory for each flight.
    pub(super) async fn transfer(
        self: &Arc<Self>,
        object: &Arc<OpenObject>,
        flight: &Arc<Flight>,
    ) -> Result<(), CacheError> {
        let size = object.target.size;
        let chunks = flight.chunks();
        let range = ByteRange::new(
            chunk::range(chunks.start, size).start(),
            chunk::range(flight.last(), size).end(),
        );
        let read = object
            .target
            .origin()
            .read(object.target.pinned(), range)
            .await;
        let mut body = read.map_err(classify)?;
        let mut index = chunks.start;
        let mut assembly = Assembly::default();
        let mut filing: Option<JoinHandle<()>> = None;
        while let Some(piece) = body.next().await {
            let mut piece = piece.map_err(classify)?;
            while !piece.is_empty() {
                if index == chunks.end {
                    return Err(wrong_length(object, range, "more"));
                }
                let whole = chunk::range(index, size).len();
                let wanted = usize::try_from(whole - assembly.bytes).unwrap_or(usize::MAX);
                let taken = piece.split_to(piece.len().min(wanted));
                assembly.bytes += taken.len() as u64;
                assembly.pieces.push(taken);
                if assembly.bytes == whole {
                    settle(filing.take()).await;
                    let pieces = std::mem::take(&mut assembly).pieces;
                    filing = Some(self.file(object, flight, index, pieces));
                    index += 1;
                }
            }
        }
        settle(filing).await;
        if index < chunks.end {
            return Err(wrong_length(object, range, "fewer"));
        }
        Ok(())
    }

    /// Files one chunk on a blocking thread and lets its readers have it: from the
    /// store, or from the transient cache if the store has no room.
    fn file(
        self: &Arc<Self>,
        object: &Arc<OpenObject>,
        flight: &Arc<Flight>,
        index: u64,
        pieces: Vec<Bytes>,
    ) -> JoinHandle<()> {
        let (fills, object, flight) = (Arc::clone(self), Arc::clone(object), Arc::clone(flight));
        tokio::task::spawn_blocking(move || {
            let len = chunk::range(index, object.target.size).len();
            fills.ahead.received(len);
            match object.lease.write(index, &pieces) {
                Ok(()) => fills.stats.stored(len),
                Err(error) => {
                    report(&error, &object, index);
                    fills.stats.read_through(len);
                    fills
                        .transient
                        .insert((object.target.id, index), join(&pieces));
                }
            }
            flight.arrived(index);
        })
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

fn report(error: &WriteError, object: &OpenObject, chunk: u64) {
    match error {
        WriteError::Full => {
            tracing::debug!(object = %object.target.name(), chunk, "no room: read through");
        }
        error => {
            tracing::warn!(%error, object = %object.target.name(), chunk, "chunk not cached");
        }
    }
}

fn join(pieces: &[Bytes]) -> Bytes {
    if let [whole] = pieces {
        return whole.clone();
    }
    let mut joined = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    pieces
        .iter()
        .for_each(|piece| joined.extend_from_slice(piece));
    joined.freeze()
}

fn classify(error: OriginError) -> CacheError {
    CacheError::new(error.kind(), error.to_string())
}

fn wrong_length(object: &OpenObject, range: ByteRange, how: &str) -> CacheError {
    let name = object.target.name();
    let message = format!("the origin sent {how} bytes than bytes {range} of {name}");
    CacheError::new(ErrorKind::Corrupt, message)
}
