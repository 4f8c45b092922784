//! Real mounts, read by this process.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/memory_cache.rs"]
#[expect(dead_code, reason = "each test program needs a part of it")]
mod memory_cache;
#[path = "../support/mounted.rs"]
mod mounted;

mod control;
mod large_directory;
mod open_modes;
mod read_only;
mod reading;
mod refresh;
mod refused;
mod semantics;
mod tree;
mod unmount;
mod xattrs;
