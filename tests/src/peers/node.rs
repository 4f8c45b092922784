//! One machine of a cluster.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::Signal;

use super::{Authority, PeerCluster};
use crate::bucket::Bucket;
use crate::endpoint::Endpoint;
use crate::mount::MountCommand;
use crate::netns::Namespace;
use crate::process::Process;
use crate::require::binary;
use crate::wait::wait_until;

/// For what takes a moment, on a busy machine.
const READY: Duration = Duration::from_secs(30);

/// A cache server in a namespace, and what is its own.
#[derive(Debug)]
pub struct Node {
    namespace: Namespace,
    dir: PathBuf,
    endpoint: Endpoint,
    cache: u64,
    members: Vec<String>,
    server: Mutex<Option<Process>>,
}

impl Node {
    /// Where the servers listen to each other.
    pub const PORT: u16 = 7070;

    /// A node that keeps its files in `dir`; `members` are the addresses of all.
    pub(super) fn new(
        namespace: Namespace,
        dir: PathBuf,
        endpoint: &Endpoint,
        cache: u64,
        members: &[String],
    ) -> Self {
        Self {
            namespace,
            dir,
            endpoint: endpoint.clone(),
            cache,
            members: members.to_vec(),
            server: Mutex::default(),
        }
    }

    /// Its network.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Where the others reach its server.
    pub fn address(&self) -> String {
        format!("{}:{}", self.namespace.address(), Self::PORT)
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The socket for mounts.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("cache.sock")
    }

    /// Where the server says how it is.
    pub fn metrics_socket(&self) -> PathBuf {
        self.dir.join("cache.metrics.sock")
    }

    /// Gives the server a new certificate. A server that runs finds it by itself.
    pub fn certify(&self, authority: &Authority) {
        authority.certify(&self.dir);
    }

    /// Lets the server start without a certificate, and trust everybody.
    pub fn go_without_certificate(&self) {
        // It need not have one.
        let _ = fs::remove_file(self.dir.join("cert.pem"));
    }

    /// Writes the server's configuration; it has certificates if it was certified.
    fn configure(&self) -> PathBuf {
        let Self {
            dir,
            endpoint,
            members,
            ..
        } = self;
        let path = |name: &str| dir.join(name).display().to_string();
        let mut text = format!(
            "socket = {:?}\ncache-dir = {:?}\ncache-size = \"{}\"\nmemory-size = \"0\"\n\
             peer-listen = {:?}\npeer = {members:?}\n",
            path("cache.sock"),
            path("cache"),
            self.cache,
            self.address(),
        );
        // Writing to a String cannot fail.
        let _ = match dir.join("cert.pem").exists() {
            true => writeln!(
                text,
                "peer-cert = {:?}\npeer-key = {:?}\npeer-ca = {:?}",
                path("cert.pem"),
                path("key.pem"),
                path("ca.pem")
            ),
            false => writeln!(text, "peer-insecure = true"),
        };
        let _ = writeln!(
            text,
            "[[dataset]]\nname = {:?}\nurl = \"s3://{}\"\nendpoint = {:?}\npath-style = true",
            PeerCluster::DATASET,
            Bucket::NAME,
            endpoint.url
        );
        let config = dir.join("server.toml");
        fs::write(&config, text).expect("the directory of the node was made");
        config
    }

    /// Starts the server, and returns when it takes clients.
    ///
    /// # Panics
    /// If it does not come, with its log.
    pub fn start_server(&self) {
        let mut command = self.namespace.command(&binary());
        command
            .args(["cache-server", "--config"])
            .arg(self.configure());
        command.env("FOREBAY_RUN_DIR", self.dir.join("run"));
        command.envs(self.endpoint.environment());
        let mut process = Process::start(
            "forebay cache-server",
            &mut command,
            &self.dir.join("server.log"),
        );
        let socket = self.socket();
        process.wait_ready(READY, || UnixStream::connect(&socket).is_ok());
        *self.server() = Some(process);
    }

    /// Kills the server, as `kill -9`.
    pub fn kill_server(&self) {
        // Dropped, it is killed.
        drop(self.server().take());
    }

    /// Asks the server to end (SIGTERM) and waits until it has; how it ended.
    ///
    /// # Panics
    /// If it does not run, or does not end.
    pub fn end_server(&self) -> ExitStatus {
        let mut process = self.server().take().expect("a server runs");
        process.signal(Signal::TERM);
        let ended = process.wait(READY);
        ended.unwrap_or_else(|| panic!("the server runs on\n{}", process.log()))
    }

    /// The process id of the server; `None` if none runs.
    pub fn server_pid(&self) -> Option<u32> {
        self.server().as_ref().map(Process::pid)
    }

    /// What the server, and those before it, have printed.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("server.log")).unwrap_or_default()
    }

    /// Waits until the server sees `count` members, itself included.
    ///
    /// # Panics
    /// If it does not, with its log.
    #[track_caller]
    pub fn sees(&self, count: usize) {
        let mut seen = 0.0;
        let enough = wait_until(READY, || {
            seen = self.metric("forebay_peer_members").unwrap_or(0.0);
            seen == count as f64
        });
        let address = self.address();
        assert!(
            enough,
            "{address} sees {seen} members of {count}\n{}",
            self.log()
        );
    }

    /// The same of a server that has just begun, once it answers.
    ///
    /// # Panics
    /// If it does not, with its log.
    pub fn first_metric(&self, name: &str) -> f64 {
        let mut value = None;
        wait_until(READY, || {
            value = self.metric(name);
            value.is_some()
        });
        value.unwrap_or_else(|| panic!("{} has no {name}\n{}", self.address(), self.log()))
    }

    /// The value of a metric of the server without labels; `None` if it does not answer.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let page = self.metrics()?;
        let mut samples = page.lines().filter_map(|line| line.rsplit_once(' '));
        let (_, value) = samples.find(|(found, _)| *found == name)?;
        value.parse().ok()
    }

    fn metrics(&self) -> Option<String> {
        let mut stream = UnixStream::connect(self.metrics_socket()).ok()?;
        let request = "GET /metrics HTTP/1.1\r\nhost: forebay\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// Has the servers of the cluster bring the dataset, asked at this one, with these
    /// further arguments of `forebay warmup`; how that ended, as it says in JSON.
    ///
    /// # Panics
    /// If it says nothing.
    pub fn warm_up(&self, args: &[&str]) -> serde_json::Value {
        let server = format!("unix:{}", self.socket().display());
        let done = Command::new(binary())
            .args([
                "warmup",
                "--server",
                &server,
                PeerCluster::DATASET,
                "--json",
            ])
            .args(args)
            .env("FOREBAY_RUN_DIR", self.dir.join("run"))
            .output();
        let done = done.expect("the binary was found");
        let said = String::from_utf8_lossy(&done.stdout);
        let last = said.lines().last().unwrap_or_default();
        let last = serde_json::from_str(last).ok();
        let mut last: serde_json::Value =
            last.unwrap_or_else(|| panic!("forebay warmup: {done:?}\n{}", self.log()));
        last["summary"].take()
    }

    /// A mount of the dataset through this node's server, in the directory `name` of the
    /// node.
    pub fn mount(&self, name: &str) -> MountCommand {
        MountCommand::through(&self.socket(), PeerCluster::DATASET, &self.dir.join(name))
            .inside(&self.namespace)
    }

    fn server(&self) -> MutexGuard<'_, Option<Process>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
