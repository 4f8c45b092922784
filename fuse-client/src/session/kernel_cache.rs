//! Telling the kernel that the root has changed.
//!
//! The kernel keeps names, attributes and listings without limit, because a version never
//! changes. What a refresh makes wrong is only the root: which entries it has, and to
//! which inodes they lead. Below it, every inode belongs to one version for ever.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use forebay_core::manifest::EntryId;
use fuser::{INodeNo, Notifier, Session};
use tracing::debug;

use super::notification::{self, Notification};
use crate::fs::epoch::{Change, Node};
use crate::fuse::Server;

/// A name that may exist or not.
const ANY_NAME: &str = ".forebay";

/// The caches that the kernel keeps for one mount.
#[derive(Debug)]
pub(super) struct KernelCache {
    notifier: Notifier,
    device: OwnedFd,
}

impl KernelCache {
    pub(super) fn new(session: &Session<Server>) -> io::Result<Self> {
        let device = session.as_fd().try_clone_to_owned()?;
        Ok(Self {
            notifier: session.notifier(),
            device,
        })
    }

    /// Makes the kernel ask again for the root and for what its names lead to.
    ///
    /// The tree must show the new version already: what is asked from then on is answered
    /// rightly, and what was asked before is waited for and then forgotten.
    pub(super) fn switch_root(&self, change: &Change) -> io::Result<()> {
        self.await_lookups()?;
        self.forget_root()?;
        match self.forget_all_names() {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                debug!("kernel before 6.16: names of the root are forgotten one by one");
                self.forget_root_names(change)
            }
            other => other,
        }
    }

    /// Waits until the kernel has taken in all answers to look-ups and listings of the
    /// root that were under way: forgetting any name locks the root against them.
    fn await_lookups(&self) -> io::Result<()> {
        self.notifier
            .inval_entry(INodeNo::ROOT, OsStr::new(ANY_NAME))
    }

    /// The root's attributes and the listing that the kernel keeps of it.
    pub(super) fn forget_root(&self) -> io::Result<()> {
        self.notifier.inval_inode(INodeNo::ROOT, 0, 0)
    }

    /// All names at once, by raising the epoch that the kernel compares them with.
    fn forget_all_names(&self) -> io::Result<()> {
        Ok(notification::send(
            &self.device,
            Notification::IncreaseEpoch,
        )?)
    }

    /// Each name that the root had, so that it leads to the new version, and each that it
    /// has now, because the kernel also remembers names that did not exist.
    pub(super) fn forget_root_names(&self, change: &Change) -> io::Result<()> {
        for root in [&change.from, &change.to] {
            for entry in children(root) {
                let name = OsStr::from_bytes(root.manifest.name(entry));
                self.notifier.inval_entry(INodeNo::ROOT, name)?;
            }
        }
        Ok(())
    }
}

fn children(root: &Node) -> impl Iterator<Item = EntryId> {
    root.manifest
        .children(root.entry)
        .into_iter()
        .flatten()
        .map(EntryId)
}
