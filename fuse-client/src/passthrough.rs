//! Backing files: what the kernel reads for a reader without asking.
//!
//! fuser ties the life of a backing file to the process that registered it. Here it
//! belongs to an open file, which may outlive the process, so the numbers are handled
//! as such.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use fuser::BackingId;
use rustix::ioctl::{Setter, opcode};
use tracing::warn;

use crate::fs::uses::{BackingNumber, BackingRegistry};

/// FUSE_DEV_IOC_BACKING_CLOSE (include/uapi/linux/fuse.h): _IOW(229, 2, u32).
const BACKING_CLOSE: rustix::ioctl::Opcode = opcode::write::<u32>(229, 2);

/// The connection to the kernel, as the place where backing files are registered.
#[derive(Debug)]
pub(crate) struct Device(OwnedFd);

impl Device {
    pub(crate) fn new(device: OwnedFd) -> Self {
        Self(device)
    }
}

impl BackingRegistry for Device {
    fn register(&self, file: &File) -> io::Result<BackingNumber> {
        BackingId::create_raw(&self.0, file).map(BackingNumber)
    }

    fn close(&self, number: BackingNumber) {
        #[expect(unsafe_code, reason = "an ioctl that no library wraps")]
        // SAFETY: the kernel defines BACKING_CLOSE as one that reads a u32.
        let closed = unsafe {
            let request = Setter::<BACKING_CLOSE, u32>::new(number.0);
            rustix::ioctl::ioctl(&self.0, request)
        };
        // ENOENT and the like: the connection has ended, and everything with it.
        if let Err(error) = closed {
            warn!(%error, number = number.0, "backing file stays open in the kernel");
        }
    }
}
