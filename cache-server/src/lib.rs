//! The cache of a node: what lies between a reader and the origin.

pub mod cluster;
pub mod control;
pub mod dataset;
pub mod eviction;
pub mod fill;
pub mod listing;
pub mod local;
mod metrics;
pub mod node;
pub mod origin;
pub mod prefetch;
pub mod source;
pub mod store;
pub mod warmup;
