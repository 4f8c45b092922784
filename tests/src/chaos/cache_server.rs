//! A cache server in a process of its own, which can go and come back.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::endpoint::Endpoint;
use crate::process::Process;
use crate::require::binary;

/// How long it may take to be there, on a busy machine and with a cache to recover.
const READY: Duration = Duration::from_secs(30);
/// How long it may take to end.
const ENDS: Duration = Duration::from_secs(30);

/// The server of one dataset.
pub(super) struct CacheServer {
    dir: PathBuf,
    cache: PathBuf,
    quota: u64,
    endpoint: Endpoint,
    process: Option<Process>,
}

impl CacheServer {
    /// The name of the dataset.
    pub(super) const DATASET: &'static str = "chaos";

    /// Starts one in `dir` for `bucket`, with a cache of `quota` bytes in `cache`.
    pub(super) fn start(
        (dir, cache): (&Path, &Path),
        quota: u64,
        bucket: &str,
        endpoint: &Endpoint,
    ) -> Self {
        fs::create_dir_all(dir).expect("a scratch directory takes another");
        let name = Self::DATASET;
        let url = &endpoint.url;
        let config = format!(
            "[[dataset]]\nname = \"{name}\"\nurl = \"s3://{bucket}\"\nendpoint = \"{url}\"\npath-style = true\n"
        );
        fs::write(dir.join("server.toml"), config).expect("a scratch directory takes a file");
        let mut server = Self {
            dir: dir.to_owned(),
            cache: cache.to_owned(),
            quota,
            endpoint: endpoint.clone(),
            process: None,
        };
        server.come();
        server
    }

    /// Where clients connect.
    pub(super) fn socket(&self) -> PathBuf {
        self.dir.join("run/cache.sock")
    }

    /// Kills it.
    pub(super) fn kill(&mut self) {
        self.process = None;
    }

    /// Asks it to end; what was not in order about that.
    pub(super) fn stop(&mut self) -> Option<String> {
        let mut process = self.process.take()?;
        process.signal(Signal::TERM);
        let ended = process.wait(ENDS);
        let in_order = ended.is_some_and(|ended| ended.success());
        (!in_order).then(|| format!("the cache server ended with {ended:?}"))
    }

    /// Starts it again.
    pub(super) fn come(&mut self) {
        let mut command = Command::new(binary());
        command
            .arg("cache-server")
            .arg("--config")
            .arg(self.dir.join("server.toml"))
            .arg("--cache-dir")
            .arg(&self.cache)
            .args(["--cache-size", &self.quota.to_string()])
            .args(["--memory-size", "0"])
            .env("FOREBAY_RUN_DIR", self.dir.join("run"));
        for (name, value) in self.endpoint.environment() {
            command.env(name, value);
        }
        let log = self.dir.join("server.log");
        let mut process = Process::start("forebay cache-server", &mut command, &log);
        let socket = self.socket();
        process.wait_ready(READY, || UnixStream::connect(&socket).is_ok());
        self.process = Some(process);
    }

    /// What it and those before it have printed.
    pub(super) fn log(&self) -> String {
        let log = fs::read(self.dir.join("server.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }
}
