//! Notifications to the kernel that fuser 0.18 does not know.

use std::os::fd::AsFd;

use rustix::io::Result;

/// A notification without a body, by its code in include/uapi/linux/fuse.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Notification {
    /// FUSE_NOTIFY_RESEND, Linux 6.9: requests that were read and not answered can be
    /// read again.
    Resend = 7,
    /// FUSE_NOTIFY_INC_EPOCH, Linux 6.16: all names that the kernel knows are looked up
    /// again at their next use.
    IncreaseEpoch = 8,
}

/// Tells the kernel, through the device of a connection.
///
/// # Errors
/// `EINVAL` from a kernel that does not know the notification.
pub(super) fn send(device: impl AsFd, notification: Notification) -> Result<()> {
    // struct fuse_out_header { u32 len; i32 error; u64 unique; }: a notification has its
    // code in place of the error, and answers no request.
    let mut header = [0u8; 16];
    header[..4].copy_from_slice(&16u32.to_ne_bytes());
    header[4..8].copy_from_slice(&(notification as u32).to_ne_bytes());
    rustix::io::write(device, &header).map(drop)
}
