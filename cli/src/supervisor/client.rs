//! A process that serves the mount, as the supervisor sees it.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::time::Instant;

use super::program::Program;
use super::start::Start;
use crate::reports::Report;

/// What a process may take to take over a mount, while readers wait.
pub(super) const TAKES_OVER: Duration = Duration::from_secs(30);

/// A process that serves the mount, or is about to.
#[derive(Debug)]
pub(super) struct Client {
    child: Child,
    pid: Pid,
    start: Start,
    started: Instant,
    orders: Option<ChildStdin>,
    reports: Option<Lines<BufReader<ChildStdout>>>,
    is_ready: bool,
    failed: Option<(u8, String)>,
}

/// Something that a client did.
#[derive(Debug)]
pub(super) enum Event {
    /// It said something.
    Report(Report),
    /// It ended.
    Ended(ExitStatus),
}

impl Client {
    /// Starts one.
    pub(super) fn spawn(program: &Program, start: Start) -> io::Result<Self> {
        let mut child = program.client(start)?.spawn()?;
        let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        Ok(Self {
            pid: pid.ok_or(io::ErrorKind::NotFound)?,
            start,
            started: Instant::now(),
            orders: child.stdin.take(),
            reports: child
                .stdout
                .take()
                .map(|reports| BufReader::new(reports).lines()),
            child,
            is_ready: false,
            failed: None,
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    pub(super) fn start(&self) -> Start {
        self.start
    }

    /// Whether it has said that the mount is ready.
    pub(super) fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// Whether it should have taken a mount over by now, and has not.
    pub(super) fn is_late(&self) -> bool {
        self.start == Start::Again && !self.is_ready && self.started.elapsed() >= TAKES_OVER
    }

    /// Why it ended, if it has said so: exit code and message.
    pub(super) fn failed(&self) -> Option<(u8, String)> {
        self.failed.clone()
    }

    /// Waits for what it does next.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub(super) async fn next(&mut self) -> Event {
        loop {
            let Some(reports) = &mut self.reports else {
                return Event::Ended(self.end().await);
            };
            // What it said before it ended comes before its end.
            match reports.next_line().await {
                Ok(Some(line)) => match Report::parse(&line) {
                    Some(report) => {
                        self.note(&report);
                        return Event::Report(report);
                    }
                    None => tracing::debug!(%line, "not understood"),
                },
                Ok(None) | Err(_) => self.reports = None,
            }
        }
    }

    fn note(&mut self, report: &Report) {
        match report {
            Report::Ready { .. } => self.is_ready = true,
            Report::Failed { exit, message } => self.failed = Some((*exit, message.clone())),
            Report::Listing { .. } | Report::Prepared => {}
        }
    }

    async fn end(&mut self) -> ExitStatus {
        match self.child.wait().await {
            Ok(status) => status,
            Err(error) => {
                tracing::error!(%error, "a child cannot be waited for");
                std::future::pending().await
            }
        }
    }

    /// Tells a successor that it may take over.
    pub(super) async fn go(&mut self) -> io::Result<()> {
        let mut orders = self.orders.take().ok_or(io::ErrorKind::BrokenPipe)?;
        orders.write_all(b"go\n").await
    }

    /// Sends it a signal; to one that has gone, nothing.
    pub(super) fn signal(&self, signal: Signal) {
        if self.child.id().is_some() {
            let _ = kill_process(self.pid, signal);
        }
    }
}
