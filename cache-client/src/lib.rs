//! The cache server of a machine, as its clients use it: the [`Cache`] trait over a Unix
//! socket.
//!
//! [`Cache`]: forebay_core::cache::Cache
//!
//! What a client reads does not travel through the socket. The server passes the
//! descriptor of the file in which an object lies and says which of its chunks are
//! present; both are kept with the lease, and a read of present chunks is answered from
//! there: no message, no lock that another reader of the machine could hold. Small files lie
//! many to a file; where, the server tells of a thousand at once, and they are opened without
//! a message, too.
//!
//! When the server goes away (a crash, an upgrade), what is present stays readable, who
//! waits goes on waiting, and the client reconnects and takes its leases anew.

mod bitmap;
mod client;
mod error;
mod lease;
mod link;
mod places;
mod session;

pub use client::{Attached, Client, ClientConfig};
pub use error::ConnectError;
pub use forebay_proto::local::{Report, StoredVersion, Wanted, WarmupCounts, WarmupFailure};
