//! Fills ahead of readers: advice and warm-up, both within the limits of
//! [`Prefetch`](crate::prefetch::Prefetch).

use std::ops::Range;
use std::sync::Arc;

use forebay_core::cache::CacheError;
use forebay_core::{ByteRange, chunk};
use tokio::runtime::Handle;

use super::gaps::{Grain, chunks_around};
use super::transient::Owner;
use super::{Fills, OpenObject, chunk_end, is_held, no_room, shutting_down};
use crate::prefetch::{Admission, Reservation};
use crate::store;

/// The bytes of one origin read, and their share of the budget.
struct Part {
    range: ByteRange,
    grain: Grain,
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
        // A window of whole chunks is part of a sequence; a smaller one is what it says.
        let (grain, whole) = match range.len() {
            chunk::CHUNK_SIZE.. => (Grain::Chunks, chunks_around(range, size)),
            _ if size <= chunk::CHUNK_SIZE => (Grain::Chunks, chunks_around(range, size)),
            _ => (Grain::Pages, chunk::pages_around(range, size)),
        };
        let mut parts = Vec::new();
        let mut taken = whole.start();
        while taken < whole.end() {
            let end = self.part_end_of(taken).min(whole.end());
            let range = ByteRange::new(taken, end);
            let Some(reserved) = self.ahead.reserve(range.len()) else {
                break;
            };
            taken = end;
            parts.push(Part {
                range,
                grain,
                reserved,
            });
        }
        let noted = ByteRange::new(range.start(), taken.min(range.end()));
        if grain == Grain::Chunks && !noted.is_empty() {
            object.pattern.advise(noted);
        }
        if !parts.is_empty() {
            let (fills, object) = (Arc::clone(self), Arc::clone(object));
            self.spawn_on(runtime, async move {
                for part in parts {
                    fills.bring_part(&object, part).await;
                }
            });
        }
        noted.len()
    }

    /// Begins what a part needs; ends when all of it has been begun.
    async fn bring_part(self: &Arc<Self>, object: &Arc<OpenObject>, part: Part) {
        let Part { range, grain, .. } = part;
        if object.lease.first_absent(range).is_none() {
            return self.read_into_memory(object, range).await;
        }
        let reserved = Arc::new(part.reserved);
        let (mut next, mut verified) = (range.start(), None);
        while let Some(at) = object.lease.first_absent(ByteRange::new(next, range.end())) {
            let rest = ByteRange::new(at, range.end());
            // Once: what is found wrong is fetched like any other.
            if verified != Some(at) && is_held(object, at) {
                verified = Some(at);
                self.verify(object, chunk::covering(rest)).await;
                continue;
            }
            let Some(admission) = self.admit(&reserved).await else {
                return;
            };
            let flight = self.board_ahead(object, rest, grain, admission);
            next = flight.map_or(chunk_end(at), |flight| flight.range().end());
        }
    }

    /// Asks the kernel to read present bytes from the disk before somebody waits for
    /// them. Nothing happens to what is in memory already.
    async fn read_into_memory(&self, object: &Arc<OpenObject>, range: ByteRange) {
        let object = Arc::clone(object);
        let read = move || {
            if let Some(backing) = object.lease.backing() {
                store::read_into_memory(&backing, range);
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
        let at = |chunk: u64| chunk.saturating_mul(chunk::CHUNK_SIZE);
        let range = ByteRange::new(at(chunks.start), at(chunks.end)).clamp_to(object.target.size);
        let mut tried = None;
        while let Some(at) = object.lease.first_absent(range) {
            if is_held(object, at) {
                self.verify(object, chunks.clone()).await;
                continue;
            }
            // Bytes that a whole flight has not brought into the store found no room.
            let here = self.transient.from(Owner::of(object), at);
            if tried == Some(at) || here.is_some() {
                return Err(no_room(object));
            }
            tried = Some(at);
            let rest = ByteRange::new(at, range.end());
            let reserved = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(shutting_down()),
                reserved = self.ahead.reserve_for_warmup(rest.len()) => reserved,
            };
            let admission = self.admit(&reserved).await.ok_or_else(shutting_down)?;
            drop(reserved);
            if let Some(flight) = self.board_ahead(object, rest, Grain::Chunks, admission) {
                flight.wait_for(u64::MAX).await?;
            }
        }
        Ok(())
    }

    /// The chunk behind the last one of the part that `chunk` belongs to.
    pub fn part_end(&self, chunk: u64) -> u64 {
        let per_part = (self.config.part_bytes / chunk::CHUNK_SIZE).max(1);
        (chunk / per_part + 1) * per_part
    }

    /// The byte behind the last one of the part that byte `at` belongs to.
    fn part_end_of(&self, at: u64) -> u64 {
        self.part_end(at / chunk::CHUNK_SIZE)
            .saturating_mul(chunk::CHUNK_SIZE)
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
