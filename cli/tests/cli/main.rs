//! The binary as scripts see it: names, output and exit codes.
//!
//! Tests that mount need root and /dev/fuse.

mod bad_input;
mod cluster;
mod harness;
mod help;
mod lifecycle;
mod mounted;
mod secrets;
mod server;
