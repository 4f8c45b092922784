//! What the kernel says about a mount, and how it is made to let go of it.
//!
//! Nothing here looks at the mount point itself: a look is a request to the file system,
//! and would wait for one that does not answer.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::mount::{UnmountFlags, unmount};

/// More than ever lie on top of each other.
const LAYERS: usize = 16;

/// Whether something is mounted at `path`.
pub(super) fn is_mounted(path: &Path) -> bool {
    device(path).is_some()
}

/// Ends every FUSE connection of `path` and unmounts it: whoever waits for an answer gets
/// an error. Does nothing where nothing is mounted.
pub(super) fn take_down(path: &Path) {
    for _ in 0..LAYERS {
        let Some(device) = device(path) else { return };
        // There only where fusectl is mounted.
        let _ = fs::write(format!("/sys/fs/fuse/connections/{device}/abort"), "1");
        // FORCE makes the kernel answer all that waits; DETACH hides the mount at once
        // and removes it when its last user is gone.
        let flags = UnmountFlags::FORCE | UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
        if let Err(error) = unmount(path, flags) {
            eprintln!("unmount {}: {error}", path.display());
        }
    }
}

/// The minor number of the device on top at `path`, by which FUSE names its connections.
fn device(path: &Path) -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let point = escaped(path);
    // id, parent, device, root, mount point, … (man 5 proc)
    let on_top = mounts
        .lines()
        .rev()
        .find(|line| line.split(' ').nth(4) == Some(&*point))?;
    let device = on_top.split(' ').nth(2)?;
    Some(device.split_once(':')?.1.to_owned())
}

/// As the kernel writes a path there: space, tab, line feed and backslash in octal.
fn escaped(path: &Path) -> String {
    let mut escaped = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => escaped.extend(format!("\\{byte:03o}").into_bytes()),
            byte => escaped.push(*byte),
        }
    }
    String::from_utf8_lossy(&escaped).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_told_from_directories() {
        assert!(is_mounted(Path::new("/proc")));
        assert!(!is_mounted(Path::new("/proc/self")));
        assert!(device(Path::new("/proc")).unwrap().parse::<u32>().is_ok());
    }

    #[test]
    fn odd_characters_are_escaped_as_the_kernel_does() {
        assert_eq!(escaped(Path::new("/a b\\c\n")), "/a\\040b\\134c\\012");
    }
}
