//! A read-only POSIX tree over a manifest and a cache, served through FUSE.
//!
//! [`DatasetFs`] answers requests from a manifest and a cache and knows no kernel.
//! [`Mount`] makes it a directory: it mounts, serves, switches to new versions of the
//! dataset and unmounts. `docs/SEMANTICS.md` says what a reader of the directory is
//! promised.

mod buffer;
mod fs;
mod fuse;
mod log_limit;
mod open_mode;
mod options;
mod passthrough;
mod plan;
mod prefetch;
mod session;
mod stats;
mod waiters;

#[cfg(test)]
extern crate self as forebay_fuse_client;
#[cfg(test)]
#[path = "../tests/support/memory_cache.rs"]
#[expect(dead_code, reason = "each test program needs a part of it")]
mod memory_cache;
#[cfg(test)]
#[path = "../tests/support/mounted.rs"]
#[expect(dead_code, reason = "each test program needs a part of it")]
mod mounted;

pub use fs::DatasetFs;
pub use fs::ahead::PlanProgress;
pub use fs::handle_log::HandleLog;
pub use open_mode::{Chosen, OpenMode, OpenModeChoice};
pub use options::MountOptions;
pub use plan::{Order as PlanOrder, PlanError, Ranks, Sampler, Spec as PlanSpec};
pub use session::{
    Mount, MountEntry, MountError, Place, Refreshed, Unmount, mount_at, preflight, refuse_waiting,
    unmount,
};
pub use stats::{FuseSnapshot, FuseStats};
