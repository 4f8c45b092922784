//! The handshake with the kernel, which happens once in the life of a connection.
//!
//! A new connection begins with an INIT request, and fuser begins with waiting for one. A
//! connection that is taken over from another process sends none any more. So fuser never
//! shakes hands with the kernel itself: it gets one end of a socket pair on which an INIT
//! request waits, and afterwards the device in the place of that end. The request is the
//! kernel's own for a new connection, whose answer is then passed on; for one that is taken
//! over it is the recorded request, with what was agreed in the place of what was offered.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use fuser::Session;
use rustix::io::DupFlags;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};

use super::config;
use crate::fuse::Server;
use crate::options::MountOptions;

/// FUSE_INIT (include/uapi/linux/fuse.h, as all numbers and offsets here).
const INIT: u32 = 26;
/// The one major version of the protocol there has ever been since 2006.
const MAJOR: u32 = 7;
/// FUSE_INIT_EXT: the flags have a second half.
const INIT_EXT: u32 = 1 << 30;
/// FUSE_HAS_RESEND, in the second half: bit 39 of both.
const HAS_RESEND: u32 = 1 << (39 - 32);
/// FUSE_NO_OPEN_SUPPORT and FUSE_NO_OPENDIR_SUPPORT.
const NO_OPEN: u32 = 1 << 17 | 1 << 24;

/// The least that the kernel writes a request into (FUSE_MIN_READ_BUFFER).
const READ_BUFFER: usize = 8192;

/// Where the fields of a request lie: struct fuse_in_header, struct fuse_init_in.
mod request {
    pub(super) const LEN: usize = 0;
    pub(super) const OPCODE: usize = 4;
    pub(super) const MAJOR: usize = 40;
    pub(super) const MINOR: usize = 44;
    pub(super) const MAX_READAHEAD: usize = 48;
    pub(super) const FLAGS: usize = 52;
    /// The end of the request before Linux 5.17.
    pub(super) const FLAGS2: usize = 56;
    /// Twice what it has today.
    pub(super) const LONGEST: usize = 208;
}

/// Where the fields of an answer lie: struct fuse_out_header, struct fuse_init_out.
mod answer {
    pub(super) const MAX_READAHEAD: usize = 24;
    pub(super) const FLAGS: usize = 28;
    pub(super) const FLAGS2: usize = 48;
}

/// What was agreed with the kernel when a connection began, in the form of an INIT request
/// that offers exactly this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Handshake {
    request: Vec<u8>,
}

impl Handshake {
    /// Takes an INIT request, as the kernel sent it or as [`Self::as_bytes`] recorded it.
    pub(super) fn of_request(request: &[u8]) -> io::Result<Self> {
        let is_whole = (request::FLAGS2..=request::LONGEST).contains(&request.len())
            && field(request, request::LEN) as usize == request.len();
        if !is_whole || field(request, request::OPCODE) != INIT {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "not an INIT request of FUSE",
            ));
        }
        let major = field(request, request::MAJOR);
        if major != MAJOR {
            let text = format!("the kernel speaks FUSE {major}, not {MAJOR}");
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        Ok(Self {
            request: request.to_vec(),
        })
    }

    /// Waits for the first request of a new connection.
    pub(super) fn receive(device: impl AsFd) -> io::Result<Self> {
        let mut buffer = vec![0; READ_BUFFER];
        let len = loop {
            match rustix::io::read(&device, &mut *buffer) {
                Err(rustix::io::Errno::INTR) => {}
                read => break read?,
            }
        };
        Self::of_request(&buffer[..len])
    }

    /// Has fuser answer the request. Until it is [connected](connect), the session can do
    /// nothing.
    pub(super) fn perform(
        &self,
        server: Server,
        options: &MountOptions,
    ) -> io::Result<(Session<Server>, Answer)> {
        let kind = SocketType::SEQPACKET;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        send(&ours, &self.request, SendFlags::empty())?;
        let (acl, config) = (config::acl(options), config::fuser_config(options));
        let session = Session::from_fd(server, theirs, acl, config)?;
        let mut bytes = vec![0; READ_BUFFER];
        // It was sent before the session was there.
        let (len, _) = recv(&ours, &mut *bytes, RecvFlags::DONTWAIT)?;
        bytes.truncate(len);
        if bytes.len() < answer::FLAGS2 + 4 {
            return Err(io::Error::other(
                "fuser's answer to INIT was not understood",
            ));
        }
        Ok((session, Answer(bytes)))
    }

    /// The handshake as it was concluded: what `answer` did not take up is offered no more.
    ///
    /// What the kernel can do without being asked for it stays: to repeat requests, and to
    /// open without a message.
    pub(super) fn agreed(&self, answer: &Answer) -> Self {
        let mut request = self.request.clone();
        let can_resend = self.flags2() & HAS_RESEND;
        let mut put = |at: usize, value: u32| {
            if let Some(place) = request.get_mut(at..at + 4) {
                place.copy_from_slice(&value.to_ne_bytes());
            }
        };
        let Answer(bytes) = answer;
        put(request::MAX_READAHEAD, field(bytes, answer::MAX_READAHEAD));
        let lasting = field(&self.request, request::FLAGS) & (INIT_EXT | NO_OPEN);
        put(request::FLAGS, field(bytes, answer::FLAGS) | lasting);
        put(request::FLAGS2, field(bytes, answer::FLAGS2) | can_resend);
        Self { request }
    }

    /// Whether requests that were read and not answered can be had again.
    pub(super) fn can_resend(&self) -> bool {
        self.flags2() & HAS_RESEND != 0
    }

    /// The same from a kernel that cannot.
    pub(super) fn without_resend(mut self) -> Self {
        let flags2 = self.flags2() & !HAS_RESEND;
        if let Some(place) = self.request.get_mut(request::FLAGS2..request::FLAGS2 + 4) {
            place.copy_from_slice(&flags2.to_ne_bytes());
        }
        self
    }

    /// The kernel's version of the protocol, for a log.
    pub(super) fn version(&self) -> String {
        format!("{MAJOR}.{}", field(&self.request, request::MINOR))
    }

    /// The record of it.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.request
    }

    fn flags2(&self) -> u32 {
        if field(&self.request, request::FLAGS) & INIT_EXT == 0 {
            return 0;
        }
        field(&self.request, request::FLAGS2)
    }
}

/// fuser's answer to an INIT request.
#[derive(Debug)]
pub(super) struct Answer(Vec<u8>);

impl Answer {
    /// Passes it on to a kernel that waits for it.
    pub(super) fn send(&self, device: impl AsFd) -> io::Result<()> {
        Ok(rustix::io::write(device, &self.0).map(drop)?)
    }
}

/// Puts `device` in the place of the session's socket: what the session reads, writes and
/// clones from now on is the connection.
pub(super) fn connect(session: &Session<Server>, device: impl AsFd) -> io::Result<()> {
    let socket = session.as_fd().as_raw_fd();
    #[expect(
        unsafe_code,
        reason = "fuser lends its descriptor, and dup3 wants an owner"
    )]
    // SAFETY: the descriptor is open for as long as the session is borrowed, and stays the
    // session's: it is never closed here.
    let mut socket = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(socket) });
    Ok(rustix::io::dup3(device, &mut socket, DupFlags::CLOEXEC)?)
}

/// The number at `at`; 0 behind the end, which is what a kernel that does not know the
/// field means.
fn field(bytes: &[u8], at: usize) -> u32 {
    let field = bytes.get(at..).and_then(<[u8]>::first_chunk);
    field.map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn init(len: usize, flags: u32, flags2: u32) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let fields = [
            (request::LEN, len as u32),
            (request::OPCODE, INIT),
            (request::MAJOR, MAJOR),
            (request::MINOR, 45),
            (request::MAX_READAHEAD, 131_072),
            (request::FLAGS, flags),
            (request::FLAGS2, flags2),
        ];
        for (at, value) in fields {
            if let Some(place) = bytes.get_mut(at..at + 4) {
                place.copy_from_slice(&value.to_ne_bytes());
            }
        }
        bytes
    }

    fn answer(flags: u32, flags2: u32) -> Answer {
        let mut bytes = vec![0; 80];
        let readahead = (answer::MAX_READAHEAD, 4096);
        for (at, value) in [readahead, (answer::FLAGS, flags), (answer::FLAGS2, flags2)] {
            bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        Answer(bytes)
    }

    #[test]
    fn what_was_agreed_is_all_that_is_offered_the_next_time() {
        let offered = Handshake::of_request(&init(104, INIT_EXT | 0xff, HAS_RESEND | 0xf)).unwrap();
        assert!(offered.can_resend());
        let agreed = offered.agreed(&answer(INIT_EXT | 0x11, 0x2));
        assert_eq!(field(agreed.as_bytes(), request::FLAGS), INIT_EXT | 0x11);
        assert_eq!(field(agreed.as_bytes(), request::FLAGS2), HAS_RESEND | 0x2);
        assert_eq!(field(agreed.as_bytes(), request::MAX_READAHEAD), 4096);
        assert_eq!(Handshake::of_request(agreed.as_bytes()).unwrap(), agreed);
        assert_eq!(agreed.version(), "7.45");
    }

    #[test]
    fn an_old_kernel_has_no_second_half_and_cannot_repeat_requests() {
        let old = Handshake::of_request(&init(56, 0xff, 0)).unwrap();
        assert!(!old.can_resend());
        assert_eq!(old.agreed(&answer(0x11, 0)).as_bytes().len(), 56);
        let unmarked = Handshake::of_request(&init(104, 0xff, HAS_RESEND)).unwrap();
        assert!(!unmarked.can_resend());
    }

    #[test]
    fn another_major_version_is_refused() {
        let mut bytes = init(104, 0, 0);
        bytes[request::MAJOR] = 8;
        let error = Handshake::of_request(&bytes).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    }

    proptest! {
        #[test]
        fn any_record_is_understood_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(handshake) = Handshake::of_request(&bytes) {
                let _ = (handshake.can_resend(), handshake.agreed(&answer(0, 0)));
            }
        }
    }
}
