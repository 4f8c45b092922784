//! Binding a part of a mount to a place, and taking it away.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use forebay_core::mountinfo::{MountEntry, mount_at};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount_remount, move_mount,
    open_tree, unmount,
};

use crate::place::Place;
use crate::spec::MountKey;

/// What the table of mounts calls the source of a mark, before the key.
const MARK: &str = "forebay-staged:";

/// Of more mounts on one place than this, something else makes new ones as we take them
/// away.
const MOST_STACKED: usize = 64;

/// What is not done through the bind, whatever the mount itself allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Restrictions {
    /// Whether programs must not be run from it.
    pub(crate) no_exec: bool,
}

/// Shows the directory `sub_path` of the mount at `mount` at `place`, read-only. Asks who
/// serves the mount only if there is a sub-path.
pub(crate) fn bind(
    mount: &Path,
    sub_path: &Path,
    place: &Place,
    with: Restrictions,
) -> io::Result<()> {
    let tree = clone(&open(mount, sub_path)?)?;
    attach(&tree, place)?;
    let mut flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    if with.no_exec {
        flags |= MountFlags::NOEXEC;
    }
    // The file system is read-only from its making on; this says so of the bind as well.
    mount_remount(format!("/proc/self/fd/{}", tree.as_raw_fd()), flags, "")?;
    Ok(())
}

/// Shows the mount at `mount` at the directory `dir`, which is ours, as well. Asks nobody
/// who serves it.
pub(crate) fn show_also(mount: &Path, dir: &Path) -> io::Result<()> {
    attach_to(
        &clone(&open(mount, Path::new(""))?)?,
        &open(dir, Path::new(""))?,
    )
}

/// A mount of its own, nowhere yet, of what `source` is a directory of.
fn clone(source: &OwnedFd) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(open_tree(source, "", flags)?)
}

/// Attaches a mount that is nowhere yet.
fn attach(tree: &OwnedFd, place: &Place) -> io::Result<()> {
    attach_to(tree, &place.make()?)
}

fn attach_to(tree: &OwnedFd, target: &OwnedFd) -> io::Result<()> {
    // By descriptors: between the check of a path and its use, the path may change.
    let by_descriptors =
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(tree, "", target, "", by_descriptors)?)
}

/// Marks `place` as the staging path of a volume that shows the mount `key`: with an empty
/// tmpfs whose source says so.
///
/// Not with a bind of the mount: the kubelet unstages a volume only when nothing else in
/// its table of mounts shows the same directory of the same device.
pub(crate) fn mark(key: &MountKey, place: &Place) -> io::Result<()> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (name, value) in [
        ("source", &*format!("{MARK}{key}")),
        ("size", "4k"),
        ("mode", "0500"),
    ] {
        fsconfig_set_string(&context, name, value)?;
    }
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    attach(
        &fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?,
        place,
    )
}

/// The key that a mark names; `None` for every other mount.
pub(crate) fn marked(entry: &MountEntry) -> Option<MountKey> {
    let key = entry
        .source
        .strip_prefix(MARK)
        .filter(|_| entry.fs_type == "tmpfs")?;
    key.parse().ok()
}

fn open(mount: &Path, sub_path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, mount, flags | OFlags::NOFOLLOW, Mode::empty())?;
    if sub_path.as_os_str().is_empty() {
        return Ok(root);
    }
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    Ok(openat2(&root, sub_path, flags, Mode::empty(), inside)?)
}

/// Takes away whatever is mounted at `place`, in use or not, served or not.
pub(crate) fn unbind(place: &Place) -> io::Result<()> {
    for _ in 0..MOST_STACKED {
        if mount_at(&place.path())?.is_none() {
            return Ok(());
        }
        let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
        place.through_parent(|path| Ok(unmount(path, flags)?))?;
    }
    Err(io::Error::other("something mounts there again and again"))
}
