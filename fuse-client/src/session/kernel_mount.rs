//! Making the mount: a descriptor of the device, and the kernel told to ask it.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::MountFlags;
use rustix::process::{getgid, getuid};

use super::{helper, preflight};
use crate::options::MountOptions;

/// What is mounted on `mountpoint` from now on asks the device that is returned. The
/// first request, INIT, is under way.
pub(super) fn mount(mountpoint: &Path, options: &MountOptions) -> io::Result<OwnedFd> {
    let device = File::options()
        .read(true)
        .write(true)
        .open(preflight::DEVICE)?;
    let data = format!(
        "fd={},rootmode={:o},user_id={},group_id={},{}",
        device.as_raw_fd(),
        fs::metadata(mountpoint)?.mode(),
        getuid().as_raw(),
        getgid().as_raw(),
        kernel_options(options)
    );
    let data = CString::new(data).map_err(io::Error::other)?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOATIME;
    let source = source_name(&options.dataset);
    match rustix::mount::mount(&*source, mountpoint, "fuse", flags, &*data) {
        Ok(()) => Ok(device.into()),
        Err(Errno::PERM) => {
            let options = kernel_options(options);
            let options = format!("ro,nosuid,nodev,noatime,{options},fsname={source}");
            helper::mount(mountpoint, &options)
        }
        Err(errno) => Err(errno.into()),
    }
}

fn kernel_options(options: &MountOptions) -> String {
    // The kernel checks the permission bits, for everybody and without asking. The subtype
    // follows the file system type in the mount table: `fuse.forebay`.
    let mut words = "default_permissions,subtype=forebay".to_owned();
    if options.allow_other {
        words.push_str(",allow_other");
    }
    words
}

/// The source in the mount table. The helper splits its options at commas, and takes
/// backslashes for escapes.
fn source_name(dataset: &str) -> String {
    let plain = |c: char| {
        if c == ',' || c == '\\' || c.is_control() {
            '_'
        } else {
            c
        }
    };
    format!("forebay:{}", dataset.chars().map(plain).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dataset_name_cannot_add_mount_options() {
        assert_eq!(source_name("a,dev\\\n b"), "forebay:a_dev__ b");
    }
}
