//! Which objects go first when a tier is full.
//!
//! A [`Policy`] knows ids and weights, nothing else: it never touches a file and takes
//! no lock. Every implementation passes one conformance suite (`eviction/tests.rs`).

use std::fmt;

use forebay_core::ObjectId;

mod lru;
mod queue;
mod s3_fifo;
mod sketch;
mod tenure;
#[cfg(test)]
mod tests;

use lru::Lru;
use s3_fifo::S3Fifo;
use tenure::Tenure;

/// An order in which resident objects are evicted.
///
/// The caller serialises all calls. An id is *resident* from its first
/// [`insert`](Self::insert) until it is removed or returned as a victim.
pub trait Policy: fmt::Debug + Send {
    /// Says that `id` now weighs `bytes`. Makes it resident if it is not; for a
    /// resident one it only changes the weight, and MUST NOT count as an access.
    fn insert(&mut self, id: ObjectId, bytes: u64);

    /// Says that `id` was opened. Called once for each open, so it MUST be cheap and
    /// independent of the number of objects. An id that is not resident is ignored.
    fn access(&mut self, id: ObjectId);

    /// Says that `id` is gone for a reason other than eviction. The implementation MUST
    /// NOT return it as a victim before it is inserted again.
    fn remove(&mut self, id: ObjectId);

    /// Chooses the object to evict, for which `skip` is false, and makes it not
    /// resident. `None` only if `skip` holds for every resident object.
    ///
    /// `skip` says which objects are in use. The implementation MUST end after a number
    /// of calls of `skip` that is linear in the number of resident objects.
    fn victim(&mut self, skip: &dyn Fn(ObjectId) -> bool) -> Option<ObjectId>;

    /// The weights of the resident objects together, in bytes.
    fn resident_bytes(&self) -> u64;
}

/// The policies there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PolicyKind {
    /// Three FIFO queues; a scan passes through a tenth of the cache and leaves the rest
    /// alone.
    #[default]
    S3Fifo,
    /// Least recently opened first.
    Lru,
    /// What is kept stays, unless a newcomer was opened more often; for epochs over more
    /// than the cache holds.
    Tenure,
}

impl PolicyKind {
    /// A policy without objects.
    pub fn build(self) -> Box<dyn Policy> {
        match self {
            Self::S3Fifo => Box::new(S3Fifo::default()),
            Self::Lru => Box::new(Lru::default()),
            Self::Tenure => Box::new(Tenure::default()),
        }
    }
}
