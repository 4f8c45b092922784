//! What can be known to go wrong before the kernel is asked to mount.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::error::MountError;
use super::helper::HELPER;
use super::mountinfo::{MountEntry, mount_at};

pub(super) const DEVICE: &str = "/dev/fuse";

/// How long a mount that is in the way may take to show that it is alive.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

/// Checks what a mount needs, and returns the mount point without links.
///
/// [`Mount::start`](super::Mount::start) does so itself; this is for who has long work to
/// do before.
///
/// # Errors
/// Any [`MountError`] that does not take a mount(2) to find.
pub fn check(mountpoint: &Path) -> Result<PathBuf, MountError> {
    let path = std::path::absolute(mountpoint).map_err(|source| system(mountpoint, source))?;
    // First by the name alone: following it could mean to wait for a dead mount.
    refuse_mounted(&path)?;
    let path = path
        .canonicalize()
        .map_err(|source| unreachable_mountpoint(&path, source))?;
    refuse_mounted(&path)?;
    let metadata = fs::metadata(&path).map_err(|source| unreachable_mountpoint(&path, source))?;
    if !metadata.is_dir() {
        return Err(MountError::NotADirectory { mountpoint: path });
    }
    check_privilege(&path)?;
    check_device()?;
    Ok(path)
}

/// Gives an error of the mount itself the name of what the user can do about it.
pub(super) fn explain(mountpoint: &Path, source: io::Error) -> MountError {
    let said = source.to_string();
    let mountpoint = mountpoint.to_owned();
    let refused = matches!(
        source.kind(),
        // Not found is the helper: the kernel refused, and there is none to ask instead.
        io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound
    );
    if said.contains("user_allow_other") {
        MountError::AllowOtherRefused { source }
    } else if refused || said.contains("not permitted") {
        MountError::NotPermitted { mountpoint, source }
    } else {
        MountError::System {
            action: "mount on",
            path: mountpoint,
            source,
        }
    }
}

fn refuse_mounted(path: &Path) -> Result<(), MountError> {
    let Some(entry) = mount_at(path).map_err(|source| system(path, source))? else {
        return Ok(());
    };
    let mountpoint = path.to_owned();
    if is_stale(&entry) {
        return Err(MountError::StaleMount { mountpoint });
    }
    let MountEntry {
        source: source_name,
        fs_type,
        ..
    } = entry;
    Err(MountError::AlreadyMounted {
        mountpoint,
        source_name,
        fs_type,
    })
}

/// Whether the process behind a FUSE mount has gone. One that does not answer in time
/// counts as alive: its mount is in the way, but it is not left over.
pub(super) fn is_stale(entry: &MountEntry) -> bool {
    if !entry.is_fuse() {
        return false;
    }
    let (answer, answered) = mpsc::channel();
    let path = entry.mountpoint.clone();
    let asking = thread::Builder::new()
        .name("forebay-probe".to_owned())
        .spawn(move || {
            // Nobody listens any more if the answer comes late.
            let _ = answer.send(fs::read_dir(path).err().map(|error| error.kind()));
        });
    asking.is_ok() && answered.recv_timeout(SIGN_OF_LIFE) == Ok(Some(io::ErrorKind::NotConnected))
}

fn unreachable_mountpoint(path: &Path, source: io::Error) -> MountError {
    let mountpoint = path.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound => MountError::NoMountPoint { mountpoint },
        io::ErrorKind::NotADirectory => MountError::NotADirectory { mountpoint },
        io::ErrorKind::NotConnected => MountError::StaleMount { mountpoint },
        _ => system(path, source),
    }
}

fn system(path: &Path, source: io::Error) -> MountError {
    MountError::System {
        action: "mount on",
        path: path.to_owned(),
        source,
    }
}

/// The helper opens the device with the rights of its user, too.
fn check_device() -> Result<(), MountError> {
    let opened = OpenOptions::new().read(true).write(true).open(DEVICE);
    opened.map(drop).map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied => MountError::DeviceDenied { source },
        _ => MountError::NoDevice { source },
    })
}

fn check_privilege(mountpoint: &Path) -> Result<(), MountError> {
    if rustix::process::geteuid().is_root() || helper_exists() {
        return Ok(());
    }
    let said = format!("{HELPER} is not in PATH");
    let source = io::Error::new(io::ErrorKind::NotFound, said);
    Err(MountError::NotPermitted {
        mountpoint: mountpoint.to_owned(),
        source,
    })
}

fn helper_exists() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // fuser looks in these two as well.
    let dirs = std::env::split_paths(&path).chain(["/bin".into(), "/sbin".into()]);
    dirs.map(|dir| dir.join(HELPER))
        .any(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_mount_point_and_a_file_are_told_apart() {
        let dir = tempfile::tempdir().expect("a directory");
        let missing = dir.path().join("missing");
        assert!(matches!(
            check(&missing),
            Err(MountError::NoMountPoint { .. })
        ));
        let file = dir.path().join("file");
        fs::write(&file, b"").expect("written");
        assert!(matches!(
            check(&file),
            Err(MountError::NotADirectory { .. })
        ));
        assert!(matches!(
            check(&file.join("x")),
            Err(MountError::NotADirectory { .. })
        ));
    }

    #[test]
    fn a_mount_point_of_something_else_is_refused_by_name() {
        let error = check(Path::new("/proc")).expect_err("mounted everywhere");
        assert!(error.to_string().contains("(proc)"), "{error}");
    }

    #[test]
    fn what_the_helper_says_is_explained() {
        let explained = |kind, said: &str| explain(Path::new("/mnt"), io::Error::new(kind, said));
        assert!(matches!(
            explained(
                io::ErrorKind::PermissionDenied,
                "option allow_other only allowed if 'user_allow_other' is set in /etc/fuse.conf"
            ),
            MountError::AllowOtherRefused { .. }
        ));
        assert!(matches!(
            explained(
                io::ErrorKind::Other,
                "mount failed: Operation not permitted"
            ),
            MountError::NotPermitted { .. }
        ));
        assert!(matches!(
            explained(io::ErrorKind::Other, "Error calling mount(): EINVAL"),
            MountError::System { .. }
        ));
    }
}
