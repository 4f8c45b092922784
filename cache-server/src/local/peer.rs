//! Who is at the other end of a socket, and whether they may be.
//!
//! The file mode of the socket already keeps others out; this holds even if somebody
//! changes the mode, or the socket lies where its directory does not protect it.

use std::fmt;
use std::io;

use tokio::net::UnixStream;

/// The process at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pid: Option<i32>,
    uid: u32,
    gid: u32,
}

/// Why a process may not connect.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the system does not say who connects")]
    Unknown(#[from] io::Error),
    #[error("{peer} is neither root, nor the server's user, nor of its group")]
    Stranger { peer: Peer },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {}, group {}", self.uid, self.gid)?;
        self.pid.map_or(Ok(()), |pid| write!(f, ", process {pid}"))
    }
}

/// Asks the kernel who connected (`SO_PEERCRED`), and whether they may.
pub(super) fn identify(stream: &UnixStream, group: Option<u32>) -> Result<Peer, Refusal> {
    let credentials = stream.peer_cred()?;
    let peer = Peer {
        pid: credentials.pid(),
        uid: credentials.uid(),
        gid: credentials.gid(),
    };
    let own = rustix::process::geteuid().as_raw();
    match peer.may_connect(own, group, supplementary_groups) {
        true => Ok(peer),
        false => Err(Refusal::Stranger { peer }),
    }
}

impl Peer {
    fn may_connect(
        &self,
        own: u32,
        group: Option<u32>,
        groups_of: impl FnOnce(i32) -> Vec<u32>,
    ) -> bool {
        let in_group = |group| {
            self.gid == group || self.pid.is_some_and(|pid| groups_of(pid).contains(&group))
        };
        self.uid == 0 || self.uid == own || group.is_some_and(in_group)
    }
}

/// The further groups of a process; none if it has gone.
fn supplementary_groups(pid: i32) -> Vec<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Groups:"));
    let groups = line.unwrap_or_default().split_whitespace();
    groups.filter_map(|group| group.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(uid: u32, gid: u32) -> Peer {
        Peer {
            pid: Some(7),
            uid,
            gid,
        }
    }

    #[test]
    fn root_the_servers_user_and_members_of_the_group_may_connect() {
        let none = |_| Vec::new();
        assert!(peer(0, 5).may_connect(1000, None, none));
        assert!(peer(1000, 5).may_connect(1000, None, none));
        assert!(peer(1001, 50).may_connect(1000, Some(50), none));
        assert!(peer(1001, 5).may_connect(1000, Some(50), |_| vec![4, 50]));
    }

    #[test]
    fn nobody_else_may() {
        assert!(!peer(1001, 1000).may_connect(1000, None, |_| vec![0]));
        assert!(!peer(1001, 5).may_connect(1000, Some(50), |_| vec![4]));
        let nameless = Peer {
            pid: None,
            ..peer(1001, 5)
        };
        assert!(!nameless.may_connect(1000, Some(50), |_| vec![50]));
    }

    #[test]
    fn the_groups_of_a_living_process_are_found() {
        let pid = i32::try_from(std::process::id()).expect("a pid");
        let own = rustix::process::getgroups().expect("own groups");
        let own: Vec<u32> = own.into_iter().map(rustix::process::Gid::as_raw).collect();
        assert_eq!(supplementary_groups(pid), own);
        assert!(supplementary_groups(i32::MAX).is_empty());
    }
}
