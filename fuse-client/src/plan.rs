//! A plan: the order in which files will be read.
//!
//! A training job knows its future: the sampler's shuffle follows from a seed. A
//! [`Spec`] says it in a few bytes (seed, epoch, rank), or as a list; [`Spec::resolve`]
//! turns it into an [`Order`] of files, and a [`Follower`] keeps track of where in it the
//! readers are and what should be fetched next.

mod document;
mod follower;
mod order;
mod paths;
mod spec;
mod torch;

pub(crate) use document::{Document, Fed};
pub(crate) use follower::{Follower, Heard};
pub use order::Order;
pub use spec::{PlanError, Ranks, Sampler, Spec};
