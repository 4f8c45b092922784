//! How much of everything there may be.

use std::time::Duration;

/// The longest name, in bytes.
pub const NAME: usize = 128;

/// The longest record of a handshake, in bytes: a FUSE_INIT request has about a hundred.
pub const HANDSHAKE: usize = 1024;

/// The longest note, in bytes.
pub const NOTE: usize = 4096;

/// The largest packet, in bytes, header and all.
pub const PACKET: usize = 8192;

/// Names in one page of a list.
pub const PAGE: usize = 32;

/// Descriptors that one keeper holds.
pub const HELD: usize = 512;

/// Callers that are connected at the same time.
pub const CALLERS: usize = 64;

/// How long a caller waits for the keeper, which answers at once or is stopped.
pub const PATIENCE: Duration = Duration::from_secs(5);
