//! An object that is all here, as one file.

use std::fs::File;
use std::sync::Arc;

use forebay_core::chunk;

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
        }
        let backing = object
            .lease
            .is_complete()
            .then(|| object.lease.backing())??;
        (backing.offset == 0).then_some(backing.file)
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
