//! Answers for a mount that nobody serves.

use std::io;
use std::os::fd::AsFd;

use forebay_keeper::Kept;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::handshake::Handshake;
use super::notification::{self, Notification};

/// What the kernel wants to have room for: the largest request that fuser would agree to,
/// and its header. Pages that are not written to cost nothing.
const REQUEST: usize = (16 << 20) + 4096;

/// Where fields lie in struct fuse_in_header (include/uapi/linux/fuse.h).
const OPCODE: usize = 4;
const UNIQUE: usize = 8;
const HEADER: usize = 40;

/// Nobody waits for these: FORGET, RELEASE, RELEASEDIR, INTERRUPT, DESTROY, BATCH_FORGET.
/// A file that is closed is left to the next process that serves, which has to know of it.
const UNANSWERED: [u32; 6] = [2, 18, 29, 36, 38, 42];

const EIO: i32 = 5;

const AT_ONCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// Answers with EIO whoever waits for the mount whose connection is `kept`, and returns
/// how many did.
///
/// For a supervisor that has no process to serve the mount, and for nobody else: a process
/// that serves would miss what is taken from it here. Never waits.
///
/// # Errors
/// If the connection has ended.
pub fn refuse_waiting(kept: &Kept) -> io::Result<u64> {
    let handshake = Handshake::of_request(&kept.handshake)?;
    if handshake.can_resend() {
        // What the process that died had read waits as well.
        notification::send(&kept.device, Notification::Resend)?;
    }
    let mut buffer = vec![0; REQUEST];
    let mut refused = 0;
    while is_readable(&kept.device)? {
        let len = rustix::io::read(&kept.device, &mut *buffer)?;
        if let Some(answer) = answer(&buffer[..len]) {
            // ENOENT: who asked was killed meanwhile.
            refused += u64::from(rustix::io::write(&kept.device, &answer).is_ok());
        }
    }
    Ok(refused)
}

fn is_readable(device: impl AsFd) -> io::Result<bool> {
    let mut polled = [PollFd::new(&device, PollFlags::IN)];
    poll(&mut polled, Some(&AT_ONCE))?;
    let events = polled[0].revents();
    if events.contains(PollFlags::ERR) {
        return Err(io::ErrorKind::NotConnected.into());
    }
    Ok(events.contains(PollFlags::IN))
}

/// The refusal of a request: struct fuse_out_header { u32 len; i32 error; u64 unique; }.
fn answer(request: &[u8]) -> Option<[u8; 16]> {
    let opcode = request.get(..HEADER)?[OPCODE..].first_chunk()?;
    if UNANSWERED.contains(&u32::from_ne_bytes(*opcode)) {
        return None;
    }
    let mut answer = [0; 16];
    answer[..4].copy_from_slice(&16u32.to_ne_bytes());
    answer[4..8].copy_from_slice(&(-EIO).to_ne_bytes());
    answer[8..].copy_from_slice(&request[UNIQUE..UNIQUE + 8]);
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(opcode: u32) -> Vec<u8> {
        let mut request = vec![0; 80];
        request[OPCODE..OPCODE + 4].copy_from_slice(&opcode.to_ne_bytes());
        request[UNIQUE..UNIQUE + 8].copy_from_slice(&77u64.to_ne_bytes());
        request
    }

    #[test]
    fn a_read_is_refused_under_its_own_number() {
        let answer = answer(&request(15)).expect("somebody waits");
        assert_eq!(answer[..4], 16u32.to_ne_bytes());
        assert_eq!(answer[4..8], (-5i32).to_ne_bytes());
        assert_eq!(answer[8..], 77u64.to_ne_bytes());
    }

    #[test]
    fn a_close_is_left_to_the_next_process() {
        for opcode in UNANSWERED {
            assert_eq!(answer(&request(opcode)), None);
        }
        assert_eq!(answer(&[0; 39]), None);
    }
}
