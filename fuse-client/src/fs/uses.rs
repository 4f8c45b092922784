//! Who has a file open, and whether the kernel reads it by itself.
//!
//! Linux (fs/fuse/iomode.c) takes a mistake here for the server's and fails the
//! reader's `open` with EIO. Its rules, as kept here:
//! - While a file is open with a backing file, each further open of it must name the
//!   same backing file.
//! - While it is open through the page cache, or mapped, it cannot be opened with a
//!   backing file. The kernel does not say when a file is mapped, so "open through this
//!   process" is what counts.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::fs::File;
use std::io;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tracing::warn;

use super::inode::Inode;

/// So many locks that opens on all cores rarely meet on one.
const SHARDS: usize = 16;

/// The kernel's number for a backing file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BackingNumber(pub(crate) u32);

/// Where the kernel is told of backing files.
pub(crate) trait BackingRegistry: Send + Sync + fmt::Debug {
    /// Gives the kernel a file to read from. It stays open there until it is closed.
    ///
    /// # Errors
    /// As the kernel answers: EPERM without CAP_SYS_ADMIN, ELOOP if the file lies on a
    /// stacked file system.
    fn register(&self, file: &File) -> io::Result<BackingNumber>;

    /// Takes it back. Files that are open with it stay readable.
    fn close(&self, number: BackingNumber);
}

/// The files that are open now.
#[derive(Debug)]
pub(crate) struct Uses {
    shards: [Mutex<HashMap<Inode, Use>>; SHARDS],
    registry: OnceLock<Box<dyn BackingRegistry>>,
    refused: OnceLock<()>,
}

#[derive(Debug)]
struct Use {
    handles: u32,
    backing: Option<BackingNumber>,
}

impl Uses {
    pub(crate) fn new() -> Self {
        Self {
            shards: Default::default(),
            registry: OnceLock::new(),
            refused: OnceLock::new(),
        }
    }

    /// Says where backing files are registered; until then none is.
    pub(crate) fn attach(&self, registry: Box<dyn BackingRegistry>) {
        // There is one connection to the kernel in the life of a tree.
        let _ = self.registry.set(registry);
    }

    /// Enters one more open of `inode`, and says with which backing file it must be
    /// answered, if with any. `whole` is the cache's file, if it has all of the object.
    pub(crate) fn enter(&self, inode: Inode, whole: Option<&File>) -> Option<BackingNumber> {
        let mut shard = self.shard(inode);
        match shard.entry(inode) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                known.handles += 1;
                known.backing
            }
            Entry::Vacant(place) => {
                let backing = whole.and_then(|file| self.register(file));
                place.insert(Use {
                    handles: 1,
                    backing,
                });
                backing
            }
        }
    }

    /// Enters an open that an earlier process answered.
    pub(crate) fn restore(&self, inode: Inode, backing: Option<BackingNumber>) {
        let mut shard = self.shard(inode);
        let known = shard.entry(inode).or_insert(Use {
            handles: 0,
            backing,
        });
        known.handles += 1;
    }

    /// Takes one open of `inode` back.
    pub(crate) fn leave(&self, inode: Inode) {
        let mut shard = self.shard(inode);
        let Entry::Occupied(mut known) = shard.entry(inode) else {
            return;
        };
        known.get_mut().handles -= 1;
        if known.get().handles > 0 {
            return;
        }
        let Use { backing, .. } = known.remove();
        // Under the lock still: the next open of the file registers it anew.
        if let Some((number, registry)) = backing.zip(self.registry.get()) {
            registry.close(number);
        }
    }

    fn register(&self, file: &File) -> Option<BackingNumber> {
        let registry = self.registry.get()?;
        match registry.register(file) {
            Ok(number) => Some(number),
            Err(error) => {
                if self.refused.set(()).is_ok() {
                    warn!(%error, "kernel takes no backing files here, so it asks for each read; it needs CAP_SYS_ADMIN, and a cache that lies on no overlay");
                }
                None
            }
        }
    }

    /// Whether the kernel has refused a backing file: it will refuse the next as well.
    pub(crate) fn refused(&self) -> bool {
        self.refused.get().is_some()
    }

    fn shard(&self, inode: Inode) -> MutexGuard<'_, HashMap<Inode, Use>> {
        let shard = &self.shards[inode.as_raw() as usize % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Numbers backing files as the kernel does, and knows which are open.
    #[derive(Debug, Default)]
    pub(crate) struct Kernel {
        next: AtomicU32,
        pub(crate) open: Mutex<Vec<u32>>,
    }

    impl BackingRegistry for Arc<Kernel> {
        fn register(&self, _file: &File) -> io::Result<BackingNumber> {
            let number = self.next.fetch_add(1, Ordering::Relaxed) + 1;
            self.open.lock().unwrap().push(number);
            Ok(BackingNumber(number))
        }

        fn close(&self, number: BackingNumber) {
            self.open.lock().unwrap().retain(|open| *open != number.0);
        }
    }

    fn fixture() -> (Uses, Arc<Kernel>, File) {
        let (uses, kernel) = (Uses::new(), Arc::new(Kernel::default()));
        uses.attach(Box::new(Arc::clone(&kernel)));
        (uses, kernel, tempfile::tempfile().unwrap())
    }

    const INODE: Inode = Inode::from_raw(2);

    #[test]
    fn all_opens_of_a_file_share_one_backing_file_until_the_last_is_closed() {
        let (uses, kernel, file) = fixture();
        let first = uses.enter(INODE, Some(&file));
        assert_eq!(first, Some(BackingNumber(1)));
        // Also one for which the cache has no whole file any more.
        assert_eq!(uses.enter(INODE, None), first);
        uses.leave(INODE);
        assert_eq!(*kernel.open.lock().unwrap(), [1]);
        uses.leave(INODE);
        assert!(kernel.open.lock().unwrap().is_empty());
        assert_eq!(uses.enter(INODE, Some(&file)), Some(BackingNumber(2)));
    }

    #[test]
    fn a_file_that_this_process_serves_is_not_passed_through_beside() {
        let (uses, kernel, file) = fixture();
        assert_eq!(uses.enter(INODE, None), None);
        assert_eq!(uses.enter(INODE, Some(&file)), None);
        uses.leave(INODE);
        assert_eq!(uses.enter(INODE, Some(&file)), None);
        uses.leave(INODE);
        uses.leave(INODE);
        assert_eq!(uses.enter(INODE, Some(&file)), Some(BackingNumber(1)));
        assert_eq!(kernel.open.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_restored_open_binds_later_ones_and_is_closed_with_the_last() {
        let (uses, kernel, file) = fixture();
        kernel.open.lock().unwrap().push(77);
        uses.restore(INODE, Some(BackingNumber(77)));
        assert_eq!(uses.enter(INODE, Some(&file)), Some(BackingNumber(77)));
        uses.leave(INODE);
        uses.leave(INODE);
        assert!(kernel.open.lock().unwrap().is_empty());
    }
}
