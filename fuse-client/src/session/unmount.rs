//! Taking a mount away.

use std::io;
use std::path::Path;
use std::process::{Command, Output};

use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::error::MountError;
use super::helper::HELPER;

/// How a mount is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmount {
    /// Only if nobody uses it: no open file, no working directory below it.
    Clean,
    /// At once, in use or not. Reads that are waiting fail with EIO; files that are still
    /// open fail with ENOTCONN from then on.
    Detach,
}

/// Takes the mount at `mountpoint` away, whichever process serves it and even if none
/// does any more. The process is asked nothing, so that this never hangs on it.
///
/// A process that has the [`Mount`](super::Mount) in hand should use
/// [`Mount::unmount`](super::Mount::unmount).
///
/// # Errors
/// [`MountError::InUse`] (only from [`Unmount::Clean`]), [`MountError::NotMounted`],
/// [`MountError::NotPermitted`], [`MountError::System`].
pub fn unmount(mountpoint: &Path, how: Unmount) -> Result<(), MountError> {
    let flags = match how {
        Unmount::Clean => UnmountFlags::NOFOLLOW,
        // Force makes the kernel end the connection, so that nobody waits for a reply
        // that will not come; detach takes the place away although it is in use.
        Unmount::Detach => UnmountFlags::NOFOLLOW | UnmountFlags::FORCE | UnmountFlags::DETACH,
    };
    match rustix::mount::unmount(mountpoint, flags) {
        Ok(()) => Ok(()),
        Err(Errno::PERM) => ask_helper(mountpoint, how),
        Err(errno) => Err(explain(mountpoint, errno.into())),
    }
}

/// Only root unmounts; the helper does it for who has mounted.
fn ask_helper(mountpoint: &Path, how: Unmount) -> Result<(), MountError> {
    let mut command = Command::new(HELPER);
    command.arg("-u");
    if how == Unmount::Detach {
        command.arg("-z");
    }
    let refused = |source| MountError::NotPermitted {
        mountpoint: mountpoint.to_owned(),
        source,
    };
    let Output { status, stderr, .. } = command
        .arg("--")
        .arg(mountpoint)
        .output()
        .map_err(refused)?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&stderr).trim().to_owned();
    Err(match () {
        () if said.contains("busy") => MountError::InUse {
            mountpoint: mountpoint.to_owned(),
        },
        () if said.contains("not found") => MountError::NotMounted {
            mountpoint: mountpoint.to_owned(),
        },
        () => refused(io::Error::other(said)),
    })
}

fn explain(mountpoint: &Path, source: io::Error) -> MountError {
    let path = mountpoint.to_owned();
    match Errno::from_io_error(&source) {
        Some(Errno::BUSY) => MountError::InUse { mountpoint: path },
        Some(Errno::INVAL) => MountError::NotMounted { mountpoint: path },
        Some(Errno::NOENT) => MountError::NoMountPoint { mountpoint: path },
        _ => MountError::System {
            action: "unmount",
            path,
            source,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_directory_cannot_be_unmounted() {
        let dir = tempfile::tempdir().expect("a directory");
        for how in [Unmount::Clean, Unmount::Detach] {
            let error = unmount(dir.path(), how).expect_err("nothing is mounted");
            assert!(matches!(error, MountError::NotMounted { .. }), "{error}");
        }
    }

    #[test]
    fn a_missing_directory_is_said_to_be_missing() {
        let error = unmount(Path::new("/nonexistent/forebay"), Unmount::Clean);
        assert!(matches!(error, Err(MountError::NoMountPoint { .. })));
    }
}
