//! What callers send to a keeper: whole conversations with a real one.
//!
//! An input is a row of packets, each behind a length of 2 bytes and a byte: its lowest bit
//! says whether a descriptor comes along, the next whether it is of another device.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::thread;

use forebay_keeper::{Mission, Server};
use forebay_tests::{Random, Scratch};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketType, connect, recv, sendmsg, socket,
};

use super::{Target, number};

/// The most packets of one conversation.
const MOST_PACKETS: usize = 32;
/// Magic, version, kind, length of the body.
const HEADER: usize = 12;

/// A keeper, and what is handed to it.
pub(super) struct Conversation {
    socket: PathBuf,
    fuse: File,
    null: File,
    // Gone last: the keeper listens in it.
    _scratch: Scratch,
}

impl Conversation {
    pub(super) fn new() -> Self {
        let scratch = Scratch::in_memory("fuzz-keeper", 1 << 20);
        let socket = scratch.path().join("k");
        let server = Server::listen(&socket).expect("a socket in /dev/shm");
        // It ends with this process.
        thread::spawn(move || server.run(Mission::Node));
        Self {
            socket,
            fuse: File::open("/dev/fuse").expect("fuzzing the keeper takes /dev/fuse"),
            null: File::open("/dev/null").expect("there is /dev/null"),
            _scratch: scratch,
        }
    }

    fn call(&self) -> OwnedFd {
        let caller =
            socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).expect("a Unix socket");
        let address = SocketAddrUnix::new(&self.socket).expect("a short path");
        connect(&caller, &address).expect("the keeper takes callers");
        caller
    }
}

impl Target for Conversation {
    fn name(&self) -> &'static str {
        "keeper"
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        let store = packet(1, &[b"mount-1", &[9; 104], b"note"]);
        let calls = [
            (true, store.clone()),
            (false, packet(2, &[b"mount-1"])),
            (false, packet(3, &[b""])),
            (false, packet(3, &[b"mount-1"])),
            (false, packet(4, &[b"mount-1"])),
        ];
        let mut seeds: Vec<_> = calls.iter().map(|call| conversation(&[call])).collect();
        seeds.push(conversation(&calls.each_ref()));
        let replies = [
            packet(0x8001, &[]),
            packet(0x8002, &[b"handshake", b"note"]),
            packet(0x8003, &[b"a", b"b"]),
            packet(0xffff, &[&[4, 0], b"no"]),
        ];
        seeds.extend(replies.map(|reply| conversation(&[&(false, reply)])));
        seeds
    }

    fn words(&self) -> &'static [&'static [u8]] {
        &[
            b"FBKP\x01\x00\x01\x00\x00\x00\x00\x00",
            b"FBKP\x01\x00\x03\x00\x02\x00\x00\x00\x00\x00",
            b"mount-1",
            b"\x00\x04",
        ]
    }

    fn seal(&self, input: &mut Vec<u8>, _random: &mut Random) {
        let mut at = 0;
        while at + 3 < input.len() {
            let len = (number(input, at, 2) as usize).min(input.len() - at - 3);
            input[at..at + 2].copy_from_slice(&(len as u16).to_le_bytes());
            if let Some(body) = len.checked_sub(HEADER) {
                let place = at + 3 + 8;
                input[place..place + 4].copy_from_slice(&(body as u32).to_le_bytes());
            }
            at += 3 + len;
        }
    }

    fn most_memory(&self, len: usize) -> usize {
        // Callers' packets in flight, and what the keeper holds.
        (4 << 20) + 16 * len
    }

    fn read(&mut self, input: &[u8]) {
        let mut rest = input;
        let caller = self.call();
        for _ in 0..MOST_PACKETS {
            let Some((&[low, high, descriptor], behind)) = rest.split_first_chunk() else {
                break;
            };
            let len = usize::from(u16::from_le_bytes([low, high])).min(behind.len());
            let (packet, behind) = behind.split_at(len);
            rest = behind;
            forebay_keeper::fuzz(packet);
            let descriptor = match descriptor & 3 {
                1 => Some(&self.fuse),
                3 => Some(&self.null),
                _ => None,
            };
            // A packet of no bytes is the end of a conversation.
            if packet.is_empty() || !exchange(&caller, packet, descriptor) {
                break;
            }
        }
        drop(caller);
        // Whatever that was, the next caller is answered.
        let caller = self.call();
        assert!(
            exchange(&caller, &packet(3, &[b""]), None),
            "the keeper does not answer any more"
        );
    }
}

/// Sends a packet; whether it was answered, and not with the end of the conversation.
fn exchange(caller: &OwnedFd, packet: &[u8], descriptor: Option<&File>) -> bool {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<_> = descriptor.iter().map(|file| file.as_fd()).collect();
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    let parts = [std::io::IoSlice::new(packet)];
    if sendmsg(caller, &parts, &mut control, SendFlags::NOSIGNAL).is_err() {
        return false;
    }
    let mut reply = [0_u8; 16 << 10];
    match recv(caller, &mut reply, RecvFlags::empty()) {
        Ok((len, _)) if len > 0 => {
            forebay_keeper::fuzz(&reply[..len]);
            assert!(reply.starts_with(b"FBKP"), "a reply that is none");
            true
        }
        _ => false,
    }
}

fn packet(kind: u16, fields: &[&[u8]]) -> Vec<u8> {
    let mut body = Vec::new();
    for field in fields {
        body.extend_from_slice(&(field.len() as u16).to_le_bytes());
        body.extend_from_slice(field);
    }
    let mut packet = b"FBKP\x01\x00".to_vec();
    packet.extend_from_slice(&kind.to_le_bytes());
    packet.extend_from_slice(&(body.len() as u32).to_le_bytes());
    packet.extend_from_slice(&body);
    packet
}

fn conversation(calls: &[&(bool, Vec<u8>)]) -> Vec<u8> {
    let mut input = Vec::new();
    for (descriptor, packet) in calls {
        input.extend_from_slice(&(packet.len() as u16).to_le_bytes());
        input.push(u8::from(*descriptor));
        input.extend_from_slice(packet);
    }
    input
}
