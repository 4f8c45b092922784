//! What is said to be here, looked at once more: an object as one file, and bytes that a
//! reader could not read.

use std::fs::File;
use std::sync::Arc;

use forebay_core::{ByteRange, chunk};

use super::{Fills, OpenObject};
use crate::store::ChunkState;

/// So much is verified while the opener waits: 64 MiB are read and compared in some
/// 30 ms where the disk is fast. More is verified behind its back.
const VERIFIED_AT_ONCE: u64 = 64 << 20;

impl Fills {
    /// The object's file, if it holds every byte of it, verified.
    ///
    /// # Cancel safety
    /// Cancel-safe: a verification that has begun goes on.
    pub async fn whole(self: &Arc<Self>, object: &Arc<OpenObject>) -> Option<Arc<File>> {
        // Before each hand-out: what is verified may have been written to by others since.
        object.lease.look_at_file();
        if !object.lease.is_complete() {
            let unverified = unverified_bytes(object)?;
            let chunks = 0..chunk::count(object.target.size);
            if unverified > VERIFIED_AT_ONCE {
                let (fills, object) = (Arc::clone(self), Arc::clone(object));
                self.tasks
                    .spawn(async move { fills.verify(&object, chunks).await });
                return None;
            }
            self.verify(object, chunks).await;
            object.lease.look_at_file();
        }
        let backing = object
            .lease
            .is_complete()
            .then(|| object.lease.backing())??;
        (backing.offset == 0).then_some(backing.file)
    }

    /// Compares what is here of `range` with its checksums, verified before or not, and
    /// drops what is wrong.
    pub async fn distrust(&self, object: &Arc<OpenObject>, range: ByteRange) {
        let object = Arc::clone(object);
        let check = move || {
            let range = range.clamp_to(object.target.size);
            chunk::covering(range).for_each(|index| object.lease.distrust(index));
        };
        if let Err(error) = tokio::task::spawn_blocking(check).await {
            tracing::error!(%error, "verification of cached chunks broke off");
        }
    }
}

/// The bytes that an earlier process recorded; `None` if a chunk is missing.
fn unverified_bytes(object: &OpenObject) -> Option<u64> {
    let size = object.target.size;
    let count = chunk::count(size);
    let mut bytes = 0;
    let mut next = 0;
    while let Some(index) = object.lease.first_not_present(next..count) {
        if object.lease.state(index) == ChunkState::Missing {
            return None;
        }
        bytes += chunk::range(index, size).len();
        next = index + 1;
    }
    Some(bytes)
}
