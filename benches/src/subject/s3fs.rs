//! `s3fs` with its local cache.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use forebay_tests::{Endpoint, find_program};

use super::mounted::{Mounted, utf8, version};
use super::{Role, Running, State, Subject};
use crate::site::{BUCKET, Site};
use crate::workload::Workload;

/// Set up as its manual advises for data that does not change: attributes and pages kept,
/// parts fetched in parallel.
const OPTIONS: &str = "ro,use_path_request_style,kernel_cache,stat_cache_expire=100000,\
                       max_stat_cache_size=2000000,enable_noobj_cache,parallel_count=8,multireq_max=100";

/// s3fs.
#[derive(Debug)]
pub struct S3Fs {
    program: PathBuf,
    version: String,
    endpoint: Endpoint,
}

impl S3Fs {
    /// Its name in tables.
    pub const NAME: &'static str = "s3fs";

    /// s3fs over the bucket of `site`.
    ///
    /// # Errors
    /// If it is not installed.
    pub fn new(site: &Site) -> Result<Self> {
        let program = find_program("peers", "s3fs").context("s3fs is not installed")?;
        Ok(Self {
            version: version(&program, "--version")?,
            program,
            endpoint: site.endpoint().clone(),
        })
    }
}

impl Subject for S3Fs {
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
        let (point, cache, keys) = (dir.join("mnt"), dir.join("cache"), dir.join("keys"));
        fs::create_dir_all(&point)?;
        fs::create_dir_all(&cache)?;
        let pair = format!(
            "{}:{}\n",
            self.endpoint.access_key, self.endpoint.secret_key
        );
        fs::write(&keys, pair)?;
        // It refuses keys that others may read.
        fs::set_permissions(&keys, Permissions::from_mode(0o600))?;
        let place = format!(
            "url={},endpoint={},passwd_file={},use_cache={},tmpdir={}",
            self.endpoint.url,
            Endpoint::REGION,
            utf8(&keys)?,
            utf8(&cache)?,
            utf8(dir)?
        );
        let mut command = Command::new(&self.program);
        command.args([BUCKET, utf8(&point)?, "-f", "-o", &place, "-o", OPTIONS]);
        Ok(Box::new(Mounted::start(Self::NAME, &mut command, &point)?))
    }
}
