//! Where small files lie, as the server has told it: what is opened there costs no message.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use forebay_core::cache::{Backing, FileRef};
use forebay_core::manifest::VersionId;
use forebay_proto::local::{PLACES, Place};

/// Leases of a block's files that were asked for one by one, at most, before its places are
/// asked for again. To answer costs the server as much as some tens of leases.
const MOST_PATIENCE: u32 = 64;

/// A pack in which this client reads.
#[derive(Debug)]
struct Pack {
    /// The server's number of it.
    number: u32,
    file: Arc<File>,
    /// Objects opened since the server was told.
    used: AtomicU32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Spot {
    grant: u32,
    offset: u32,
    // 0: not known.
    len: u32,
}

/// The places of [`PLACES`] entries.
#[derive(Debug)]
struct Block {
    spots: Box<[Spot]>,
    asking: Mutex<Asking>,
}

/// When the places of a block are asked for.
#[derive(Debug)]
struct Asking {
    /// Files of it, small and present, that had to be leased since the last time.
    missed: u32,
    /// At so many, it is time.
    patience: u32,
}

impl Default for Block {
    fn default() -> Self {
        let asking = Asking {
            missed: 0,
            patience: 1,
        };
        Self {
            spots: vec![Spot::default(); PLACES as usize].into(),
            asking: Mutex::new(asking),
        }
    }
}

/// A small file whose place is known.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) backing: Backing,
    pub(crate) size: u64,
}

/// The packs whose descriptors came, each under a number of its own: what was known of a
/// pack that was withdrawn is not known again when it comes anew.
#[derive(Debug, Default)]
struct Packs {
    granted: HashMap<u32, Pack>,
    // By the server's number.
    grants: HashMap<u32, u32>,
    next: u32,
}

/// The places that were told in one session.
#[derive(Debug, Default)]
pub(crate) struct Places {
    packs: RwLock<Packs>,
    // 12 KiB for each run of entries in which something small was opened.
    blocks: RwLock<HashMap<(VersionId, u32), Block>>,
}

impl Places {
    /// Where `file` lies, if that is known; counts it as opened.
    pub(crate) fn find(&self, file: FileRef) -> Option<Found> {
        let spot = {
            let blocks = self.blocks.read().unwrap_or_else(PoisonError::into_inner);
            let block = blocks.get(&(file.version, file.entry.0 / PLACES))?;
            block.spots[(file.entry.0 % PLACES) as usize]
        };
        if spot.len == 0 {
            return None;
        }
        let packs = self.packs.read().unwrap_or_else(PoisonError::into_inner);
        let pack = packs.granted.get(&spot.grant)?;
        pack.used.fetch_add(1, Relaxed);
        Some(Found {
            backing: Backing {
                file: Arc::clone(&pack.file),
                offset: spot.offset.into(),
            },
            size: spot.len.into(),
        })
    }

    /// Notes that `file`, which lies in a pack, had to be leased. If it is time to ask for
    /// the places around it: the first entry to ask for.
    pub(crate) fn missed(&self, file: FileRef) -> Option<u32> {
        let number = file.entry.0 / PLACES;
        let due = |block: &Block| {
            let mut asking = block.asking.lock().unwrap_or_else(PoisonError::into_inner);
            asking.missed += 1;
            if asking.missed < asking.patience {
                return None;
            }
            asking.missed = 0;
            asking.patience = (asking.patience * 2).min(MOST_PATIENCE);
            Some(number * PLACES)
        };
        let key = (file.version, number);
        {
            let blocks = self.blocks.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(block) = blocks.get(&key) {
                return due(block);
            }
        }
        let mut blocks = self.blocks.write().unwrap_or_else(PoisonError::into_inner);
        due(blocks.entry(key).or_default())
    }

    /// Takes in places in one pack, and its descriptor if it is new.
    pub(crate) fn note(
        &self,
        version: VersionId,
        number: u32,
        places: &[Place],
        descriptor: Option<OwnedFd>,
    ) {
        let Some(grant) = self.grant(number, descriptor) else {
            return;
        };
        let mut blocks = self.blocks.write().unwrap_or_else(PoisonError::into_inner);
        for place in places {
            let block = blocks.entry((version, place.entry / PLACES)).or_default();
            block.spots[(place.entry % PLACES) as usize] = Spot {
                grant,
                offset: place.offset,
                len: place.len,
            };
        }
    }

    /// Under which number a pack is known; None if its descriptor has never come.
    fn grant(&self, number: u32, descriptor: Option<OwnedFd>) -> Option<u32> {
        let Some(descriptor) = descriptor else {
            let packs = self.packs.read().unwrap_or_else(PoisonError::into_inner);
            return packs.grants.get(&number).copied();
        };
        let pack = Pack {
            number,
            file: Arc::new(File::from(descriptor)),
            used: AtomicU32::new(0),
        };
        let mut packs = self.packs.write().unwrap_or_else(PoisonError::into_inner);
        let grant = packs.next;
        packs.next = packs.next.wrapping_add(1);
        packs.granted.insert(grant, pack);
        packs.grants.insert(number, grant);
        Some(grant)
    }

    /// Lets go of a pack: nothing in it is found any more. Who reads there goes on.
    pub(crate) fn withdraw(&self, number: u32) {
        let withdrawn = {
            let mut packs = self.packs.write().unwrap_or_else(PoisonError::into_inner);
            let grant = packs.grants.remove(&number);
            grant.and_then(|grant| packs.granted.remove(&grant))
        };
        // Outside of the lock: the last descriptor of an evicted pack frees its room.
        drop(withdrawn);
    }

    /// Forgets where `file` lies: its bytes could not be read there.
    pub(crate) fn forget(&self, file: FileRef) {
        let mut blocks = self.blocks.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(block) = blocks.get_mut(&(file.version, file.entry.0 / PLACES)) {
            block.spots[(file.entry.0 % PLACES) as usize] = Spot::default();
        }
    }

    /// How many objects were opened in which packs since this was last asked.
    pub(crate) fn take_used(&self) -> Vec<(u32, u32)> {
        let packs = self.packs.read().unwrap_or_else(PoisonError::into_inner);
        let used = packs
            .granted
            .values()
            .map(|pack| (pack.number, pack.used.swap(0, Relaxed)));
        used.filter(|(_, objects)| *objects > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use forebay_core::manifest::EntryId;

    use super::*;

    const VERSION: VersionId = VersionId::from_bytes([1; 16]);

    fn file(entry: u32) -> FileRef {
        FileRef {
            version: VERSION,
            entry: EntryId(entry),
        }
    }

    fn descriptor() -> Option<OwnedFd> {
        Some(tempfile::tempfile().unwrap().into())
    }

    fn place(entry: u32) -> Place {
        Place {
            entry,
            offset: 10 * entry,
            len: 7,
        }
    }

    #[test]
    fn what_was_told_is_found_until_it_is_forgotten_or_its_pack_withdrawn() {
        let places = Places::default();
        places.note(VERSION, 4, &[place(3), place(5000)], descriptor());
        places.note(VERSION, 4, &[place(4)], None);
        places.note(VERSION, 9, &[place(6)], descriptor());
        let found = places.find(file(5000)).unwrap();
        assert_eq!((found.backing.offset, found.size), (50_000, 7));
        assert!(places.find(file(5)).is_none());
        places.forget(file(3));
        assert!(places.find(file(3)).is_none() && places.find(file(4)).is_some());
        places.withdraw(4);
        assert!(places.find(file(4)).is_none() && places.find(file(6)).is_some());
        // Told anew, it is not believed in what was known before.
        places.note(VERSION, 4, &[place(5000)], descriptor());
        assert!(places.find(file(4)).is_none() && places.find(file(5000)).is_some());
        // A place without a pack is none.
        places.note(VERSION, 5, &[place(8)], None);
        assert!(places.find(file(8)).is_none());
    }

    #[test]
    fn the_server_hears_of_what_was_opened_once() {
        let places = Places::default();
        places.note(VERSION, 4, &[place(3)], descriptor());
        places.note(VERSION, 5, &[place(4)], descriptor());
        assert!(places.find(file(3)).is_some() && places.find(file(3)).is_some());
        assert_eq!(places.take_used(), [(4, 2)]);
        assert_eq!(places.take_used(), []);
    }

    #[test]
    fn places_are_asked_for_at_once_and_then_ever_more_rarely() {
        let places = Places::default();
        let asked: Vec<u32> = (0..300)
            .filter(|_| places.missed(file(PLACES + 7)) == Some(PLACES))
            .collect();
        assert_eq!(asked, [0, 2, 6, 14, 30, 62, 126, 190, 254]);
        assert_eq!(places.missed(file(7)), Some(0));
    }
}
