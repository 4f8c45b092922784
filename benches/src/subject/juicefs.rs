//! `juicefs mount`: its own format in the same S3 server, its metadata in Redis.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use forebay_tests::{Process, S3Client, find_program, free_ports, wait_until};

use super::mounted::{Mounted, utf8, version};
use super::{Role, Running, State, Subject};
use crate::site::Site;
use crate::workload::Workload;

/// Where it stores its blocks.
const BUCKET: &str = "juicefs";
const READY: Duration = Duration::from_secs(30);

/// Set up as its manual advises for data that does not change: attributes, names and open
/// files kept; a cache larger than the data, on a disk that may be nearly full.
const OPTIONS: &[&str] = &[
    "--read-only",
    "--attr-cache",
    "1000h",
    "--entry-cache",
    "1000h",
    "--dir-entry-cache",
    "1000h",
    "--open-cache",
    "1000h",
    "--cache-size",
    "1000000",
    "--free-space-ratio",
    "0.01",
    "--backup-meta",
    "0",
    "--no-bgjob",
    "--no-usage-report",
    "--no-syslog",
    "--metrics",
    "127.0.0.1:0",
];

/// JuiceFS, with the data written through it.
#[derive(Debug)]
pub struct JuiceFs {
    program: PathBuf,
    version: String,
    metadata: String,
    redis: Process,
}

impl JuiceFs {
    /// Its name in tables.
    pub const NAME: &'static str = "juicefs";

    /// A JuiceFS volume in the server of `site`, into which its data is written.
    ///
    /// # Errors
    /// If it or Redis is not installed, or a step fails.
    pub fn new(site: &Site) -> Result<Self> {
        let program = find_program("peers", "juicefs").context("juicefs is not installed")?;
        let redis =
            find_program("peers", "redis-server").context("redis-server is not installed")?;
        let dir = site.dir("juicefs-volume");
        let [port] = free_ports();
        let redis = start_redis(&redis, port, &dir)?;
        let volume = Self {
            version: version(&program, "version")?,
            program,
            metadata: format!("redis://127.0.0.1:{port}/1"),
            redis,
        };
        volume.format(site)?;
        volume.fill(site, &dir)?;
        Ok(volume)
    }

    fn format(&self, site: &Site) -> Result<()> {
        let endpoint = site.endpoint();
        S3Client::new(endpoint).create_bucket(BUCKET);
        let done = Command::new(&self.program)
            .args(["format", "--storage", "s3", "--no-update"])
            .args(["--bucket", &format!("{}/{BUCKET}", endpoint.url)])
            .args(["--trash-days", "0", &self.metadata, "bench"])
            .env("ACCESS_KEY", &endpoint.access_key)
            .env("SECRET_KEY", &endpoint.secret_key)
            .stdin(Stdio::null())
            .output()?;
        let said = String::from_utf8_lossy(&done.stderr);
        let last = said.lines().last().unwrap_or("no word");
        ensure!(
            done.status.success(),
            "juicefs format: {}: {last}",
            done.status
        );
        Ok(())
    }

    /// Writes the data through a mount, which is then taken down.
    fn fill(&self, site: &Site, dir: &Path) -> Result<()> {
        let point = dir.join("mnt");
        fs::create_dir_all(&point)?;
        let mut command = self.mount(&point, &dir.join("cache"))?;
        command.args(OPTIONS.iter().filter(|option| **option != "--read-only"));
        let mounted = Mounted::start(Self::NAME, &mut command, &point)?;
        let copied = Command::new("cp")
            .arg("-r")
            .arg(format!("{}/.", site.local().display()))
            .arg(&point)
            .status()?;
        ensure!(copied.success(), "copying into juicefs: {copied}");
        drop(mounted);
        fs::remove_dir_all(dir.join("cache"))?;
        Ok(())
    }

    fn mount(&self, point: &Path, cache: &Path) -> Result<Command> {
        let mut command = Command::new(&self.program);
        command.args([
            "mount",
            &self.metadata,
            utf8(point)?,
            "--cache-dir",
            utf8(cache)?,
        ]);
        Ok(command)
    }
}

fn start_redis(program: &Path, port: u16, dir: &Path) -> Result<Process> {
    let mut command = Command::new(program);
    command
        .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
        // Nothing to disk: it is gone with this process.
        .args(["--save", "", "--appendonly", "no", "--dir", utf8(dir)?]);
    let process = Process::start("redis-server", &mut command, &dir.join("redis.log"));
    let answers = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    ensure!(
        wait_until(READY, answers),
        "redis-server: {}",
        process.log()
    );
    Ok(process)
}

impl Subject for JuiceFs {
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
        let point = dir.join("mnt");
        fs::create_dir_all(&point)?;
        let mut command = self.mount(&point, &dir.join("cache"))?;
        let mounted = Mounted::start(Self::NAME, command.args(OPTIONS), &point)?;
        Ok(Box::new(mounted.served_by(self.redis.pid())))
    }
}
