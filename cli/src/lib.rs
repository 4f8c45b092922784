//! Forebay's command line: what the binary does, in testable parts.

pub mod args;
pub mod config;
pub mod exit;
pub mod mountpoint;
pub mod options;
pub mod rundir;
pub mod size;
pub mod telemetry;
