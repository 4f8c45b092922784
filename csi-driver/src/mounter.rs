//! Who makes and serves the shared mounts of a node.

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use crate::secrets::Secrets;
use crate::spec::{MountKey, MountSpec};

mod host;
mod process;
mod runner;

pub use host::MountHost;
pub use process::{ProcessMounter, Program};
pub use runner::Runner;

/// Whether a mount is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// A process serves it and answers.
    Serving,
    /// No process does.
    Gone,
}

/// Why a mount was not made or taken away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MounterError {
    /// The spec is wrong: trying again does not help.
    #[error("{said}")]
    Wrong {
        /// What was said about it.
        said: String,
    },
    /// The source cannot be read.
    #[error("{said}")]
    Source {
        /// What was said about it.
        said: String,
    },
    /// The node: its cache, its kernel, or a process that is in the way.
    #[error("{said}")]
    Node {
        /// What was said about it.
        said: String,
    },
    /// It took too long.
    #[error("no answer after {seconds} s")]
    TimedOut {
        /// How long.
        seconds: u64,
    },
}

/// Makes, finds and ends shared mounts. Calls for one directory are never made at the
/// same time.
#[async_trait]
pub trait Mounter: Send + Sync + std::fmt::Debug {
    /// Serves `spec` at `dir`, which exists. If a mount is there that nobody serves, MUST
    /// take it over without an error for who reads it, or fail.
    /// Returns when it is ready. What it starts MUST outlive the driver.
    async fn start(
        &self,
        key: &MountKey,
        spec: &MountSpec,
        secrets: &Secrets,
        dir: &Path,
    ) -> Result<(), MounterError>;

    /// Whether `dir` is served. MUST NOT touch `dir`: it could hang.
    async fn state(&self, dir: &Path) -> Result<State, MounterError>;

    /// Ends what serves `dir`, and the mount with it; does nothing if there is nothing.
    async fn stop(&self, dir: &Path) -> Result<(), MounterError>;

    /// The directories that are served, whoever asked for them.
    async fn served(&self) -> Result<Vec<PathBuf>, MounterError>;
}
