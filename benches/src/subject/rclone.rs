//! `rclone mount`, its cache of file contents in mode "full".

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use forebay_tests::{Endpoint, find_program};

use super::mounted::{Mounted, utf8, version};
use super::{Role, Running, State, Subject};
use crate::site::{BUCKET, Site};
use crate::workload::Workload;

/// Set up as its manual advises for data that does not change: whole files kept, listings
/// kept, no request for the modification time of each object, parts fetched in parallel.
const OPTIONS: &[&str] = &[
    "--read-only",
    "--vfs-cache-mode",
    "full",
    "--vfs-cache-max-age",
    "1000h",
    "--vfs-cache-poll-interval",
    "1000h",
    "--dir-cache-time",
    "1000h",
    "--attr-timeout",
    "1000h",
    "--vfs-read-chunk-streams",
    "8",
    "--vfs-read-chunk-size",
    "8M",
    "--use-server-modtime",
    "--no-checksum",
];

/// rclone.
#[derive(Debug)]
pub struct Rclone {
    program: PathBuf,
    version: String,
    endpoint: Endpoint,
}

impl Rclone {
    /// Its name in tables.
    pub const NAME: &'static str = "rclone";

    /// rclone over the bucket of `site`.
    ///
    /// # Errors
    /// If it is not installed.
    pub fn new(site: &Site) -> Result<Self> {
        let program = find_program("peers", "rclone").context("rclone is not installed")?;
        Ok(Self {
            version: version(&program, "version")?,
            program,
            endpoint: site.endpoint().clone(),
        })
    }
}

impl Subject for Rclone {
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
        std::fs::create_dir_all(&point)?;
        let mut command = Command::new(&self.program);
        command
            .args(["mount", &format!("store:{BUCKET}"), utf8(&point)?])
            .args(["--cache-dir", utf8(&cache)?, "--config", "/dev/null"])
            .args(OPTIONS)
            .env("RCLONE_CONFIG_STORE_TYPE", "s3")
            .env("RCLONE_CONFIG_STORE_PROVIDER", "Other")
            .env("RCLONE_CONFIG_STORE_ENDPOINT", &self.endpoint.url)
            .env(
                "RCLONE_CONFIG_STORE_ACCESS_KEY_ID",
                &self.endpoint.access_key,
            )
            .env(
                "RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY",
                &self.endpoint.secret_key,
            )
            .env("RCLONE_CONFIG_STORE_REGION", Endpoint::REGION);
        Ok(Box::new(Mounted::start(Self::NAME, &mut command, &point)?))
    }
}
