//! Opening and closing files.

use super::DatasetFs;
use super::error::FsError;
use super::handle::{How, OpenFile};
use super::inode::Inode;
use super::uses::BackingRegistry;
use crate::open_mode::{Chosen, Offer, OpenMode};

/// The answer to an `open`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) handle: u64,
    pub(crate) how: How,
}

impl DatasetFs {
    /// Decides how files are opened, once for the life of the mount, now that it is
    /// known what the kernel offers.
    pub(crate) fn choose_open_mode(&self, offer: Offer) -> &Chosen {
        self.chosen.get_or_init(|| {
            let chosen = match self.inherited_mode {
                Some(mode) => Chosen {
                    mode,
                    reason: "chosen when the mount was made".to_owned(),
                },
                None => self.wanted_mode.decide(&self.epochs.first(), offer),
            };
            if let Some(log) = self.handles.log()
                && let Err(error) = log.set_mode(chosen.mode)
            {
                tracing::warn!(%error, "open mode not written down for a successor");
            }
            chosen
        })
    }

    /// How files are opened, and why; `None` before the mount is made.
    pub fn open_mode_chosen(&self) -> Option<&Chosen> {
        self.chosen.get()
    }

    pub(super) fn open_mode(&self) -> OpenMode {
        self.chosen
            .get()
            .map_or(OpenMode::Plain, |chosen| chosen.mode)
    }

    /// Whether the kernel opens files without asking.
    pub(crate) fn never_asked_at_open(&self) -> bool {
        self.open_mode() == OpenMode::NoOpen
    }

    /// Says where the kernel takes backing files.
    pub(crate) fn attach_backings(&self, registry: Box<dyn BackingRegistry>) {
        self.uses.attach(registry);
    }

    /// Opens a file.
    ///
    /// # Errors
    /// [`FsError::IsADirectory`], [`FsError::UnknownInode`], [`FsError::HandleLog`], and
    /// what the cache says.
    pub(crate) async fn open(&self, inode: Inode) -> Result<Opened, FsError> {
        let lease = self.lease(inode).await?;
        self.ahead.touched(inode);
        let is_passed_through = self.open_mode() == OpenMode::Passthrough && !self.uses.refused();
        let whole = match is_passed_through {
            true => self.cache.whole(&lease).await,
            false => None,
        };
        let how = match self.uses.enter(inode, whole.as_deref()) {
            Some(backing) => How::Passthrough(backing),
            None if is_passed_through && whole.is_none() && self.direct.suit(lease.size) => {
                How::Direct
            }
            None => How::Pages,
        };
        match self.handles.insert(OpenFile::new(inode, lease, how)) {
            Ok(handle) => {
                self.stats.opened(how);
                Ok(Opened { handle, how })
            }
            Err(source) => {
                self.uses.leave(inode);
                Err(FsError::HandleLog { source })
            }
        }
    }

    /// Forgets an open file. A handle that is unknown is no error: another process may
    /// have given it out.
    pub(crate) fn release(&self, inode: Inode, handle: u64) {
        if self.handles.remove(handle, inode) {
            self.uses.leave(inode);
            self.stats.released();
        }
    }

    /// Takes leases on the files that an earlier process opened. Until then they are
    /// read all the same, each read under a lease of its own.
    pub async fn restore_leases(&self) {
        for (handle, inode) in self.handles.without_lease() {
            match self.lease(inode).await {
                Ok(lease) => {
                    let file = OpenFile::new(inode, lease, How::Pages);
                    self.handles.supply(handle, file);
                }
                Err(error) => tracing::warn!(%inode, %error, "no lease on a file that is open"),
            }
        }
    }
}
