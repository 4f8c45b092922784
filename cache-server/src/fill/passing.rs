//! Reading through: bytes for a reader where the store has no room for them.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use forebay_core::cache::CacheError;
use forebay_core::{ByteRange, chunk};

use super::transient::Owner;
use super::{Fills, OpenObject, Wanted};

impl Fills {
    /// Reads a range that is not all in the store into one buffer.
    pub(super) async fn collect(
        self: &Arc<Self>,
        object: &Arc<OpenObject>,
        range: ByteRange,
    ) -> Result<Bytes, CacheError> {
        let mut joined = BytesMut::with_capacity(usize::try_from(range.len()).unwrap_or(0));
        while range.len() > joined.len() as u64 {
            let rest = ByteRange::new(range.start() + joined.len() as u64, range.end());
            match self.next_bytes(object, rest).await {
                Some(bytes) => {
                    let wanted = bytes
                        .len()
                        .min(usize::try_from(rest.len()).unwrap_or(usize::MAX));
                    joined.extend_from_slice(&bytes[..wanted]);
                }
                None => {
                    self.bring(object, rest, Wanted::InPlace).await?;
                }
            }
        }
        Ok(joined.freeze())
    }

    /// The first bytes of `range`, as far as they lie in one place.
    async fn next_bytes(&self, object: &Arc<OpenObject>, range: ByteRange) -> Option<Bytes> {
        if let Some(bytes) = self.transient.from(Owner::of(object), range.start()) {
            return Some(bytes);
        }
        let in_chunk = chunk::range(range.start() / chunk::CHUNK_SIZE, object.target.size);
        let here = range.intersect(in_chunk);
        let end = object.lease.first_absent(here).unwrap_or(here.end());
        let here = ByteRange::new(here.start(), end);
        if here.is_empty() {
            return None;
        }
        self.read_back(object, here).await
    }

    /// Bytes that are in the store; `None`, and their chunk forgotten, if they cannot be
    /// read.
    async fn read_back(&self, object: &Arc<OpenObject>, range: ByteRange) -> Option<Bytes> {
        let object = Arc::clone(object);
        let read = move || {
            let backing = object.lease.backing()?;
            let mut buffer = vec![0; usize::try_from(range.len()).ok()?];
            let at = backing.offset + range.start();
            match backing.file.read_exact_at(&mut buffer, at) {
                Ok(()) => Some(Bytes::from(buffer)),
                Err(error) => {
                    tracing::warn!(%error, object = %object.target.name(), %range, "cached bytes unreadable");
                    object.lease.discard(range.start() / chunk::CHUNK_SIZE);
                    None
                }
            }
        };
        tokio::task::spawn_blocking(read).await.ok().flatten()
    }
}
