//! The keeper: a very small process that holds the `/dev/fuse` descriptors of mounts.
//!
//! The kernel ends a FUSE connection when its last descriptor is closed. While the keeper
//! has a copy, the process that serves a mount may die, and the next one takes the
//! connection over. The keeper does nothing else: it has no threads and no runtime, it
//! never looks at a mount point, and it has no file open but `/dev/null`, its standard
//! error and its sockets. What it holds is never read or written by it.
//!
//! # Protocol, version 1
//! One Unix socket of type `SOCK_SEQPACKET`; a packet is a message. A caller sends a
//! request and gets one reply. A descriptor travels as `SCM_RIGHTS` beside its packet.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | `FBKP` |
//! | 4 | 2 | version of the protocol, little-endian like every number |
//! | 6 | 2 | kind |
//! | 8 | 4 | length of the body, which is the rest of the packet |
//! | 12 | | body: its fields one after the other, each with its length in 2 bytes |
//!
//! | kind | request | body | reply (kind + 0x8000) |
//! |---|---|---|---|
//! | 1 | store | name, handshake, note; one descriptor | nothing |
//! | 2 | fetch | name | handshake, note; one descriptor |
//! | 3 | list | the name to begin behind, or nothing | a page of names, the last page empty |
//! | 4 | drop | name | nothing |
//!
//! Kind `0xffff` is the reply to what was not done: a code in 2 bytes, then words for
//! people. The bounds are in [`limits`]; a packet that keeps to none of this is answered
//! with an error, and the keeper goes on.
//!
//! The keeper outlives upgrades of everything else: a later version of this crate speaks
//! version 1 for as long as a keeper of version 1 may be running. A keeper that is asked
//! in a version that it does not know says which one it knows.
//!
//! # Callers
//! Only the keeper's own user and root are answered, told by `SO_PEERCRED`; others are
//! refused in words. Whoever is answered can take over every mount that is held.

mod client;
mod error;
pub mod limits;
mod name;
mod packet;
mod peer;
mod process;
mod server;
mod shelf;
mod slim;
mod wire;

pub use client::{Client, Kept, Watch};
pub use error::{Error, Refusal};
pub use name::{InvalidName, Name};
pub use process::{ARGV0, Mission, run};
pub use server::Server;

/// Decodes what a caller might send, for a fuzzer: it must return, whatever the bytes.
pub fn fuzz(packet: &[u8]) {
    // What is decoded or refused is of no interest here.
    let _ = wire::Request::decode(packet);
    let _ = wire::Reply::decode(packet);
}
