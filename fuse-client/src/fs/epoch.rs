//! The versions that a mount has served, and which of them is current.
//!
//! A refresh adds a version and never takes one away: an inode that a reader has looked
//! up keeps its meaning for as long as the mount lives. What an old version costs is
//! address space, because a manifest is a mapped file.

use std::sync::{Arc, PoisonError, RwLock};

use forebay_core::manifest::{EntryId, Manifest, VersionId};

use super::error::FsError;
use super::inode::{EpochId, Inode};

/// One entry of one version: what an inode number stands for.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// When the version came.
    pub(crate) epoch: EpochId,
    /// The version.
    pub(crate) manifest: Arc<Manifest>,
    /// The position in it.
    pub(crate) entry: EntryId,
}

impl Node {
    /// The inode number.
    pub(crate) fn inode(&self) -> Inode {
        Inode::new(self.epoch, self.entry)
    }

    /// Another entry of the same version.
    pub(crate) fn sibling(&self, entry: EntryId) -> Self {
        Self {
            epoch: self.epoch,
            manifest: Arc::clone(&self.manifest),
            entry,
        }
    }
}

/// The versions of one mount.
#[derive(Debug)]
pub(crate) struct Epochs {
    // Held for the time of an index look-up; written by refreshes only.
    state: RwLock<State>,
}

#[derive(Debug)]
struct State {
    versions: Vec<Arc<Manifest>>,
    current: usize,
}

/// What a change of version found.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// The root that was current.
    pub(crate) from: Node,
    /// The root that is current now.
    pub(crate) to: Node,
}

impl Epochs {
    /// Starts with one version.
    pub(crate) fn new(manifest: Arc<Manifest>) -> Self {
        Self {
            state: RwLock::new(State {
                versions: vec![manifest],
                current: 0,
            }),
        }
    }

    /// Goes on with versions that were served before, in the order in which they came;
    /// `None` if `current` is not among them.
    pub(crate) fn resume(versions: Vec<Arc<Manifest>>, current: VersionId) -> Option<Self> {
        let current = versions
            .iter()
            .position(|served| served.version() == current)?;
        Some(Self {
            state: RwLock::new(State { versions, current }),
        })
    }

    /// The roots of all versions but the current one.
    pub(crate) fn other_roots(&self) -> Vec<Node> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let others = (0..state.versions.len()).filter(|index| *index != state.current);
        others.filter_map(|index| state.root(index)).collect()
    }

    /// Makes `manifest` the current version. A version that was served before gets its
    /// old epoch, and with it its old inode numbers. `None` if it is current already.
    pub(crate) fn advance(&self, manifest: Arc<Manifest>) -> Option<Change> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let from = state.root(state.current)?;
        let version = manifest.version();
        let known = state
            .versions
            .iter()
            .position(|served| served.version() == version);
        let next = known.unwrap_or_else(|| {
            state.versions.push(manifest);
            state.versions.len() - 1
        });
        if next == state.current {
            return None;
        }
        state.current = next;
        Some(Change {
            from,
            to: state.root(next)?,
        })
    }

    /// The root of the current version.
    pub(crate) fn root(&self) -> Node {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state
            .root(state.current)
            .expect("the current version is among the versions")
    }

    /// The root of the version that came as number `epoch`.
    pub(crate) fn root_of(&self, epoch: EpochId) -> Option<Node> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.root(usize::try_from(epoch.0).ok()?)
    }

    /// The entry that `inode` stands for.
    ///
    /// # Errors
    /// [`FsError::UnknownInode`] if no version has it.
    pub(crate) fn node(&self, inode: Inode) -> Result<Node, FsError> {
        if inode == Inode::ROOT {
            return Ok(self.root());
        }
        let found = inode.entry().and_then(|(epoch, entry)| {
            let root = self.root_of(epoch)?;
            (entry.0 < root.manifest.len()).then(|| root.sibling(entry))
        });
        found.ok_or(FsError::UnknownInode { inode })
    }

    /// Whether there has been one version only, so that nothing of another can lie in
    /// the kernel's caches.
    pub(crate) fn is_first(&self) -> bool {
        self.state
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .versions
            .len()
            == 1
    }

    /// The version that came first.
    pub(crate) fn first(&self) -> Arc<Manifest> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&state.versions[0])
    }

    /// The versions in the order in which they came, and the current one.
    pub(crate) fn versions(&self) -> (Vec<VersionId>, VersionId) {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let versions: Vec<_> = state
            .versions
            .iter()
            .map(|served| served.version())
            .collect();
        let current = versions[state.current];
        (versions, current)
    }
}

impl State {
    fn root(&self, index: usize) -> Option<Node> {
        let manifest = Arc::clone(self.versions.get(index)?);
        let epoch = EpochId(u32::try_from(index).ok()?);
        Some(Node {
            epoch,
            manifest,
            entry: EntryId(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_cache::Fixture;

    #[test]
    fn a_refresh_moves_the_root_and_leaves_known_inodes_alone() {
        let fixture = Fixture::new();
        let epochs = Epochs::new(fixture.version(&[("a", b"one")]));
        let old = epochs
            .root()
            .manifest
            .lookup(EntryId(0), b"a")
            .map(|entry| Inode::new(EpochId(0), entry));
        let old = old.expect("the file is there");
        let change = epochs
            .advance(fixture.version(&[("a", b"two"), ("b", b"")]))
            .expect("new");
        assert_eq!(
            (change.from.epoch, change.to.epoch),
            (EpochId(0), EpochId(1))
        );
        assert_eq!(epochs.root().epoch, EpochId(1));
        assert_eq!(epochs.node(old).expect("pinned").epoch, EpochId(0));
    }

    #[test]
    fn the_current_version_again_is_no_change() {
        let fixture = Fixture::new();
        let epochs = Epochs::new(fixture.version(&[("a", b"one")]));
        assert!(epochs.advance(fixture.version(&[("a", b"one")])).is_none());
        assert!(epochs.is_first());
    }

    #[test]
    fn a_version_that_returns_gets_its_inode_numbers_back() {
        let fixture = Fixture::new();
        let epochs = Epochs::new(fixture.version(&[("a", b"one")]));
        epochs
            .advance(fixture.version(&[("a", b"two")]))
            .expect("new");
        let change = epochs
            .advance(fixture.version(&[("a", b"one")]))
            .expect("back");
        assert_eq!(change.to.epoch, EpochId(0));
        assert_eq!(epochs.versions().0.len(), 2);
    }

    #[test]
    fn versions_that_are_resumed_give_every_inode_its_old_meaning() {
        let fixture = Fixture::new();
        let versions = [("a", "one"), ("b", "two")];
        let versions =
            versions.map(|(name, content)| fixture.version(&[(name, content.as_bytes())]));
        let epochs = Epochs::new(Arc::clone(&versions[0]));
        epochs.advance(Arc::clone(&versions[1])).expect("new");
        epochs.advance(Arc::clone(&versions[0])).expect("back");
        let (served, current) = epochs.versions();
        assert_eq!(current, versions[0].version());
        let resumed = Epochs::resume(versions.to_vec(), current).expect("among them");
        assert_eq!(resumed.versions(), (served, current));
        assert_eq!(resumed.root().epoch, EpochId(0));
        assert_eq!(resumed.other_roots()[0].epoch, EpochId(1));
        assert!(Epochs::resume(Vec::new(), current).is_none());
    }

    #[test]
    fn inodes_of_no_version_are_stale() {
        let fixture = Fixture::new();
        let epochs = Epochs::new(fixture.version(&[("a", b"one")]));
        for (epoch, entry) in [(0, 9), (1, 1)] {
            let inode = Inode::new(EpochId(epoch), EntryId(entry));
            assert!(matches!(
                epochs.node(inode),
                Err(FsError::UnknownInode { .. })
            ));
        }
    }
}
