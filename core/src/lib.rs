//! Domain types and arithmetic of Forebay.
//!
//! Everything here is shared by the cache server, the FUSE client and the
//! drivers above them. The crate knows no network, no object store, and of the kernel
//! nothing but its table of mounts.

pub mod cache;
pub mod checksum;
pub mod chunk;
mod error;
pub mod manifest;
pub mod metric;
pub mod mountinfo;
mod object;
pub mod placement;
mod range;

pub use error::ErrorKind;
pub use object::{ETag, ObjectId};
pub use range::ByteRange;
