//! Who is at the other end of a socket.

use std::os::fd::AsFd;

use rustix::io::Result;
use rustix::net::sockopt::socket_peercred;
use rustix::process::{Uid, geteuid};

/// The process that connected, or for a caller the one that listens.
pub(crate) fn pid(socket: impl AsFd) -> Result<u32> {
    let peer = socket_peercred(socket)?;
    Ok(peer.pid.as_raw_nonzero().get().unsigned_abs())
}

/// Whether the caller is answered; if not, why not.
pub(crate) fn check(socket: impl AsFd) -> std::result::Result<(), String> {
    let peer = socket_peercred(socket)
        .map_err(|error| format!("the caller's credentials cannot be had: {error}"))?;
    judge(peer.uid, geteuid())
}

fn judge(caller: Uid, ours: Uid) -> std::result::Result<(), String> {
    if caller == ours || caller.is_root() {
        return Ok(());
    }
    let (caller, ours) = (caller.as_raw(), ours.as_raw());
    Err(format!(
        "user {caller} may not ask: this keeper answers user {ours} and root"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_user_and_root_are_answered_and_nobody_else() {
        let uid = Uid::from_raw;
        assert!(judge(uid(1000), uid(1000)).is_ok());
        assert!(judge(uid(0), uid(1000)).is_ok());
        assert!(judge(uid(0), uid(0)).is_ok());
        let refused = judge(uid(1001), uid(1000)).expect_err("somebody else");
        assert!(
            refused.contains("1001") && refused.contains("1000"),
            "{refused}"
        );
        assert!(judge(uid(1000), uid(0)).is_err());
    }
}
