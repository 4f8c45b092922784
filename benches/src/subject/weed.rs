//! `weed mount`: SeaweedFS's own file system, past S3.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use forebay_tests::find_program;

use super::mounted::{Mounted, utf8, version};
use super::{Role, Running, State, Subject};
use crate::site::{BUCKET, Site};
use crate::workload::Workload;

/// SeaweedFS's mount. It reads chunks from the volume server itself, so it has no S3
/// gateway between it and the data, as the others have.
#[derive(Debug)]
pub struct WeedMount {
    program: PathBuf,
    version: String,
    filer: String,
    cache_mib: u64,
}

impl WeedMount {
    /// Its name in tables.
    pub const NAME: &'static str = "weed mount";

    /// A mount of the bucket's directory in the filer of `site`.
    ///
    /// # Errors
    /// If it is not installed.
    pub fn new(site: &Site) -> Result<Self> {
        let program = find_program("seaweedfs", "weed").context("weed is not installed")?;
        Ok(Self {
            version: version(&program, "version")?,
            program,
            filer: site.server().filer(),
            // Room for all, and for what rounding takes.
            cache_mib: (site.data().bytes() >> 20) * 2 + 1024,
        })
    }
}

impl Subject for WeedMount {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    fn role(&self) -> Role {
        Role::Peer
    }

    fn plays(&self, _: Workload, _: State) -> bool {
        true
    }

    fn start(&self, dir: &Path) -> Result<Box<dyn Running>> {
        let (point, cache) = (dir.join("mnt"), dir.join("cache"));
        fs::create_dir_all(&point)?;
        fs::create_dir_all(&cache)?;
        let mut command = Command::new(&self.program);
        command
            .current_dir(dir)
            .args(["-logtostderr=true", "mount", "-readOnly"])
            .arg(format!("-filer={}", self.filer))
            .arg(format!("-filer.path=/buckets/{BUCKET}"))
            .arg(format!("-dir={}", utf8(&point)?))
            .arg(format!("-cacheDir={}", utf8(&cache)?))
            .arg(format!("-cacheCapacityMB={}", self.cache_mib))
            .args(["-cacheMetaTtlSec=100000", "-localSocket=mount.sock"]);
        Ok(Box::new(Mounted::start(Self::NAME, &mut command, &point)?))
    }
}
