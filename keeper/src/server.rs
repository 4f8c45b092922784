//! The keeper's one loop: callers in turn, and now and then a look at what is held.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with,
    bind, listen, socket_with,
};

use crate::client::Client;
use crate::error::{Error, Refusal};
use crate::limits;
use crate::packet::{self, Packet};
use crate::peer;
use crate::process::Mission;
use crate::shelf::{Entry, NotHeld, Shelf};
use crate::wire::{Malformed, Reply, Request};

mod watch;

use watch::Watch;

/// A listening keeper.
#[derive(Debug)]
pub struct Server {
    listener: OwnedFd,
    socket: PathBuf,
    inode: u64,
    callers: Vec<OwnedFd>,
    shelf: Shelf,
}

impl Server {
    /// Listens at `socket`, which only its owner may open. A socket that a dead keeper
    /// left is replaced.
    ///
    /// # Errors
    /// [`Error::InUse`], [`Error::Listen`].
    pub fn listen(socket: &Path) -> Result<Self, Error> {
        if Client::connect(socket).is_ok() {
            return Err(Error::InUse {
                socket: socket.to_owned(),
            });
        }
        let made = || -> io::Result<(OwnedFd, u64)> {
            match fs::remove_file(socket) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let listener = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
            bind(&listener, &SocketAddrUnix::new(socket)?)?;
            fs::set_permissions(socket, Permissions::from_mode(0o600))?;
            let backlog = i32::try_from(limits::CALLERS).unwrap_or(i32::MAX);
            listen(&listener, backlog)?;
            Ok((listener, fs::symlink_metadata(socket)?.ino()))
        };
        let (listener, inode) = made().map_err(|source| Error::Listen {
            socket: socket.to_owned(),
            source,
        })?;
        Ok(Self {
            listener,
            socket: socket.to_owned(),
            inode,
            callers: Vec::new(),
            shelf: Shelf::default(),
        })
    }

    /// Answers callers until the mission ends, if it does.
    ///
    /// # Errors
    /// [`Error::System`] if the process cannot wait any more.
    pub fn run(mut self, mission: Mission) -> Result<(), Error> {
        let mut watch = Watch::new(mission);
        while !watch.is_over(&mut self.shelf, self.callers.len()) {
            self.wait().map_err(|source| Error::System {
                action: "wait for callers",
                source: source.into(),
            })?;
        }
        Ok(())
    }

    /// Waits for something to do, for a second at most, and does it.
    fn wait(&mut self) -> Result<(), Errno> {
        let everybody = std::iter::once(&self.listener).chain(&self.callers);
        let mut polled: Vec<_> = everybody
            .map(|socket| PollFd::new(socket, PollFlags::IN))
            .collect();
        let look = Timespec {
            tv_sec: watch::LOOK.as_secs().cast_signed(),
            tv_nsec: 0,
        };
        match poll(&mut polled, Some(&look)) {
            Ok(0) | Err(Errno::INTR) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(error),
        }
        let ready: Vec<bool> = polled.iter().map(|one| !one.revents().is_empty()).collect();
        drop(polled);
        let (shelf, mut turn) = (&mut self.shelf, ready[1..].iter());
        self.callers
            .retain(|caller| !turn.next().is_some_and(|ready| *ready) || serve(caller, shelf));
        if ready[0] {
            self.admit();
        }
        Ok(())
    }

    fn admit(&mut self) {
        // Who has gone again in between is no loss.
        let Ok(caller) = accept_with(&self.listener, SocketFlags::CLOEXEC) else {
            return;
        };
        if let Err(text) = peer::check(&caller) {
            report(&text);
            answer(&caller, &refused(Refusal::Caller, text), None);
        } else if self.callers.len() >= limits::CALLERS {
            let text = format!("{} callers are connected", limits::CALLERS);
            answer(&caller, &refused(Refusal::Full, text), None);
        } else {
            self.callers.push(caller);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The place may be another keeper's by now.
        if fs::symlink_metadata(&self.socket).is_ok_and(|found| found.ino() == self.inode) {
            let _ = fs::remove_file(&self.socket);
        }
    }
}

/// Answers one request; false if the caller has gone or does not listen.
fn serve(caller: &OwnedFd, shelf: &mut Shelf) -> bool {
    let Ok(Some(packet)) = packet::receive(caller, RecvFlags::DONTWAIT) else {
        return false;
    };
    let reply = Request::decode(&packet.bytes)
        .map_err(|malformed| of_malformed(&malformed))
        .and_then(|request| answer_to(request, packet, shelf));
    match reply {
        Ok((reply, Some(device))) => answer(caller, &reply, Some(&device)),
        Ok((reply, None)) => answer(caller, &reply, None),
        Err(refused) => answer(caller, &refused, None),
    }
}

fn answer_to(
    request: Request,
    packet: Packet,
    shelf: &mut Shelf,
) -> Result<(Reply, Option<OwnedFd>), Reply> {
    let unknown = |name| refused(Refusal::Unknown, format!("nothing is held as {name}"));
    match request {
        Request::Store {
            name,
            handshake,
            note,
        } => {
            let missing = || refused(Refusal::Device, "no descriptor came along".to_owned());
            let device = packet.descriptor.ok_or_else(missing)?;
            let entry = Entry {
                device,
                handshake,
                note,
            };
            shelf.put(name, entry).map_err(of_not_held)?;
            Ok((Reply::Stored, None))
        }
        Request::Fetch { name } => {
            let entry = shelf.get(&name).ok_or_else(|| unknown(name))?;
            let (handshake, note) = (entry.handshake.clone(), entry.note.clone());
            let device = entry.device.try_clone().map_err(|error| {
                refused(
                    Refusal::Full,
                    format!("the descriptor cannot be copied: {error}"),
                )
            })?;
            Ok((Reply::Fetched { handshake, note }, Some(device)))
        }
        Request::List { after } => {
            let names = shelf.page(after.as_ref());
            Ok((Reply::Listed { names }, None))
        }
        Request::Drop { name } if shelf.remove(&name) => Ok((Reply::Dropped, None)),
        Request::Drop { name } => Err(unknown(name)),
    }
}

fn answer(caller: &OwnedFd, reply: &Reply, device: Option<&OwnedFd>) -> bool {
    // Who does not take his answers is not waited for.
    let device = device.map(AsFd::as_fd);
    packet::send(caller, &reply.encode(), device, SendFlags::DONTWAIT).is_ok()
}

fn refused(reason: Refusal, text: String) -> Reply {
    Reply::Refused { reason, text }
}

fn of_malformed(malformed: &Malformed) -> Reply {
    let reason = match malformed {
        Malformed::Version(_) => Refusal::Version,
        _ => Refusal::Malformed,
    };
    refused(reason, malformed.to_string())
}

fn of_not_held(reason: NotHeld) -> Reply {
    match reason {
        NotHeld::Foreign => refused(Refusal::Device, "not a descriptor of /dev/fuse".to_owned()),
        NotHeld::Full => {
            let text = format!("{} descriptors are held", limits::HELD);
            refused(Refusal::Full, text)
        }
    }
}

/// One line for who collects what processes say.
fn report(text: &str) {
    use std::io::Write;
    let _ = writeln!(io::stderr(), "forebay keeper: {text}");
}
