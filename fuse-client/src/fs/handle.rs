//! The table of open files.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use forebay_core::ByteRange;
use forebay_core::cache::{CacheError, Lease};

use super::inode::Inode;
use super::refusal::Refusals;
use crate::prefetch::Sequence;

/// So many locks that readers on all cores rarely meet on one.
const SHARDS: usize = 16;

/// One open file: the right to read its object, and what is known of how it is read.
#[derive(Debug)]
pub(crate) struct OpenFile {
    /// The file.
    pub(crate) inode: Inode,
    /// Held until the file is closed: the object is not evicted meanwhile.
    pub(crate) lease: Lease,
    sequence: Mutex<Sequence>,
    refusals: Mutex<Refusals>,
}

impl OpenFile {
    /// A file that has not been read yet.
    pub(crate) fn new(inode: Inode, lease: Lease) -> Self {
        Self {
            inode,
            lease,
            sequence: Mutex::default(),
            refusals: Mutex::default(),
        }
    }

    /// Notes that a read failed, for [`Self::refused_before`].
    pub(crate) fn refused(&self, range: ByteRange, error: &CacheError) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.note(range, error, Instant::now());
    }

    /// How the read failed whose second try this one is.
    pub(crate) fn refused_before(&self, range: ByteRange) -> Option<CacheError> {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.take(range, Instant::now())
    }

    /// Notes a read, and says what will probably be read soon.
    pub(crate) fn observe(&self, range: ByteRange) -> Option<ByteRange> {
        // Arithmetic only while the lock is held.
        let mut sequence = self.sequence.lock().unwrap_or_else(PoisonError::into_inner);
        sequence.observe(range, self.lease.size)
    }
}

/// The open files of one mount, by the handle that the kernel holds.
///
/// A handle is worth something only together with its inode: handles of a process that
/// served the mount before are unknown here, or name another file. Whoever asks with
/// one is told that there is none, and reads by the inode instead.
#[derive(Debug)]
pub(crate) struct Handles {
    shards: [Mutex<HashMap<u64, Arc<OpenFile>>>; SHARDS],
    next: AtomicU64,
}

impl Handles {
    pub(crate) fn new() -> Self {
        // 0 is what the kernel sends for a file that was opened without asking.
        Self {
            shards: Default::default(),
            next: AtomicU64::new(1),
        }
    }

    /// Files an open file and returns its handle.
    pub(crate) fn insert(&self, file: OpenFile) -> u64 {
        let handle = self.next.fetch_add(1, Ordering::Relaxed);
        let mut shard = self
            .shard(handle)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        shard.insert(handle, Arc::new(file));
        handle
    }

    /// The file that `handle` opened, if that is `inode`.
    pub(crate) fn get(&self, handle: u64, inode: Inode) -> Option<Arc<OpenFile>> {
        let shard = self
            .shard(handle)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        shard
            .get(&handle)
            .filter(|file| file.inode == inode)
            .map(Arc::clone)
    }

    /// Takes the file out of the table, if `handle` opened `inode`. Reads under way keep
    /// it alive until they end.
    pub(crate) fn remove(&self, handle: u64, inode: Inode) -> Option<Arc<OpenFile>> {
        let mut shard = self
            .shard(handle)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if shard.get(&handle)?.inode == inode {
            shard.remove(&handle)
        } else {
            None
        }
    }

    fn shard(&self, handle: u64) -> &Mutex<HashMap<u64, Arc<OpenFile>>> {
        &self.shards[handle as usize % SHARDS]
    }
}

#[cfg(test)]
mod tests {
    use forebay_core::cache::FileRef;
    use forebay_core::manifest::{EntryId, VersionId};

    use super::*;

    fn file(inode: Inode) -> OpenFile {
        let file = FileRef {
            version: VersionId::from_bytes([0; 16]),
            entry: EntryId(1),
        };
        OpenFile::new(
            inode,
            Lease {
                file,
                size: 1,
                state: Box::new(()),
            },
        )
    }

    #[test]
    fn a_handle_finds_its_file_until_it_is_removed() {
        let handles = Handles::new();
        let inode = Inode::from_raw(2);
        let all: Vec<u64> = (0..100).map(|_| handles.insert(file(inode))).collect();
        assert!(
            all.iter()
                .all(|handle| handles.get(*handle, inode).is_some())
        );
        assert!(
            all.iter()
                .all(|handle| handles.remove(*handle, inode).is_some())
        );
        assert!(
            all.iter()
                .all(|handle| handles.get(*handle, inode).is_none())
        );
    }

    #[test]
    fn a_handle_that_means_another_inode_is_unknown() {
        let handles = Handles::new();
        let handle = handles.insert(file(Inode::from_raw(2)));
        assert!(handles.get(handle, Inode::from_raw(3)).is_none());
        assert!(handles.remove(handle, Inode::from_raw(3)).is_none());
        assert!(handles.get(handle, Inode::from_raw(2)).is_some());
    }

    #[test]
    fn no_file_gets_the_handle_of_files_opened_without_asking() {
        assert_ne!(Handles::new().insert(file(Inode::from_raw(2))), 0);
    }
}
