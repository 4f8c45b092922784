//! The cache of a node: what lies between a reader and the origin.

pub mod eviction;
pub mod listing;
pub mod origin;
pub mod source;
pub mod store;
