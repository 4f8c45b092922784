//! A mount by another program, unmounted and ended when it is dropped.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use forebay_tests::{Process, is_mounted, take_down, wait_until};

use super::{Running, State};
use crate::process;
use crate::workload::{Load, Pass};

/// How long a mount may take to be there.
const READY: Duration = Duration::from_secs(60);
/// How long a program may take to end by itself once its mount is gone.
const END: Duration = Duration::from_secs(10);
/// How long one pass may take; a mount that hangs is then taken away from its readers.
const PASS: Duration = Duration::from_secs(900);

/// A program in the foreground and the mount that it serves.
#[derive(Debug)]
pub(super) struct Mounted {
    process: Process,
    point: PathBuf,
    /// Others that serve it, such as a database.
    also: Vec<u32>,
}

impl Mounted {
    /// Runs `command`, which must mount on `point`, and waits until it has.
    pub(super) fn start(name: &str, command: &mut Command, point: &Path) -> Result<Self> {
        let log = point.with_extension("log");
        let mut process = Process::start(name, command, &log);
        let mut ended = None;
        let there = wait_until(READY, || {
            ended = process.ended();
            ended.is_some() || is_mounted(point)
        });
        if ended.is_some() || !there {
            let end = ended.map_or_else(|| format!("no mount after {READY:?}"), |e| e.to_string());
            let log = process.log();
            let last = log.lines().rev().find(|line| !line.trim().is_empty());
            bail!("{name}: {end}: {}", last.unwrap_or("no word"));
        }
        Ok(Self {
            process,
            point: point.to_owned(),
            also: Vec::new(),
        })
    }

    /// Counts process `pid` among those that serve the mount.
    pub(super) fn served_by(mut self, pid: u32) -> Self {
        self.also.push(pid);
        self
    }
}

impl Running for Mounted {
    fn pids(&self) -> Vec<u32> {
        let mut pids = process::family(self.process.pid());
        pids.extend(&self.also);
        pids
    }

    fn pass(&self, load: &Load<'_>, _: State) -> Result<Pass> {
        let (done, waiting) = mpsc::channel::<()>();
        thread::scope(|scope| {
            scope.spawn(move || {
                if waiting.recv_timeout(PASS) == Err(RecvTimeoutError::Timeout) {
                    take_down(&self.point);
                }
            });
            let pass = load.run(&self.point);
            drop(done);
            pass
        })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        take_down(&self.point);
        self.process.wait(END);
        self.process.kill();
        take_down(&self.point);
    }
}

/// The first line with a digit that `program` prints when asked for its version.
pub(super) fn version(program: &Path, argument: &str) -> Result<String> {
    let done = Command::new(program)
        .arg(argument)
        .output()
        .with_context(|| format!("start {}", program.display()))?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let line = text
        .lines()
        .find(|line| line.contains(|c: char| c.is_ascii_digit()));
    // The first word with a digit, without what build systems append.
    let word = line
        .and_then(|line| {
            line.split_whitespace()
                .find(|word| word.contains(|c: char| c.is_ascii_digit()))
        })
        .context("a version without a number")?;
    let word = word.split(['+', '(']).next().unwrap_or(word);
    Ok(word
        .trim_start_matches(['v', 'V'])
        .trim_end_matches(',')
        .to_owned())
}

/// `path` as an argument.
pub(super) fn utf8(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))
}
