//! What the processes of a mount write down for others.

use std::fs;
use std::io;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Error;

/// Something that is written down in a run directory.
pub(super) trait Record: Serialize + DeserializeOwned {
    /// The file.
    const FILE: &'static str;
}

/// What a process says of its mount to who looks for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The mount point, lossily as text.
    pub mountpoint: String,
    /// The process.
    pub pid: u32,
    /// The version of its program.
    #[serde(default)]
    pub program: String,
    /// The dataset version that new opens see.
    pub version: String,
    /// The sources.
    pub sources: Vec<StateSource>,
    /// When the mount was ready, in seconds since 1970-01-01 UTC.
    pub started_unix_seconds: u64,
}

impl Record for State {
    const FILE: &'static str = "state.json";
}

/// One source of a mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateSource {
    /// The directory in the tree; empty for the whole tree.
    pub name: String,
    /// The identity of the place.
    pub url: String,
}

/// What a process that takes a mount over must know, beside what was configured.
///
/// It is written before the kernel can learn of what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// The device number of the mount, as `major:minor`.
    pub device: String,
    /// The dataset versions that were served, in the order in which they came: inode
    /// numbers depend on it.
    pub versions: Vec<String>,
    /// The one of them that new opens see.
    pub current: String,
}

impl Record for Served {
    const FILE: &'static str = "served.json";
}

/// How a mount goes, as its supervisor sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Course {
    /// The processes that were started in the place of one that had died.
    pub restarts: u64,
    /// The keeper; 0 while there is none.
    pub keeper_pid: u32,
    /// How the last process that died ended.
    pub last_end: Option<String>,
    /// Whether process after process dies.
    pub crash_loop: bool,
}

impl Record for Course {
    const FILE: &'static str = "course.json";
}

/// What is written down in `dir`, if anything that is understood is.
pub(super) fn read<R: Record>(dir: &Path) -> Option<R> {
    let text = fs::read(dir.join(R::FILE)).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Writes a record down in `dir`, in one step for who reads it.
pub(super) fn write<R: Record>(dir: &Path, record: &R) -> Result<(), Error> {
    let path = dir.join(R::FILE);
    let draft = dir.join(format!("{}.new", R::FILE));
    let text = serde_json::to_vec_pretty(record).map_err(io::Error::from);
    text.and_then(|text| fs::write(&draft, text))
        .and_then(|()| fs::rename(&draft, &path))
        .map_err(|source| Error::Io { path, source })
}
