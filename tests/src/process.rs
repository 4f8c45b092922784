//! Programs that end with the test.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::wait::wait_until;

/// How many lines of a log are shown when its program fails.
const TAIL: usize = 30;

/// Waits until the pipe to it closes, which the test's death does in whatever way the
/// test dies, and kills the process group that it was told.
const WATCH: &str = r#"cat >/dev/null; kill -s KILL -- "-$1""#;

/// A program and all that it starts, killed when this is dropped or the test dies.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    watcher: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` in a process group of its own; what it prints goes to `log`.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Self {
        let mut start = || -> io::Result<(Child, Child)> {
            let out = File::options().create(true).append(true).open(log)?;
            let err = out.try_clone()?;
            let command = command.stdin(Stdio::null()).stdout(out).stderr(err);
            let child = command.process_group(0).spawn()?;
            let watcher = watch(&child)?;
            Ok((child, watcher))
        };
        let (child, watcher) = start().unwrap_or_else(|error| panic!("start {name}: {error}"));
        Self {
            name: name.to_owned(),
            child,
            watcher,
            log: log.to_owned(),
            ended: None,
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended; `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child can be waited for");
        }
        self.ended
    }

    /// How it ends, if it does so within `limit`.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        wait_until(limit, || self.ended().is_some());
        self.ended
    }

    /// Sends `signal` to the process alone.
    pub fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            kill_process(self.group(), signal).expect("a child that was not waited for is there");
        }
    }

    /// Kills it and all that it started, as `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) {
        if self.ended.is_none() {
            // Not there any more: it has ended by itself, which the wait finds out.
            let _ = kill_process_group(self.group(), Signal::KILL);
            self.ended = self.child.wait().ok();
        }
    }

    /// Waits until `ready` says so.
    ///
    /// # Panics
    /// If the program ends before, or takes longer than `limit`, with the end of its log.
    pub fn wait_ready(&mut self, limit: Duration, mut ready: impl FnMut() -> bool) {
        let start = Instant::now();
        let mut status = None;
        let done = wait_until(limit, || {
            status = self.ended();
            status.is_some() || ready()
        });
        let name = &self.name;
        if let Some(status) = status {
            panic!(
                "{name} ended with {status} before it was ready\n{}",
                self.log_tail()
            );
        }
        assert!(
            done,
            "{name} is not ready after {:?}\n{}",
            start.elapsed(),
            self.log_tail()
        );
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines that it has printed.
    pub(crate) fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
        format!("--- the end of the log of {}\n{tail}\n---", self.name)
    }

    fn group(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // First the watcher: once the group is gone, its number may be another's.
        let _ = self.watcher.kill();
        let _ = self.watcher.wait();
        self.kill();
    }
}

/// Starts the watcher of `child`.
///
/// It is in a group of its own, so that an interrupt from the terminal, which ends the
/// test, leaves it to do its work.
fn watch(child: &Child) -> io::Result<Child> {
    Command::new("sh")
        .args(["-c", WATCH, "watch", &child.id().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    fn alive(pid: u32) -> bool {
        Path::new(&format!("/proc/{pid}")).exists()
    }

    #[test]
    fn a_dropped_process_is_gone_with_its_children() {
        let scratch = Scratch::new("process", 1);
        let log = scratch.path().join("log");
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 100 & echo $!; wait"]);
        let mut process = Process::start("sh", &mut shell, &log);
        let mut child = 0;
        let log_of_child = log.clone();
        process.wait_ready(Duration::from_secs(5), || {
            let log = fs::read_to_string(&log_of_child).unwrap_or_default();
            child = log.trim().parse().unwrap_or(0);
            child != 0
        });
        let pid = process.pid();
        assert!(alive(pid) && alive(child));
        drop(process);
        assert!(!alive(pid));
        assert!(wait_until(Duration::from_secs(5), || !alive(child)));
    }

    #[test]
    fn a_process_whose_test_dies_is_killed() {
        let mut child = Command::new("sleep")
            .arg("100")
            .process_group(0)
            .spawn()
            .unwrap();
        let mut watcher = watch(&child).unwrap();
        assert!(child.try_wait().unwrap().is_none());
        // As the kernel does for a process that dies.
        drop(watcher.stdin.take());
        assert!(watcher.wait().unwrap().success());
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    #[should_panic(expected = "no such thing")]
    fn a_program_that_ends_too_early_shows_its_log() {
        let scratch = Scratch::new("process", 1);
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo no such thing; exit 3"]);
        let mut process = Process::start("sh", &mut shell, &scratch.path().join("log"));
        process.wait_ready(Duration::from_secs(5), || false);
    }
}
