//! The way to a keeper.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect,
    socket_with,
};

use crate::error::Error;
use crate::limits;
use crate::name::Name;
use crate::packet::{self, Packet};
use crate::peer;
use crate::wire::{Reply, Request};

/// A connection to a keeper. While one is open, a keeper for one mount does not give the
/// mount up.
#[derive(Debug)]
pub struct Client {
    socket: OwnedFd,
    pid: u32,
}

/// What a keeper held.
#[derive(Debug)]
pub struct Kept {
    /// A descriptor of the FUSE connection.
    pub device: OwnedFd,
    /// What the one who stored it recorded of the handshake with the kernel.
    pub handshake: Vec<u8>,
    /// What that one noted beside.
    pub note: Vec<u8>,
}

impl Client {
    /// Connects to the keeper at `socket`.
    ///
    /// # Errors
    /// [`Error::Connect`].
    pub fn connect(socket: &Path) -> Result<Self, Error> {
        let connected = || -> Result<Self, Errno> {
            let address = SocketAddrUnix::new(socket)?;
            let kind = SocketType::SEQPACKET;
            let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
            set_socket_timeout(&socket, Timeout::Send, Some(limits::PATIENCE))?;
            set_socket_timeout(&socket, Timeout::Recv, Some(limits::PATIENCE))?;
            connect(&socket, &address)?;
            let pid = peer::pid(&socket)?;
            Ok(Self { socket, pid })
        };
        connected().map_err(|errno| Error::Connect {
            socket: socket.to_owned(),
            source: errno.into(),
        })
    }

    /// The process of the keeper.
    pub fn keeper_pid(&self) -> u32 {
        self.pid
    }

    /// Has the keeper hold a copy of `device`, in the place of any under that name.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Broken`]; a handshake or note beyond the
    /// [`crate::limits`] is refused.
    pub fn store(
        &self,
        name: &Name,
        device: BorrowedFd<'_>,
        handshake: &[u8],
        note: &[u8],
    ) -> Result<(), Error> {
        let request = Request::Store {
            name: name.clone(),
            handshake: handshake.to_vec(),
            note: note.to_vec(),
        };
        match self.ask(&request, Some(device))? {
            (Reply::Stored, _) => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// A copy of what is held as `name`.
    ///
    /// # Errors
    /// [`Error::Refused`] if nothing is, [`Error::Broken`].
    pub fn fetch(&self, name: &Name) -> Result<Kept, Error> {
        let request = Request::Fetch { name: name.clone() };
        match self.ask(&request, None)? {
            (Reply::Fetched { handshake, note }, Some(device)) => Ok(Kept {
                device,
                handshake,
                note,
            }),
            other => Err(unexpected(other)),
        }
    }

    /// The names of all that is held, sorted.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Broken`].
    pub fn list(&self) -> Result<Vec<Name>, Error> {
        let mut all = Vec::new();
        loop {
            let after = all.last().cloned();
            match self.ask(&Request::List { after }, None)? {
                (Reply::Listed { names }, _) if names.is_empty() => return Ok(all),
                // A keeper that repeats itself would have us ask for ever.
                (Reply::Listed { names }, _) if all.len() <= limits::HELD => all.extend(names),
                other => return Err(unexpected(other)),
            }
        }
    }

    /// Has the keeper let go of `name`.
    ///
    /// # Errors
    /// [`Error::Refused`] if it is not held, [`Error::Broken`].
    pub fn forget(&self, name: &Name) -> Result<(), Error> {
        match self.ask(&Request::Drop { name: name.clone() }, None)? {
            (Reply::Dropped, _) => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// A way to wait for the keeper's end beside its use.
    ///
    /// # Errors
    /// [`Error::System`] if the process has no descriptor left.
    pub fn watch(&self) -> Result<Watch, Error> {
        let socket = self.socket.try_clone().map_err(|source| Error::System {
            action: "copy the connection to the keeper",
            source,
        })?;
        Ok(Watch { socket })
    }

    fn ask(
        &self,
        request: &Request,
        device: Option<BorrowedFd<'_>>,
    ) -> Result<(Reply, Option<OwnedFd>), Error> {
        let sent = packet::send(&self.socket, &request.encode(), device, SendFlags::empty());
        // Who is refused finds the connection closed, and the reason in it: behind an error
        // that is reported once, if his request was not even read.
        let receive = || packet::receive(self.socket.as_fd(), RecvFlags::empty());
        let received = match receive() {
            Err(Errno::CONNRESET) => receive(),
            received => received,
        };
        let Packet { bytes, descriptor } = match (sent, received) {
            (_, Ok(Some(packet))) => packet,
            (Err(errno), _) | (Ok(()), Err(errno)) => return Err(broken(errno)),
            (Ok(()), Ok(None)) => return Err(broken(Errno::CONNRESET)),
        };
        match Reply::decode(&bytes) {
            Ok(Reply::Refused { reason, text }) => Err(Error::Refused { reason, text }),
            Ok(reply) => Ok((reply, descriptor)),
            Err(_) => Err(Error::Nonsense {
                text: "its answer is malformed",
            }),
        }
    }
}

/// The end of a connection at which nothing is said.
#[derive(Debug)]
pub struct Watch {
    socket: OwnedFd,
}

impl Watch {
    /// Waits until the keeper has gone, for `limit` at most; whether it has.
    pub fn has_gone_within(&self, limit: Duration) -> bool {
        let mut polled = [PollFd::new(&self.socket, PollFlags::RDHUP)];
        let limit = Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        };
        let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        poll(&mut polled, Some(&limit)).is_ok() && polled[0].revents().intersects(gone)
    }
}

fn broken(errno: Errno) -> Error {
    Error::Broken {
        source: errno.into(),
    }
}

fn unexpected(_: (Reply, Option<OwnedFd>)) -> Error {
    Error::Nonsense {
        text: "its answer is to another question",
    }
}
