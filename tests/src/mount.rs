//! A real mount by the real binary, which a test can kill, stop and ask.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::endpoint::Endpoint;
use crate::memory_group::MemoryGroup;
use crate::netns::Namespace;
use crate::process::Process;
use crate::require::{binary, require_root_and_fuse};
use crate::wait::wait_until;

mod kernel;
mod watchdog;

pub use kernel::{is_mounted, take_down};
use watchdog::Watchdog;

/// How long a mount may take to be there, the listing of its sources included.
const READY: Duration = Duration::from_secs(60);
/// What a test may take if it does not say so.
const LIMIT: Duration = Duration::from_secs(120);
/// What a command on a mount may take, in seconds.
const COMMAND_SECS: &str = "60";

/// A mount to be made.
///
/// Everything lies in one directory: the mount point `mnt`, the cache `cache`, the run
/// directory `run` and the log. A second mount in the same directory finds the cache of
/// the first.
#[derive(Clone, Debug)]
pub struct MountCommand {
    dir: PathBuf,
    cache: PathBuf,
    has_cache: bool,
    namespace: Option<Namespace>,
    source: Option<String>,
    args: Vec<OsString>,
    env: Vec<(String, String)>,
    // The list of processes of a control group.
    group: Option<PathBuf>,
    limit: Duration,
}

impl MountCommand {
    /// `forebay mount SOURCE` in `dir`, which is best a directory of a
    /// [`Scratch`](crate::Scratch).
    pub fn new(source: &str, dir: &Path) -> Self {
        Self {
            source: Some(source.to_owned()),
            ..Self::without_source(dir)
        }
    }

    /// `forebay mount` in `dir`, its sources named by arguments.
    pub fn without_source(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            cache: dir.join("cache"),
            has_cache: true,
            namespace: None,
            source: None,
            args: Vec::new(),
            env: [
                // What is kept in memory would outlive the directory of the test.
                ("FOREBAY_MEMORY_SIZE", "0"),
                // The process that is started is the one that serves, and nobody follows it.
                ("FOREBAY_NO_SUPERVISE", "true"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
            group: None,
            limit: LIMIT,
        }
    }

    /// `forebay mount DATASET` in `dir`, through the cache server at `socket`.
    pub fn through(socket: &Path, dataset: &str, dir: &Path) -> Self {
        let mut command = Self::new(dataset, dir);
        // The cache and all that is said about it is the server's.
        command
            .env
            .retain(|(name, _)| name != "FOREBAY_MEMORY_SIZE");
        command.has_cache = false;
        let server = format!("--server=unix:{}", socket.display());
        command.args(&[&server])
    }

    /// With these arguments.
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(OsString::from));
        self
    }

    /// With this environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// From this S3 server, with its keys.
    pub fn endpoint(mut self, endpoint: &Endpoint) -> Self {
        for (name, value) in endpoint.environment() {
            self = self.env(name, value);
        }
        self.args(&["--endpoint", &endpoint.url, "--path-style"])
    }

    /// In this network namespace.
    pub fn inside(mut self, namespace: &Namespace) -> Self {
        self.namespace = Some(namespace.clone());
        self
    }

    /// As users mount: under a supervisor, which starts another process when the one that
    /// serves the mount dies.
    pub fn supervised(self) -> Self {
        self.env("FOREBAY_NO_SUPERVISE", "false")
    }

    /// With this cache directory, which is made if it is not there.
    pub fn cache(mut self, dir: &Path) -> Self {
        self.cache = dir.to_owned();
        self
    }

    /// With the memory of this group, which must live longer.
    pub fn within(mut self, group: &MemoryGroup) -> Self {
        self.group = Some(group.processes());
        self
    }

    /// The test takes no longer than this, or its mount is taken away from it.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The mount point.
    pub fn path(&self) -> PathBuf {
        self.dir.join("mnt")
    }

    /// The cache directory.
    pub fn cache_dir(&self) -> &Path {
        &self.cache
    }

    /// Mounts, and waits until the mount is there and can be asked.
    ///
    /// # Panics
    /// Without root or `/dev/fuse`, and if the mount does not come, with the log.
    pub fn start(self) -> Mount {
        require_root_and_fuse();
        let path = self.path();
        let mut process = Process::start("forebay mount", &mut self.command(), &self.log());
        let pid = process.pid();
        process.wait_ready(READY, || {
            kernel::is_mounted(&path) && self.is_published(pid)
        });
        let process = Arc::new(Mutex::new(process));
        let watchdog = Watchdog::start(self.limit, path, Arc::clone(&process));
        Mount {
            command: self,
            process,
            _watchdog: watchdog,
        }
    }

    /// Whether the process says in the run directory that it is ready to be asked.
    fn is_published(&self, pid: u32) -> bool {
        let entries = fs::read_dir(self.dir.join("run")).into_iter().flatten();
        entries.flatten().any(|entry| {
            let state = fs::read(entry.path().join("state.json")).ok();
            let state = state.and_then(|state| serde_json::from_slice(&state).ok());
            let serves = state.map(|state: serde_json::Value| state["pid"] == pid);
            serves == Some(true)
                || serves.is_some() && holder(&entry.path().join("supervisor")) == Some(pid)
        })
    }

    /// The processes that serve and supervise here, as far as they have said so.
    fn processes(&self) -> Vec<u32> {
        let entries = fs::read_dir(self.dir.join("run")).into_iter().flatten();
        entries
            .flatten()
            .flat_map(|entry| ["lock", "supervisor"].map(|lock| entry.path().join(lock)))
            .filter_map(|lock| holder(&lock))
            .collect()
    }

    /// Runs it to its end, for a mount that must not come: how it ended, and what it
    /// printed.
    ///
    /// # Panics
    /// If it still runs after `limit`; the mount is then taken down.
    pub fn refused(self, limit: Duration) -> (ExitStatus, String) {
        let mut process = Process::start("forebay mount", &mut self.command(), &self.log());
        let ended = process.wait(limit);
        let log = process.log();
        drop(process);
        kernel::take_down(&self.path());
        let ended = ended.unwrap_or_else(|| panic!("forebay mount runs after {limit:?}: {log}"));
        (ended, log)
    }

    /// Runs `forebay` with these arguments and the environment of the mount, and returns
    /// how it ended and what it printed.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=1", COMMAND_SECS])
            .arg(binary())
            .args(args);
        self.set_environment(&mut command);
        command.output().expect("timeout belongs to every Debian")
    }

    /// Starts `forebay` with these arguments and the environment of the mount; nobody
    /// listens to what it prints.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn started(&self, args: &[&str]) -> Child {
        let mut command = Command::new(binary());
        command.args(args).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        self.set_environment(&mut command);
        command.spawn().expect("the binary was found")
    }

    /// The command, for a test that starts it in its own way. The directories are made.
    ///
    /// # Panics
    /// If one cannot be made.
    pub fn command(&self) -> Command {
        let mut command = self.program();
        command.arg("mount").args(&self.source).arg(self.path());
        if self.has_cache {
            command.arg("--cache-dir").arg(&self.cache);
        }
        command.args(&self.args);
        for dir in [&self.path(), &self.cache, &self.dir.join("run")] {
            // A dead mount cannot be looked at, but it is there.
            if let Err(error) = fs::create_dir_all(dir)
                && !kernel::is_mounted(dir)
            {
                panic!("create {}: {error}", dir.display());
            }
        }
        self.set_environment(&mut command);
        command
    }

    /// The binary, in its namespace, or one that enters its group before it begins.
    fn program(&self) -> Command {
        if let Some(namespace) = &self.namespace {
            return namespace.command(&binary());
        }
        let Some(group) = &self.group else {
            return Command::new(binary());
        };
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"echo $$ >"$0" && exec "$@""#]);
        shell.arg(group).arg(binary());
        shell
    }

    fn set_environment(&self, command: &mut Command) {
        command.env("FOREBAY_RUN_DIR", self.dir.join("run"));
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
    }

    fn log(&self) -> PathBuf {
        self.dir.join("forebay.log")
    }
}

/// The process that has taken the lock file at `path`.
fn holder(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// A mount that is there. Dropping it takes it down, whatever state it is in.
#[derive(Debug)]
pub struct Mount {
    command: MountCommand,
    process: Arc<Mutex<Process>>,
    _watchdog: Watchdog,
}

impl Mount {
    /// The mount point.
    pub fn path(&self) -> PathBuf {
        self.command.path()
    }

    /// The process that serves it.
    pub fn pid(&self) -> u32 {
        self.process().pid()
    }

    /// The process that serves it under a supervisor; `None` while none does.
    pub fn serving_pid(&self) -> Option<u32> {
        let path = self.path();
        let status = self.run(&["status", path.to_str()?, "--json"]);
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).ok()?;
        status["fuse_client_pid"].as_u64()?.try_into().ok()
    }

    /// The process that served it last under a supervisor, alive or not.
    pub fn client_pid(&self) -> Option<u32> {
        let entries = fs::read_dir(self.command.dir.join("run"))
            .into_iter()
            .flatten();
        let locks = entries.flatten().map(|entry| entry.path().join("lock"));
        locks.filter_map(|lock| holder(&lock)).next()
    }

    /// Kills the process that serves it under a supervisor, as `kill -9`.
    ///
    /// # Panics
    /// If there is none.
    pub fn kill_client(&self) {
        let pid = self.client_pid().expect("a process serves");
        kill(pid, Signal::KILL);
    }

    /// What it has printed, and what those before it in the same directory have.
    pub fn log(&self) -> String {
        self.process().log()
    }

    /// What `forebay status --json` says about it.
    ///
    /// # Panics
    /// If it does not answer in JSON.
    pub fn status(&self) -> serde_json::Value {
        self.ask("status", &[])
    }

    /// Runs `forebay` with these arguments beside the mount, and returns how it ended and
    /// what it printed.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command.run(args)
    }

    /// Runs `forebay COMMAND` about this mount, with `--json` and these arguments, and
    /// returns what it says.
    ///
    /// # Panics
    /// If it fails or what it prints is not JSON.
    pub fn ask(&self, command: &str, args: &[&str]) -> serde_json::Value {
        let path = self.path();
        let path = path.to_str().expect("a scratch directory is UTF-8");
        let output = self.run(&[&[command, path, "--json"], args].concat());
        let said = serde_json::from_slice(&output.stdout).ok();
        said.filter(|_| output.status.success())
            .unwrap_or_else(|| panic!("forebay {command}: {output:?}"))
    }

    /// Kills the process as `kill -9`, and leaves the dead mount.
    pub fn crash(&self) {
        self.process().kill();
    }

    /// The warnings and errors in the log.
    pub fn alarms(&self) -> Vec<String> {
        let is_alarm = |line: &&str| {
            let level = line.split_whitespace().nth(1);
            matches!(level, Some("WARN" | "ERROR")) || line.contains("panicked at")
        };
        self.log()
            .lines()
            .filter(is_alarm)
            .map(ToOwned::to_owned)
            .collect()
    }

    /// Fails the test if the log has a warning or an error.
    ///
    /// # Panics
    /// With the lines.
    #[track_caller]
    pub fn assert_quiet(&self) {
        let alarms = self.alarms();
        assert!(alarms.is_empty(), "the log has {alarms:#?}");
    }

    /// Unmounts with `forebay umount` and waits for the end of the process.
    ///
    /// # Panics
    /// If either fails.
    pub fn unmount(self) {
        let path = self.path();
        let output = self.run(&[
            "umount",
            path.to_str().expect("a scratch directory is UTF-8"),
        ]);
        assert!(output.status.success(), "forebay umount: {output:?}");
        let ended = self.wait(Duration::from_secs(15));
        assert!(
            ended.is_some_and(|ended| ended.success()),
            "forebay mount: {ended:?}"
        );
        assert!(
            !kernel::is_mounted(&path),
            "{} is still mounted",
            path.display()
        );
    }

    /// Asks the process to end (SIGTERM); how it ends, if it does so within `limit`.
    pub fn terminate(&self, limit: Duration) -> Option<ExitStatus> {
        self.process().signal(Signal::TERM);
        self.wait(limit)
    }

    /// Kills the process as `kill -9`, and removes the dead mount that it leaves.
    pub fn kill(self) {
        self.process().kill();
        kernel::take_down(&self.path());
    }

    /// How the process ends, if it does so within `limit`.
    pub fn wait(&self, limit: Duration) -> Option<ExitStatus> {
        let mut ended = None;
        // The lock is let go in between: the watchdog may need it.
        wait_until(limit, || {
            ended = self.process().ended();
            ended.is_some()
        });
        ended
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // The connection first: whoever waits for an answer, the process itself not
        // excepted, then gets an error and can be killed.
        kernel::take_down(&self.path());
        // Those of a supervised mount are in groups of their own.
        let others = self.command.processes();
        self.process().kill();
        for pid in others {
            kill(pid, Signal::KILL);
        }
        kernel::take_down(&self.path());
    }
}

/// Sends a signal to a process, if it is there.
pub fn kill(pid: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
        let _ = kill_process(pid, signal);
    }
}
