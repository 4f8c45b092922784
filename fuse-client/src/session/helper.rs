//! The helper that mounts for users who may not: fusermount3, of the package fuse3.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
    recvmsg, socketpair,
};

/// The helper's name.
pub(super) const HELPER: &str = "fusermount3";

/// Tells the helper on which of its descriptors to answer (fusermount3(1)).
const ANSWER_ON: &str = "_FUSE_COMMFD";

/// Has the helper mount, and returns the device that it sends.
pub(super) fn mount(mountpoint: &Path, options: &str) -> io::Result<OwnedFd> {
    let kind = SocketType::STREAM;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
    let child = Command::new(HELPER)
        .args(["-o", options, "--"])
        .arg(mountpoint)
        // Standard input is the one descriptor that needs no leave to be inherited.
        .env(ANSWER_ON, "0")
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let device = receive(&ours);
    let Output { status, stderr, .. } = child.wait_with_output()?;
    match device? {
        Some(device) if status.success() => Ok(device),
        _ => Err(io::Error::other(
            String::from_utf8_lossy(&stderr).trim().to_owned(),
        )),
    }
}

/// The descriptor in the next message; `None` at the end of the messages.
fn receive(socket: impl AsFd) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut parts = [io::IoSliceMut::new(&mut byte)];
    recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    Ok(descriptors.next().and_then(|mut received| received.next()))
}
