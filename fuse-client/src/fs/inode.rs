//! Inode numbers: which entry of which mounted version.

use std::fmt;

use forebay_core::manifest::EntryId;

/// The number of an entry's position takes the low bits; the epoch the ones above.
const EPOCH_SHIFT: u32 = 40;

/// The place of a version among those that a mount has served, in the order in which
/// they came: 0 is the version mounted first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct EpochId(pub(crate) u32);

/// An inode number: `(epoch << 40 | position) + 1`.
///
/// It is the same in every process and after every restart, as long as the versions are
/// mounted in the same order. Epochs beyond 2^24 would not fit; a mount that is refreshed
/// every second reaches that after half a year.
///
/// The root is the exception: it is always 1, and means the root of the version that is
/// current, because the kernel asks for it by that number for as long as the mount lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Inode(u64);

impl Inode {
    /// The root directory of the current version.
    pub(crate) const ROOT: Self = Self(1);

    /// The number of an entry.
    pub(crate) const fn new(epoch: EpochId, entry: EntryId) -> Self {
        if entry.0 == 0 {
            return Self::ROOT;
        }
        Self(((epoch.0 as u64) << EPOCH_SHIFT | entry.0 as u64) + 1)
    }

    /// Takes a number as the kernel gives it.
    pub(crate) const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The number as the kernel takes it.
    pub(crate) const fn as_raw(self) -> u64 {
        self.0
    }

    /// The entry that the number means; `None` if none could have it, and for the root,
    /// whose epoch the number does not say.
    pub(crate) fn entry(self) -> Option<(EpochId, EntryId)> {
        let packed = self.0.checked_sub(1)?;
        let position = u32::try_from(packed & ((1 << EPOCH_SHIFT) - 1)).ok()?;
        let epoch = u32::try_from(packed >> EPOCH_SHIFT).ok()?;
        (position != 0).then_some((EpochId(epoch), EntryId(position)))
    }
}

impl fmt::Display for Inode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "inode {}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_means_the_entry_it_was_made_for() {
        for (epoch, position) in [(0, 1), (0, u32::MAX), (1, 1), ((1 << 24) - 1, u32::MAX)] {
            let inode = Inode::new(EpochId(epoch), EntryId(position));
            assert_eq!(inode.entry(), Some((EpochId(epoch), EntryId(position))));
        }
    }

    #[test]
    fn the_first_version_has_the_positions_plus_one() {
        assert_eq!(Inode::new(EpochId(0), EntryId(41)).as_raw(), 42);
    }

    #[test]
    fn every_version_has_the_same_root() {
        for epoch in [0, 1, 7] {
            assert_eq!(Inode::new(EpochId(epoch), EntryId(0)), Inode::ROOT);
        }
        assert_eq!(Inode::ROOT.entry(), None);
    }

    #[test]
    fn numbers_that_no_entry_has_are_refused() {
        // Zero, a position of more than 32 bits, and the unused root of epoch 1.
        for raw in [0, (1 << 32) + 1, (1 << 40) + 1] {
            assert_eq!(Inode::from_raw(raw).entry(), None, "{raw:#x}");
        }
    }
}
