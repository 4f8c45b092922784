//! The kernel's readahead, which INIT can only lower.

use std::fs;

use tracing::debug;

/// Sets the readahead of the mount with the device number `device` (`major:minor`).
///
/// Where /sys is not writable, in most containers and without root, reads stay at the
/// kernel's 128 KiB: slower, and nothing else.
pub(super) fn set(device: &str, kib: u32) {
    let knob = format!("/sys/class/bdi/{device}/read_ahead_kb");
    match fs::write(&knob, kib.to_string()) {
        Ok(()) => debug!(%knob, kib, "readahead set"),
        Err(error) => debug!(%knob, kib, %error, "readahead left as it is"),
    }
}
