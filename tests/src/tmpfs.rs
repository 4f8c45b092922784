//! A small file system of a test's own, to be filled to the last byte.

use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

use crate::require::require_root_and_fuse;

/// A tmpfs, unmounted when this is dropped.
#[derive(Debug)]
pub struct Tmpfs {
    path: PathBuf,
    options: CString,
}

impl Tmpfs {
    /// One of `bytes` at `path`, which is made if it is not there.
    ///
    /// # Panics
    /// Without root, or if it cannot be mounted.
    pub fn mount(path: &Path, bytes: u64) -> Self {
        require_root_and_fuse();
        fs::create_dir_all(path)
            .unwrap_or_else(|error| panic!("create {}: {error}", path.display()));
        let options = CString::new(format!("size={bytes}")).expect("digits");
        mount(
            "forebay-test",
            path,
            "tmpfs",
            MountFlags::empty(),
            &*options,
        )
        .unwrap_or_else(|error| panic!("mount a tmpfs at {}: {error}", path.display()));
        Self {
            path: path.to_owned(),
            options,
        }
    }

    /// Lets it be written to, or not.
    ///
    /// # Panics
    /// If a file in it is open for writing.
    pub fn set_read_only(&self, read_only: bool) {
        let flags = if read_only {
            MountFlags::RDONLY
        } else {
            MountFlags::empty()
        };
        mount_remount(&self.path, flags, &*self.options)
            .unwrap_or_else(|error| panic!("remount {}: {error}", self.path.display()));
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        if let Err(error) = unmount(&self.path, UnmountFlags::DETACH) {
            eprintln!("unmount {}: {error}", self.path.display());
        }
    }
}
