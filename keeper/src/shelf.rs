//! The descriptors that are held.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat, major, minor};

use crate::limits;
use crate::name::Name;

/// The device number of `/dev/fuse` (Documentation/admin-guide/devices.txt).
const FUSE_DEVICE: (u32, u32) = (10, 229);

const AT_ONCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// One descriptor, and what its owner noted of it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) device: OwnedFd,
    pub(crate) handshake: Vec<u8>,
    pub(crate) note: Vec<u8>,
}

/// Why something is not held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotHeld {
    /// It is no FUSE device.
    Foreign,
    /// There is no room.
    Full,
}

/// The descriptors by their names.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    entries: BTreeMap<Name, Entry>,
}

impl Shelf {
    /// Holds `entry`, in the place of any of that name.
    pub(crate) fn put(&mut self, name: Name, entry: Entry) -> Result<(), NotHeld> {
        // Anything else could be a file of the very mount that it is to keep alive.
        if !is_fuse_device(entry.device.as_fd()) {
            return Err(NotHeld::Foreign);
        }
        if self.entries.len() >= limits::HELD && !self.entries.contains_key(&name) {
            return Err(NotHeld::Full);
        }
        self.entries.insert(name, entry);
        Ok(())
    }

    pub(crate) fn get(&self, name: &Name) -> Option<&Entry> {
        self.entries.get(name)
    }

    pub(crate) fn remove(&mut self, name: &Name) -> bool {
        self.entries.remove(name).is_some()
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The names behind `after`, as many as a page has.
    pub(crate) fn page(&self, after: Option<&Name>) -> Vec<Name> {
        let behind = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.entries
            .range((behind, Bound::Unbounded))
            .take(limits::PAGE)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Lets go of the connections that have ended.
    pub(crate) fn sweep(&mut self) {
        self.entries
            .retain(|_, entry| is_connected(entry.device.as_fd()));
    }
}

fn is_fuse_device(descriptor: BorrowedFd<'_>) -> bool {
    fstat(descriptor).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
            && (major(stat.st_rdev), minor(stat.st_rdev)) == FUSE_DEVICE
    })
}

/// Whether the kernel still has the connection of a FUSE device.
///
/// Asked now and then, and never waited for: who polls a FUSE device is woken by every
/// request.
fn is_connected(device: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(device, PollFlags::empty())];
    match poll(&mut polled, Some(&AT_ONCE)) {
        Ok(_) => !polled[0].revents().contains(PollFlags::ERR),
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn entry(path: &str) -> Entry {
        let device = File::options().read(true).write(true).open(path).unwrap();
        Entry {
            device: device.into(),
            handshake: Vec::new(),
            note: Vec::new(),
        }
    }

    fn name(number: usize) -> Name {
        format!("m{number:04}").parse().unwrap()
    }

    #[test]
    fn only_fuse_devices_are_held() {
        let mut shelf = Shelf::default();
        assert_eq!(
            shelf.put(name(0), entry("/dev/null")),
            Err(NotHeld::Foreign)
        );
        assert_eq!(shelf.put(name(0), entry("/dev/fuse")), Ok(()));
        assert!(shelf.get(&name(0)).is_some() && shelf.get(&name(1)).is_none());
        assert!(shelf.remove(&name(0)) && !shelf.remove(&name(0)) && shelf.is_empty());
    }

    #[test]
    fn there_is_an_end_to_what_is_held_and_a_held_one_can_be_replaced() {
        let mut shelf = Shelf::default();
        for number in 0..limits::HELD {
            shelf.put(name(number), entry("/dev/fuse")).unwrap();
        }
        let one_more = shelf.put(name(limits::HELD), entry("/dev/fuse"));
        assert_eq!(one_more, Err(NotHeld::Full));
        shelf.put(name(7), entry("/dev/fuse")).unwrap();
    }

    #[test]
    fn pages_have_every_name_once_and_end() {
        let mut shelf = Shelf::default();
        for number in 0..2 * limits::PAGE + 1 {
            shelf.put(name(number), entry("/dev/fuse")).unwrap();
        }
        let mut seen = Vec::new();
        loop {
            let page = shelf.page(seen.last());
            assert!(page.len() <= limits::PAGE);
            if page.is_empty() {
                break;
            }
            seen.extend(page);
        }
        let all: Vec<_> = (0..2 * limits::PAGE + 1).map(name).collect();
        assert_eq!(seen, all);
    }

    #[test]
    fn a_device_without_a_connection_is_let_go_of() {
        let mut shelf = Shelf::default();
        shelf.put(name(0), entry("/dev/fuse")).unwrap();
        shelf.sweep();
        assert!(shelf.is_empty());
    }
}
