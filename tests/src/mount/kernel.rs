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
pub fn is_mounted(path: &Path) -> bool {
    device(path).is_some()
}

/// Ends every FUSE connection of `path` and unmounts it: whoever waits for an answer gets
/// an error. Does nothing where nothing is mounted.
pub fn take_down(path: &Path) {
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
    use std::ffi::CString;
    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Duration;

    use rustix::mount::{MountFlags, mount};
    use rustix::thread::gettid;

    use super::*;
    use crate::require::require_root_and_fuse;
    use crate::scratch::Scratch;
    use crate::wait::wait_until;

    #[test]
    fn mounts_are_told_from_directories() {
        assert!(is_mounted(Path::new("/proc")));
        assert!(!is_mounted(Path::new("/proc/self")));
        assert!(device(Path::new("/proc")).unwrap().parse::<u32>().is_ok());
    }

    #[test]
    fn who_waits_for_a_silent_file_system_gets_an_error_when_it_is_taken_down() {
        require_root_and_fuse();
        let scratch = Scratch::new("kernel", 1);
        let point = scratch.dir("mnt");
        let device = File::options()
            .read(true)
            .write(true)
            .open("/dev/fuse")
            .unwrap();
        let fd = device.as_raw_fd();
        let options = CString::new(format!("fd={fd},rootmode=40000,user_id=0,group_id=0")).unwrap();
        mount("silent", &point, "fuse", MountFlags::empty(), &*options).unwrap();
        assert!(is_mounted(&point));
        let (thread_id, told) = channel();
        let waiting = thread::spawn({
            let point = point.clone();
            move || {
                thread_id.send(gettid().as_raw_nonzero()).unwrap();
                fs::metadata(point)
            }
        });
        let state = format!("/proc/self/task/{}/stat", told.recv().unwrap());
        let waits = || fs::read_to_string(&state).is_ok_and(|state| state.contains(") D "));
        assert!(wait_until(Duration::from_secs(10), waits));
        take_down(&point);
        assert!(!is_mounted(&point));
        assert!(wait_until(Duration::from_secs(10), || waiting.is_finished()));
        assert!(waiting.join().unwrap().is_err());
    }

    #[test]
    fn odd_characters_are_escaped_as_the_kernel_does() {
        assert_eq!(escaped(Path::new("/a b\\c\n")), "/a\\040b\\134c\\012");
    }
}
