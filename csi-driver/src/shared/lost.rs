//! Binds of a mount whose processes have all gone. They are to show the next one.
//!
//! Which binds these are is in the table of mounts as long as the dead mount is: so it is
//! set aside, beside the place of the next one, until that is served. A start that fails,
//! or a driver that dies meanwhile, loses none of them.

use std::path::PathBuf;

use forebay_core::mountinfo::MountEntry;

use super::{SharedMounts, View, detach, make, mounted, remove, system};
use crate::bind::{Restrictions, marked, show_also, unbind};
use crate::error::{Phase, Result};
use crate::spec::MountKey;

/// How the name of a dead mount ends.
const ENDING: &str = ".lost";

/// The key that is the name of a mount, dead or not.
pub(super) fn key(name: &str) -> Option<MountKey> {
    name.strip_suffix(ENDING).unwrap_or(name).parse().ok()
}

impl SharedMounts {
    pub(super) fn lost_path(&self, key: &MountKey) -> PathBuf {
        self.dir.join(format!("{key}{ENDING}"))
    }

    /// Keeps the dead mount if binds show it. Under the lock of its key.
    pub(super) fn set_aside(&self, key: &MountKey) {
        let kept = match self.is_bound(key) {
            Ok(true) => self.keep(key),
            other => other.map(drop),
        };
        if let Err(error) = kept {
            tracing::error!(mount = %key, %error, "binds of a dead mount will not be repaired");
        }
    }

    fn is_bound(&self, key: &MountKey) -> Result<bool> {
        let is_there = mounted(&self.path(key))?.is_some();
        Ok(is_there && self.users(key)?.iter().any(|user| marked(user).is_none()))
    }

    fn keep(&self, key: &MountKey) -> Result<()> {
        let (dir, lost) = (self.path(key), self.lost_path(key));
        make(&lost)
            .and_then(|()| show_also(&dir, &lost))
            .map_err(|error| system(Phase::Mount, "set aside", &dir, error))
    }

    /// Shows the mount where one before it was, if there are such places, and forgets
    /// that one. Under the lock of its key.
    pub(super) async fn show_lost_again(&self, key: &MountKey) -> Result<()> {
        if mounted(&self.lost_path(key))?.is_none() {
            return Ok(());
        }
        let served = mounted(&self.path(key))?.map(|served| served.device);
        for user in self.users(key)? {
            if marked(&user).is_none() && Some(&user.device) != served.as_ref() {
                self.bind_again(key, &user).await;
            }
        }
        self.forget_lost(key)
    }

    pub(super) fn forget_lost(&self, key: &MountKey) -> Result<()> {
        let lost = self.lost_path(key);
        detach(&lost)
            .and_then(|()| remove(&lost))
            .map_err(|error| system(Phase::Mount, "unmount", &lost, error))
    }

    /// Shows the mount where `lost` was, unless that has been taken away meanwhile.
    /// Containers that run see it only if they have asked for changes of the host's mounts;
    /// those that start from now on do.
    async fn bind_again(&self, key: &MountKey, lost: &MountEntry) {
        let Some(place) = self.root.listed(&lost.mountpoint) else {
            return;
        };
        let _held = self.lock_place(&lost.mountpoint).await;
        match mounted(&lost.mountpoint) {
            Ok(Some(shown)) if shown == *lost => {}
            _ => return,
        }
        let view = View {
            sub_path: lost.root.strip_prefix("/").unwrap_or(&lost.root).to_owned(),
            place: place.clone(),
            restrictions: Restrictions::default(),
            phase: Phase::Mount,
        };
        let again = match unbind(&place) {
            Ok(()) => self.bind(key, view).await,
            Err(error) => Err(system(Phase::Mount, "unmount", &place.path(), error)),
        };
        let place = place.path();
        match again {
            Ok(()) => tracing::info!(mount = %key, place = %place.display(), "shown again"),
            Err(error) => {
                tracing::error!(mount = %key, place = %place.display(), %error, "not shown again")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_mount_is_of_the_key_that_its_name_begins_with() {
        let digits = "0123456789abcdef0123456789abcdef";
        let expected = digits.parse().ok();
        assert_eq!(key(digits), expected);
        assert_eq!(key(&format!("{digits}{ENDING}")), expected);
        for wrong in [ENDING, "", "x.lost", &format!("{digits}.lost.lost")] {
            assert_eq!(key(wrong), None, "{wrong}");
        }
    }
}
