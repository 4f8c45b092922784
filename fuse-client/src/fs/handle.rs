//! The table of open files.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use forebay_core::ByteRange;
use forebay_core::cache::{Cache, CacheError, Lease};

use super::handle_log::{HandleLog, Record, Slot};
use super::inode::Inode;
use super::refusal::Refusals;
use super::uses::BackingNumber;
use crate::prefetch::Pattern;

/// So many locks that readers on all cores rarely meet on one.
const SHARDS: usize = 16;

/// How the reader of an open file gets its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// By way of the page cache of the mounted file.
    Pages,
    /// Straight from this process into the reader's memory, so that the bytes of a file
    /// that is being fetched lie in the page cache once, as the cache's file, and not
    /// twice.
    Direct,
    /// The kernel reads the cache's file.
    Passthrough(BackingNumber),
}

/// One open file: the right to read its object, and what is known of how it is read.
#[derive(Debug)]
pub(crate) struct OpenFile {
    /// The file.
    pub(crate) inode: Inode,
    /// Held until the file is closed: the object is not evicted meanwhile.
    pub(crate) lease: Lease,
    /// How it is read.
    pub(crate) how: How,
    pattern: Mutex<Pattern>,
    refusals: Mutex<Refusals>,
}

impl OpenFile {
    /// A file that has not been read yet.
    pub(crate) fn new(inode: Inode, lease: Lease, how: How) -> Self {
        Self {
            inode,
            lease,
            how,
            pattern: Mutex::default(),
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

    /// Notes a read, and advises `cache` of what will probably be read soon.
    pub(crate) fn look_ahead(&self, range: ByteRange, cache: &dyn Cache) {
        let mut pattern = self.pattern.lock().unwrap_or_else(PoisonError::into_inner);
        pattern.observe(range, self.lease.size, |ahead| {
            cache.advise(&self.lease, ahead)
        });
    }
}

/// The open files of one mount, by the handle that the kernel holds.
///
/// A handle is worth something only together with its inode: whoever asks with one that
/// is unknown, or that opened another file, is told that there is none, and reads by the
/// inode instead.
#[derive(Debug)]
pub(crate) struct Handles {
    shards: [Mutex<HashMap<u64, Entry>>; SHARDS],
    next: AtomicU64,
    log: Option<HandleLog>,
}

#[derive(Debug)]
struct Entry {
    inode: Inode,
    /// Where the handle is written down, if there is a log.
    slot: Option<Slot>,
    /// `None` while the lease of a file that an earlier process opened is not taken yet.
    file: Option<Arc<OpenFile>>,
}

impl Handles {
    /// No open files, written down in `log` if there is one.
    pub(crate) fn new(log: Option<HandleLog>) -> Self {
        // 0 is what the kernel sends for a file that was opened without asking.
        let first = log.as_ref().map_or(1, HandleLog::first_handle);
        Self {
            shards: Default::default(),
            next: AtomicU64::new(first),
            log,
        }
    }

    /// The file of records, if there is one.
    pub(crate) fn log(&self) -> Option<&HandleLog> {
        self.log.as_ref()
    }

    /// Files an open file and returns its handle.
    ///
    /// # Errors
    /// If it cannot be written down.
    pub(crate) fn insert(&self, file: OpenFile) -> io::Result<u64> {
        let handle = self.next.fetch_add(1, Ordering::Relaxed);
        let inode = file.inode;
        let backing = match file.how {
            How::Passthrough(number) => Some(number),
            How::Pages | How::Direct => None,
        };
        let record = Record {
            handle,
            inode,
            backing,
        };
        let slot = self
            .log
            .as_ref()
            .map(|log| log.write(&record))
            .transpose()?;
        let entry = Entry {
            inode,
            slot,
            file: Some(Arc::new(file)),
        };
        self.shard(handle).insert(handle, entry);
        Ok(handle)
    }

    /// Files a handle that an earlier process gave out.
    pub(crate) fn restore(&self, slot: Slot, record: &Record) {
        let entry = Entry {
            inode: record.inode,
            slot: Some(slot),
            file: None,
        };
        self.shard(record.handle).insert(record.handle, entry);
    }

    /// The handles of earlier processes whose files have no lease yet.
    pub(crate) fn without_lease(&self) -> Vec<(u64, Inode)> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let bare = shard.iter().filter(|(_, entry)| entry.file.is_none());
            found.extend(bare.map(|(handle, entry)| (*handle, entry.inode)));
        }
        found
    }

    /// Gives a restored handle its file; nothing if it was closed meanwhile.
    pub(crate) fn supply(&self, handle: u64, file: OpenFile) {
        if let Some(entry) = self.shard(handle).get_mut(&handle) {
            entry.file.get_or_insert_with(|| Arc::new(file));
        }
    }

    /// The file that `handle` opened, if that is `inode`.
    pub(crate) fn get(&self, handle: u64, inode: Inode) -> Option<Arc<OpenFile>> {
        let shard = self.shard(handle);
        let entry = shard.get(&handle).filter(|entry| entry.inode == inode)?;
        entry.file.clone()
    }

    /// Takes the file out of the table; true if `handle` opened `inode`. Reads under way
    /// keep it alive until they end.
    pub(crate) fn remove(&self, handle: u64, inode: Inode) -> bool {
        let entry = {
            let mut shard = self.shard(handle);
            match shard.get(&handle) {
                Some(entry) if entry.inode == inode => shard.remove(&handle),
                _ => None,
            }
        };
        if let Some((slot, log)) = entry
            .as_ref()
            .and_then(|entry| entry.slot)
            .zip(self.log.as_ref())
        {
            log.clear(slot);
        }
        entry.is_some()
    }

    fn shard(&self, handle: u64) -> MutexGuard<'_, HashMap<u64, Entry>> {
        let shard = &self.shards[handle as usize % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
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
        let lease = Lease {
            file,
            size: 1,
            state: Box::new(()),
        };
        OpenFile::new(inode, lease, How::Pages)
    }

    fn insert(handles: &Handles, inode: Inode) -> u64 {
        handles.insert(file(inode)).unwrap()
    }

    #[test]
    fn a_handle_finds_its_file_until_it_is_removed() {
        let handles = Handles::new(None);
        let inode = Inode::from_raw(2);
        let all: Vec<u64> = (0..100).map(|_| insert(&handles, inode)).collect();
        let known = |handle: &u64| handles.get(*handle, inode).is_some();
        assert!(all.iter().all(known));
        assert!(all.iter().all(|handle| handles.remove(*handle, inode)));
        assert!(!all.iter().any(known));
        assert!(!all.iter().any(|handle| handles.remove(*handle, inode)));
    }

    #[test]
    fn a_handle_that_means_another_inode_is_unknown() {
        let handles = Handles::new(None);
        let handle = insert(&handles, Inode::from_raw(2));
        assert!(handles.get(handle, Inode::from_raw(3)).is_none());
        assert!(!handles.remove(handle, Inode::from_raw(3)));
        assert!(handles.get(handle, Inode::from_raw(2)).is_some());
    }

    #[test]
    fn no_file_gets_the_handle_of_files_opened_without_asking() {
        assert_ne!(insert(&Handles::new(None), Inode::from_raw(2)), 0);
    }

    #[test]
    fn a_successor_closes_what_an_earlier_process_opened() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("handles");
        let inode = Inode::from_raw(2);
        let first = Handles::new(Some(HandleLog::create(&path).unwrap()));
        let (kept, closed) = (insert(&first, inode), insert(&first, inode));
        assert!(first.remove(closed, inode));
        drop(first);

        let mut log = HandleLog::adopt(&path).unwrap();
        let found = log.take_found();
        let next = Handles::new(Some(log));
        for (slot, record) in &found.records {
            next.restore(*slot, record);
        }
        assert_eq!(next.without_lease(), [(kept, inode)]);
        assert!(next.get(kept, inode).is_none(), "it has no lease yet");
        next.supply(kept, file(inode));
        assert!(next.get(kept, inode).is_some());
        assert!(insert(&next, inode) > kept);
        assert!(next.remove(kept, inode));
        assert!(!next.remove(closed, inode));
    }
}
