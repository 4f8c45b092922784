//! Fills ahead of readers: advice and warm-up, both within the limits of
//! [`Prefetch`](crate::prefetch::Prefetch).

use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;

use forebay_core::cache::{Backing, CacheError};
use forebay_core::{ByteRange, chunk};
use tokio::runtime::Handle;

use super::{Boarded, Fills, OpenObject, Urgency, no_room, shutting_down};
use crate::prefetch::{Admission, Reservation};
use crate::store::ChunkState;

/// Chunks of one origin read, and their share of the budget.
struct Part {
    chunks: Range<u64>,
    reserved: Reservation,
}

impl Fills {
    /// Takes note that `range` of `object` will be read soon, and returns how many bytes
    /// of it, from its beginning on: as many as the budget has room for. Work that
    /// follows runs on `runtime`.
    ///
    /// What is missing is fetched, what is unverified is verified, and what lies on the
    /// disk is read into memory. Errors are left to the reader that needs the bytes: it
    /// will meet the origin itself.
    pub fn advise(
        self: &Arc<Self>,
        runtime: &Handle,
        object: &Arc<OpenObject>,
        range: ByteRange,
    ) -> u64 {
        let size = object.target.size;
        let range = range.clamp_to(size);
        let chunks = chunk::covering(range);
        let mut parts = Vec::new();
        let mut taken = range.start();
        while taken < range.end() {
            let first = taken / chunk::CHUNK_SIZE;
            let end = self.part_end(first).min(chunks.end);
            let bytes = chunk::range(end - 1, size).end() - chunk::range(first, size).start();
            let Some(reserved) = self.ahead.reserve(bytes) else {
                break;
            };
            taken = chunk::range(end - 1, size).end().min(range.end());
            parts.push(Part {
                chunks: first..end,
                reserved,
            });
        }
        if !parts.is_empty() {
            let (fills, object) = (Arc::clone(self), Arc::clone(object));
            self.spawn_on(runtime, async move {
                for part in parts {
                    fills.bring_part(&object, part).await;
                }
            });
        }
        taken - range.start()
    }

    /// Begins what a part needs; ends when all of it has been begun.
    async fn bring_part(self: &Arc<Self>, object: &Arc<OpenObject>, part: Part) {
        let Range { mut start, end } = part.chunks;
        if object.lease.first_not_present(start..end).is_none() {
            return self.read_into_memory(object, start..end).await;
        }
        let reserved = Arc::new(part.reserved);
        while let Some(at) = object.lease.first_not_present(start..end) {
            start = at + 1;
            if object.lease.state(at) == ChunkState::Unverified {
                self.verify(object, at..end).await;
                if object.lease.state(at) == ChunkState::Missing {
                    // Found wrong: it is fetched like any other.
                    start = at;
                }
                continue;
            }
            let Some(admission) = self.admit(&reserved).await else {
                return;
            };
            let boarded = self.join_or_start(object, at..end, Urgency::Prefetch(admission));
            if let Some(Boarded { flight, .. }) = boarded {
                start = flight.last() + 1;
            }
        }
    }

    /// Asks the kernel to read present chunks from the disk before somebody waits for
    /// them. Nothing happens to what is in memory already.
    async fn read_into_memory(&self, object: &Arc<OpenObject>, chunks: Range<u64>) {
        let object = Arc::clone(object);
        let read = move || {
            let size = object.target.size;
            let start = chunk::range(chunks.start, size).start();
            let len = chunk::range(chunks.end - 1, size).end() - start;
            if let Some(Backing { file, offset }) = object.lease.backing() {
                let will_need = rustix::fs::Advice::WillNeed;
                let advised =
                    rustix::fs::fadvise(&*file, offset + start, NonZeroU64::new(len), will_need);
                if let Err(error) = advised {
                    tracing::debug!(%error, "advice about a cache file was refused");
                }
            }
        };
        // A join error is a panic there; nobody waits for the outcome.
        let _ = tokio::task::spawn_blocking(read).await;
    }

    /// Fetches or verifies `chunks` and waits for all of them: the unit of a warm-up.
    ///
    /// # Errors
    /// As [`ensure`](Self::ensure); [`NoSpace`](forebay_core::ErrorKind::NoSpace) if the
    /// bytes came but could not be kept.
    pub async fn warm(
        self: &Arc<Self>,
        object: &Arc<OpenObject>,
        chunks: Range<u64>,
    ) -> Result<(), CacheError> {
        let mut tried = None;
        while let Some(at) = object.lease.first_not_present(chunks.clone()) {
            if object.lease.state(at) == ChunkState::Unverified {
                self.verify(object, at..chunks.end).await;
                continue;
            }
            // A chunk that a whole flight has not brought into the store found no room.
            if tried == Some(at) || self.transient.contains_key(&(object.target.id, at)) {
                return Err(no_room(object));
            }
            tried = Some(at);
            let size = object.target.size;
            let bytes: u64 = (at..chunks.end)
                .map(|index| chunk::range(index, size).len())
                .sum();
            let reserved = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(shutting_down()),
                reserved = self.ahead.reserve_for_warmup(bytes) => reserved,
            };
            let admission = self.admit(&reserved).await.ok_or_else(shutting_down)?;
            drop(reserved);
            let boarded = self.join_or_start(object, at..chunks.end, Urgency::Prefetch(admission));
            if let Some(Boarded { flight, .. }) = boarded {
                flight.wait_for(flight.last()).await?;
            }
        }
        Ok(())
    }

    /// The chunk behind the last one of the part that `chunk` belongs to.
    pub fn part_end(&self, chunk: u64) -> u64 {
        let per_part = (self.config.part_bytes / chunk::CHUNK_SIZE).max(1);
        (chunk / per_part + 1) * per_part
    }

    /// Waits until one more origin read may begin; `None` once the node shuts down.
    async fn admit(&self, reserved: &Arc<Reservation>) -> Option<Admission> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => None,
            admission = self.ahead.admit(reserved) => Some(admission),
        }
    }
}
