//! Processes that outlive `xtask`: started apart from it, recorded, ended by their record.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::layout::Layout;
use crate::command;

const POLL: Duration = Duration::from_millis(50);
/// How long a process may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(15);

/// A process as it was recorded.
#[derive(Debug)]
pub(super) struct Recorded {
    /// What it is called here.
    pub(super) name: String,
    /// Its process id at that time.
    pub(super) pid: u32,
    /// When it was started, in clock ticks since boot: a pid may be given out again.
    started: String,
}

/// Starts `program` in a process group of its own and records it as `name`.
pub(super) fn start(layout: &Layout, name: &str, program: &str, args: &[String]) -> Result<u32> {
    let path = layout.log(name);
    let parent = path.parent().context("a log has a folder")?;
    fs::create_dir_all(parent)?;
    let log = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("open {}", path.display()))?;
    let child = Command::new(program)
        .args(args)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .with_context(|| format!("start {program}"))?;
    let pid = child.id();
    let started = start_time(pid).with_context(|| format!("{name} has ended at once"))?;
    super::write(&layout.pids().join(name), &format!("{pid} {started}"))?;
    Ok(pid)
}

/// All records, in the order of their names.
pub(super) fn recorded(dir: &Path) -> Result<Vec<Recorded>> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Ok(Vec::new());
    };
    let mut all = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let text = fs::read_to_string(&path)?;
        let Some((pid, started)) = text.split_once(' ') else {
            continue;
        };
        all.push(Recorded {
            name: path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into(),
            pid: pid.parse().context("read a pid")?,
            started: started.to_owned(),
        });
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// The record of that name.
pub(super) fn find(layout: &Layout, name: &str) -> Result<Recorded> {
    let found = recorded(&layout.pids())?
        .into_iter()
        .find(|process| process.name == name);
    found
        .with_context(|| format!("no process {name} is recorded; see `cargo xtask cluster status`"))
}

impl Recorded {
    /// Whether this very process lives.
    pub(super) fn is_alive(&self) -> bool {
        start_time(self.pid).is_some_and(|started| started == self.started)
    }

    /// Ends it: asks, waits, kills, waits.
    pub(super) fn end(&self) -> Result<()> {
        for signal in ["-TERM", "-KILL"] {
            if !self.is_alive() {
                return Ok(());
            }
            // It may end between the look and the signal.
            let _ = command::quiet("kill", &[signal, &self.pid.to_string()]);
            if until(PATIENCE, || !self.is_alive()) {
                return Ok(());
            }
        }
        bail!("{} (pid {}) does not end", self.name, self.pid)
    }
}

/// Waits until `done`; `false` if it took too long.
pub(super) fn until(patience: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if done() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(POLL);
    }
}

/// When the process was started (proc(5), stat, field 22); `None` for none and for one
/// that has ended and only waits to be collected.
fn start_time(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold blanks and parentheses.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_alive_only_under_its_own_start_time() {
        let pid = std::process::id();
        let mut record = Recorded {
            name: "self".into(),
            pid,
            started: start_time(pid).expect("alive"),
        };
        assert!(record.is_alive());
        record.started = "0".into();
        assert!(!record.is_alive());
    }
}
