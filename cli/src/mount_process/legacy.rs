//! What a process before this one has left of its mount.

use std::path::Path;
use std::sync::Arc;

use forebay_core::manifest::{Manifest, VersionId};
use forebay_fuse_client::Place;

use crate::exit::{Exit, Failure};
use crate::rundir::RunDir;

/// The versions that were served, and where.
#[derive(Debug)]
pub(super) struct Legacy {
    device: String,
    /// In the order in which they came.
    pub(super) versions: Vec<VersionId>,
    /// The one that new opens see.
    pub(super) current: VersionId,
}

impl Legacy {
    /// Reads what is written down in `run_dir`.
    ///
    /// # Errors
    /// If nothing is, or what is makes no sense.
    pub(super) fn read(run_dir: &RunDir) -> Result<Self, Failure> {
        let served = run_dir.served();
        let served = served.ok_or_else(|| unknown("no process has left a record"))?;
        let versions = served.versions.iter().map(|text| parse(text));
        Ok(Self {
            device: served.device,
            versions: versions.collect::<Result<_, _>>()?,
            current: parse(&served.current)?,
        })
    }

    /// The manifest of the current version among those of all.
    ///
    /// # Errors
    /// If it is not there.
    pub(super) fn current_of(&self, versions: &[Arc<Manifest>]) -> Result<Arc<Manifest>, Failure> {
        let current = versions
            .iter()
            .find(|manifest| manifest.version() == self.current);
        current
            .cloned()
            .ok_or_else(|| unknown("the current version was never served"))
    }

    /// Where the mount is.
    pub(super) fn place(&self, mountpoint: &Path) -> Place {
        Place {
            mountpoint: mountpoint.to_owned(),
            device: self.device.clone(),
        }
    }
}

fn parse(text: &str) -> Result<VersionId, Failure> {
    text.parse()
        .map_err(|_| unknown("a version in the record is none"))
}

fn unknown(why: &str) -> Failure {
    Failure::new(
        Exit::Mount,
        format!("the mount cannot be taken over: {why}"),
    )
}
