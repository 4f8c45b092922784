//! Why a mount could not be made, changed or taken away.

use std::io;
use std::path::PathBuf;

/// Why a mount could not be made, changed or taken away. Each message names the next
/// step, where the user has one.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// There is no FUSE device.
    #[error(
        "/dev/fuse is missing or has no driver: load the module (modprobe fuse), or in a \
         container pass the device in (docker run --device /dev/fuse --cap-add SYS_ADMIN)"
    )]
    NoDevice {
        /// What opening the device gave.
        source: io::Error,
    },
    /// There is a FUSE device, but not for this process.
    #[error(
        "/dev/fuse may not be opened: run as root, open it to this user (chmod 666 /dev/fuse), \
         or in a container pass the device in (docker run --device /dev/fuse --cap-add SYS_ADMIN)"
    )]
    DeviceDenied {
        /// What opening the device gave.
        source: io::Error,
    },
    /// The process may not mount, and no helper may do it for the process.
    #[error(
        "not permitted to mount on {}: run as root, install fusermount3 (package fuse3), \
         or in a container add the capability SYS_ADMIN", mountpoint.display()
    )]
    NotPermitted {
        /// Where the mount should have been.
        mountpoint: PathBuf,
        /// What the kernel or the helper said.
        source: io::Error,
    },
    /// `allow_other` was asked for by a user who may not.
    #[error(
        "other users may not be let in: add the line user_allow_other to /etc/fuse.conf, \
         or mount without --allow-other"
    )]
    AllowOtherRefused {
        /// What the helper said.
        source: io::Error,
    },
    /// The mount point does not exist.
    #[error("mount point {} does not exist: create it (mkdir -p)", mountpoint.display())]
    NoMountPoint {
        /// Where the mount should have been.
        mountpoint: PathBuf,
    },
    /// The mount point is not a directory.
    #[error("mount point {} is not a directory", mountpoint.display())]
    NotADirectory {
        /// Where the mount should have been.
        mountpoint: PathBuf,
    },
    /// Something is mounted there already.
    #[error(
        "{} is a mount point already, of {source_name} ({fs_type}): unmount that first \
         (forebay umount, or umount), or choose another directory", mountpoint.display()
    )]
    AlreadyMounted {
        /// Where the mount should have been.
        mountpoint: PathBuf,
        /// What the mount table calls the source of the mount there.
        source_name: String,
        /// Its file system type.
        fs_type: String,
    },
    /// A mount is there whose process has gone.
    #[error(
        "{0} still has a mount whose process is gone: run forebay umount {0}", mountpoint.display()
    )]
    StaleMount {
        /// Where the mount should have been.
        mountpoint: PathBuf,
    },
    /// Nothing is mounted there.
    #[error("{} is not a mount point", mountpoint.display())]
    NotMounted {
        /// Where a mount was expected.
        mountpoint: PathBuf,
    },
    /// A clean unmount found the mount in use. Nothing has changed.
    #[error(
        "{0} is in use: close the files and leave the directories below it (fuser -vm {0} \
         lists who holds them), or detach it with force", mountpoint.display()
    )]
    InUse {
        /// The mount point.
        mountpoint: PathBuf,
    },
    /// The keeper did not take the descriptor of the mount.
    #[error("the mount on {} cannot be kept", mountpoint.display())]
    Keeper {
        /// The mount point.
        mountpoint: PathBuf,
        /// What the keeper said.
        source: forebay_keeper::Error,
    },
    /// A system call failed in a way that has no better description.
    #[error("cannot {action} {}", path.display())]
    System {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}
