//! The tree of a dataset: what a request on an inode is answered with.
//!
//! Names, attributes and listings come from the manifest, bytes from the cache. Nothing
//! here knows how requests arrive; [`crate::fuse`] decodes them and sends the replies.
//!
//! An inode belongs to one version for ever. Only the root follows a refresh, so that a
//! path that is walked down from it stays within one version.

use std::sync::{Arc, OnceLock};

use forebay_core::cache::Cache;
use forebay_core::manifest::{Manifest, VersionId};

use crate::open_mode::{Chosen, OpenMode, OpenModeChoice};
use crate::options::MountOptions;
use crate::stats::FuseStats;

pub(crate) mod ahead;
pub(crate) mod attr;
pub(crate) mod control;
mod direct;
pub(crate) mod epoch;
pub(crate) mod errno;
pub(crate) mod error;
pub(crate) mod handle;
pub(crate) mod handle_log;
pub(crate) mod inode;
pub(crate) mod open;
pub(crate) mod read;
pub(crate) mod readdir;
mod recent;
pub(crate) mod refusal;
pub(crate) mod uses;
pub(crate) mod xattr;

use ahead::Ahead;
use attr::{Attributes, Ownership};
use control::Control;
use direct::DirectReads;
use epoch::{Change, Epochs};
use error::FsError;
use handle::Handles;
use handle_log::HandleLog;
use inode::Inode;
use recent::Recent;
use uses::Uses;

/// The longest name that Linux knows (NAME_MAX), in bytes.
pub(crate) const NAME_MAX: u32 = 255;

/// The unit in which `statfs` counts.
pub(crate) const STATFS_BLOCK: u32 = 4096;

/// A read-only tree over the versions of one dataset and the cache of their bytes.
#[derive(Debug)]
pub struct DatasetFs {
    epochs: Epochs,
    cache: Arc<dyn Cache>,
    ownership: Ownership,
    handles: Handles,
    uses: Uses,
    recent: Recent,
    direct: DirectReads,
    ahead: Ahead,
    control: Control,
    wanted_mode: OpenModeChoice,
    inherited_mode: Option<OpenMode>,
    chosen: OnceLock<Chosen>,
    stats: Arc<FuseStats>,
}

/// What `statfs` says of the tree: full, because nothing can be added to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// The bytes of all files, in units of [`STATFS_BLOCK`].
    pub(crate) blocks: u64,
    /// Files and directories.
    pub(crate) inodes: u64,
}

impl DatasetFs {
    /// A tree that shows `manifest`, with bytes from `cache`.
    ///
    /// The cache must know the manifest's version before the first file is opened.
    pub fn new(manifest: Arc<Manifest>, cache: Arc<dyn Cache>, options: &MountOptions) -> Self {
        Self::over(Epochs::new(manifest), cache, options)
    }

    /// A tree that goes on where another process has stopped: it shows `current`, and knows
    /// all of `versions`, in the order in which they came; `None` if `current` is not
    /// among them.
    ///
    /// The cache must know them all.
    pub fn resume(
        versions: Vec<Arc<Manifest>>,
        current: VersionId,
        cache: Arc<dyn Cache>,
        options: &MountOptions,
    ) -> Option<Self> {
        let epochs = Epochs::resume(versions, current)?;
        Some(Self::over(epochs, cache, options))
    }

    fn over(epochs: Epochs, cache: Arc<dyn Cache>, options: &MountOptions) -> Self {
        // More would push out what was fetched before it is read. A cache that does not
        // know its size has 0.
        let room = match cache.usage().capacity_bytes {
            0 => u64::MAX,
            capacity => capacity / 2,
        };
        Self {
            epochs,
            cache,
            ownership: Ownership::new(options),
            handles: Handles::new(None),
            uses: Uses::new(),
            recent: Recent::new(),
            direct: DirectReads::default(),
            ahead: Ahead::new(options.prefetch_budget.min(room)),
            control: Control::default(),
            wanted_mode: options.open_mode,
            inherited_mode: None,
            chosen: OnceLock::new(),
            stats: Arc::default(),
        }
    }

    /// Writes open files down in `log`, and takes over those that an earlier process has
    /// written there.
    #[must_use]
    pub fn with_handle_log(mut self, mut log: HandleLog) -> Self {
        let found = log.take_found();
        self.inherited_mode = found.mode;
        self.handles = Handles::new(Some(log));
        for (slot, record) in &found.records {
            self.handles.restore(*slot, record);
            self.uses.restore(record.inode, record.backing);
            self.stats.restored();
        }
        self
    }

    /// The version that new look-ups see.
    pub fn version(&self) -> VersionId {
        self.epochs.versions().1
    }

    /// Every version that some inode may belong to, in the order in which they came.
    pub fn versions(&self) -> Vec<VersionId> {
        self.epochs.versions().0
    }

    /// Counters of what was read through this tree.
    pub fn stats(&self) -> &Arc<FuseStats> {
        &self.stats
    }

    /// Shows `manifest` to new look-ups; `None` if it is what they see already. What has
    /// been looked up keeps its version.
    pub(crate) fn refresh(&self, manifest: Arc<Manifest>) -> Option<Change> {
        let change = self.epochs.advance(manifest)?;
        self.drop_old_plans();
        Some(change)
    }

    /// What to tell the kernel in case a process before this one ended in the middle of a
    /// refresh.
    pub(crate) fn changes_so_far(&self) -> impl Iterator<Item = Change> {
        let to = self.epochs.root();
        let others = self.epochs.other_roots().into_iter();
        others.map(move |from| Change {
            from,
            to: to.clone(),
        })
    }

    /// The entry `name` of the directory `parent`.
    ///
    /// # Errors
    /// [`FsError::NoSuchEntry`], [`FsError::NameTooLong`], [`FsError::UnknownInode`].
    pub(crate) fn lookup(&self, parent: Inode, name: &[u8]) -> Result<Attributes, FsError> {
        // The kernel leaves this to the file system, up to 1024 bytes.
        if name.len() > NAME_MAX as usize {
            return Err(FsError::NameTooLong);
        }
        if parent == Inode::CONTROL {
            return self
                .lookup_control(parent, name)
                .ok_or(FsError::NoSuchEntry);
        }
        let directory = parent;
        let parent = self.epochs.node(parent)?;
        let Some(entry) = parent.manifest.lookup(parent.entry, name) else {
            let control = self.lookup_control(directory, name);
            return control.ok_or(FsError::NoSuchEntry);
        };
        let child = parent.sibling(entry);
        let attr = child.manifest.attr(entry).ok_or(FsError::NoSuchEntry)?;
        Ok(self.ownership.attributes(child.inode(), attr))
    }

    /// The attributes of an inode.
    ///
    /// # Errors
    /// [`FsError::UnknownInode`].
    pub(crate) fn attributes(&self, inode: Inode) -> Result<Attributes, FsError> {
        if let Some(attributes) = self.control_attributes(inode) {
            return Ok(attributes);
        }
        let node = self.epochs.node(inode)?;
        let attr = node
            .manifest
            .attr(node.entry)
            .ok_or(FsError::UnknownInode { inode })?;
        Ok(self.ownership.attributes(inode, attr))
    }

    /// The size of the version that `inode` belongs to.
    ///
    /// # Errors
    /// [`FsError::UnknownInode`].
    pub(crate) fn size(&self, inode: Inode) -> Result<Size, FsError> {
        let inode = if inode.is_control() {
            Inode::ROOT
        } else {
            inode
        };
        let totals = self.epochs.node(inode)?.manifest.totals();
        Ok(Size {
            blocks: totals.bytes.div_ceil(STATFS_BLOCK.into()),
            inodes: totals.files + totals.directories,
        })
    }

    /// A path for a log line: lossily as text, `?` if the inode is unknown.
    pub(crate) fn path_for_log(&self, inode: Inode) -> String {
        match self.epochs.node(inode) {
            Ok(node) => node.manifest.path(node.entry).escape_ascii().to_string(),
            Err(_) => "?".to_owned(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
