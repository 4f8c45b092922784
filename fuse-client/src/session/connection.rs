//! A connection to the kernel: made with a mount, or taken over with one that lives.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use forebay_keeper::Kept;
use fuser::Session;
use rustix::ioctl::{Opcode, Setter, ioctl, opcode};
use tracing::warn;

use super::handshake::{self, Handshake};
use super::notification::{self, Notification};
use super::preflight;
use crate::fuse::Server;
use crate::options::MountOptions;

/// The device of a mount, and what was agreed over it.
#[derive(Debug)]
pub(super) struct Connection {
    device: OwnedFd,
    handshake: Handshake,
}

impl Connection {
    /// Begins a conversation with the kernel over `device`, which has just been mounted.
    pub(super) fn begin(
        device: OwnedFd,
        server: Server,
        options: &MountOptions,
    ) -> io::Result<(Self, Session<Server>)> {
        let mut offered = Handshake::receive(&device)?;
        if !options.resend {
            offered = offered.without_resend();
        }
        let (session, answer) = offered.perform(server, options)?;
        let connection = Self {
            handshake: offered.agreed(&answer),
            device,
        };
        connection.give_to(&session)?;
        answer.send(&connection.device)?;
        Ok((connection, session))
    }

    /// Goes on with a conversation that another process has begun and left.
    ///
    /// What was asked and not answered is asked again before anything else.
    pub(super) fn resume(
        kept: Kept,
        server: Server,
        options: &MountOptions,
    ) -> io::Result<(Self, Session<Server>)> {
        let handshake = Handshake::of_request(&kept.handshake)?;
        let (session, _) = handshake.perform(server, options)?;
        let connection = Self {
            device: kept.device,
            handshake,
        };
        connection.give_to(&session)?;
        if connection.handshake.can_resend() {
            // Before the first request is read: what this process has read is not repeated.
            notification::send(&connection.device, Notification::Resend)?;
        } else {
            let protocol = connection.handshake.version();
            warn!(
                %protocol,
                "this kernel cannot repeat requests (Linux 6.9 can): those that the process \
                 before was answering have failed with ECONNABORTED"
            );
        }
        Ok((connection, session))
    }

    /// The descriptor that keeps the connection alive.
    pub(super) fn device(&self) -> &OwnedFd {
        &self.device
    }

    /// What the next process must know of the handshake.
    pub(super) fn record(&self) -> &[u8] {
        self.handshake.as_bytes()
    }

    /// The kernel holds on to requests until the descriptor through which they were read is
    /// closed everywhere. So where they can be repeated, they are read through the one that
    /// a keeper has as well. Where not, through one that ends with this process: their
    /// readers then get an error and do not wait for ever.
    fn give_to(&self, session: &Session<Server>) -> io::Result<()> {
        if self.handshake.can_resend() {
            handshake::connect(session, &self.device)
        } else {
            handshake::connect(session, clone(&self.device)?)
        }
    }
}

/// FUSE_DEV_IOC_CLONE (include/uapi/linux/fuse.h).
const CLONE: Opcode = opcode::read::<u32>(229, 0);

/// Another descriptor of the same connection.
fn clone(device: &OwnedFd) -> io::Result<OwnedFd> {
    let opened = File::options()
        .read(true)
        .write(true)
        .open(preflight::DEVICE)?;
    let original = device.as_fd().as_raw_fd().cast_unsigned();
    #[expect(unsafe_code, reason = "an ioctl has the types that its number says")]
    // SAFETY: FUSE_DEV_IOC_CLONE reads the number of a descriptor, which is 32 bits.
    unsafe {
        ioctl(&opened, Setter::<CLONE, u32>::new(original))?;
    }
    Ok(opened.into())
}
