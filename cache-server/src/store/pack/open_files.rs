//! The open files of packs, no more than a share of the process's descriptors.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Resource, getrlimit};

use super::Pack;
use crate::store::data;
use crate::store::error::Fault;

/// One descriptor in this many may be that of a pack; readers, connections and the files
/// of large objects need theirs.
const SHARE: u64 = 4;
/// Beyond this many, an open file saves too little to be worth the kernel's memory.
const MOST: usize = 4096;
const FEWEST: usize = 8;

/// Which packs have an open file, in the order in which they are looked at for closing:
/// the one opened longest ago first, but not if it was used since the last look.
#[derive(Debug)]
pub(in crate::store) struct OpenFiles {
    most: usize,
    // Evicted packs may linger here, closed.
    clock: Mutex<VecDeque<Arc<Pack>>>,
}

impl Default for OpenFiles {
    fn default() -> Self {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let share = usize::try_from(limit / SHARE).unwrap_or(MOST);
        Self::bounded(share.clamp(FEWEST, MOST))
    }
}

impl OpenFiles {
    /// At most `most` open files, besides those that readers hold.
    pub(in crate::store) fn bounded(most: usize) -> Self {
        Self {
            most,
            clock: Mutex::default(),
        }
    }

    /// The pack's file, opened at `path` if it is not open; `None` if the pack is gone.
    ///
    /// # Errors
    /// As the system answers. Short of descriptors, it first closes what is idle.
    pub(in crate::store) fn open(
        &self,
        pack: &Arc<Pack>,
        path: impl Fn() -> std::path::PathBuf,
    ) -> io::Result<Option<Arc<File>>> {
        let file = {
            let mut slot = pack.file();
            if pack.is_gone() {
                return Ok(None);
            }
            if let Some(file) = &*slot {
                pack.recent.store(true, Relaxed);
                return Ok(Some(Arc::clone(file)));
            }
            let file = Arc::new(self.open_at(&path())?);
            Arc::clone(slot.insert(file))
        };
        self.enlist(pack);
        Ok(Some(file))
    }

    /// Keeps `file` as that of `pack`, which is new.
    pub(in crate::store) fn adopt(&self, pack: &Arc<Pack>, file: &Arc<File>) {
        *pack.file() = Some(Arc::clone(file));
        self.enlist(pack);
    }

    fn open_at(&self, path: &Path) -> io::Result<File> {
        match data::open(path) {
            Err(error) if Fault::of(&error) == Fault::Busy => {
                self.shrink_to(self.clock().len() / 2);
                data::open(path)
            }
            opened => opened,
        }
    }

    fn enlist(&self, pack: &Arc<Pack>) {
        self.clock().push_back(Arc::clone(pack));
        self.shrink_to(self.most);
    }

    fn shrink_to(&self, most: usize) {
        let mut closed = Vec::new();
        let mut clock = self.clock();
        // Each pack gets one second chance.
        let mut looks = 2 * clock.len();
        while clock.len() > most && looks > 0 {
            looks -= 1;
            let Some(pack) = clock.pop_front() else {
                break;
            };
            if pack.recent.swap(false, Relaxed) && !pack.is_gone() {
                clock.push_back(pack);
            } else {
                closed.push(pack);
            }
        }
        drop(clock);
        // Outside of the lock: closing the last descriptor of an unlinked file frees it.
        closed.iter().for_each(|pack| drop(pack.file().take()));
    }

    fn clock(&self) -> MutexGuard<'_, VecDeque<Arc<Pack>>> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::share::Class;

    #[test]
    fn no_more_files_stay_open_than_allowed_and_used_ones_stay_longest() {
        let dir = crate::store::tests::scratch();
        let open = OpenFiles::bounded(4);
        let packs: Vec<_> = (0..20)
            .map(|key| Arc::new(Pack::new(key, 0, Class::default(), u64::from(key))))
            .collect();
        let path = |pack: &Pack| dir.path().join(pack.generation.to_string());
        for pack in &packs {
            fs::write(path(pack), "").unwrap();
        }
        for pack in &packs {
            assert!(open.open(pack, || path(pack)).unwrap().is_some());
            // The first one is asked for all the time.
            assert!(open.open(&packs[0], || path(&packs[0])).unwrap().is_some());
            assert!(packs.iter().filter(|p| p.file().is_some()).count() <= 4);
            assert!(packs[0].file().is_some());
        }
    }

    #[test]
    fn a_pack_that_is_gone_is_not_opened_again() {
        let dir = crate::store::tests::scratch();
        let path = || dir.path().join("pack");
        fs::write(path(), "").unwrap();
        let open = OpenFiles::bounded(4);
        let pack = Arc::new(Pack::new(1, 0, Class::default(), 1));
        let file = open.open(&pack, path).unwrap().unwrap();
        assert!(pack.end().is_some() && pack.end().is_none());
        assert!(open.open(&pack, path).unwrap().is_none());
        assert_eq!(Arc::strong_count(&file), 1);
    }
}
