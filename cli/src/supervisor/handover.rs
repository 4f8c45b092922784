//! Putting another program in the place of the one that serves.
//!
//! The successor is started beside the process that serves, does all that it can do there
//! (reads its configuration, opens the versions), and says so. Then the old one is killed,
//! exactly as if it had crashed: there is one way to take a mount over, and it is tried
//! every time. If the successor fails before, nothing has happened; if it fails later, the
//! old program is started again.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use forebay_proto::mount::v1::UpgradeResponse;
use rustix::process::Signal;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::client::{Client, Event, TAKES_OVER};
use super::control::Asked;
use super::program::Program;
use super::start::Start;
use super::{Step, Supervisor};
use crate::exit::{Exit, Failure};
use crate::reports::Report;
use crate::rundir::RunDir;

/// What a successor may take for what it does beside the old process.
const PREPARES: Duration = Duration::from_secs(120);

/// A successor on its way.
#[derive(Debug)]
pub(super) struct Handover {
    successor: Client,
    program: Program,
    phase: Phase,
    deadline: Instant,
    from: From,
    asker: oneshot::Sender<Result<UpgradeResponse, Failure>>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The old process serves.
    Preparing,
    /// It was killed then.
    Taking { since: Instant },
}

/// What is replaced.
#[derive(Debug)]
struct From {
    pid: u32,
    program: String,
}

impl Handover {
    fn begin(old: &Client, dir: &RunDir, asked: Asked) -> Result<Self, (Asked, Failure)> {
        let path = Path::new(&asked.program);
        let started = Program::open(path).and_then(|program| {
            let successor = Client::spawn(&program, Start::Successor)?;
            Ok((program, successor))
        });
        let (program, successor) = match started {
            Ok(started) => started,
            Err(error) => {
                let text = format!("{} cannot be started: {error}", path.display());
                return Err((asked, Failure::new(Exit::Usage, text)));
            }
        };
        tracing::info!(program = %path.display(), pid = successor.pid(), "a successor prepares");
        Ok(Self {
            successor,
            program,
            phase: Phase::Preparing,
            deadline: Instant::now() + PREPARES,
            from: From {
                pid: old.pid(),
                program: version(dir),
            },
            asker: asked.asker,
        })
    }

    pub(super) fn client(&mut self) -> &mut Client {
        &mut self.successor
    }

    /// The process before has ended; true if that was what the successor waits for.
    pub(super) async fn predecessor_ended(&mut self) -> bool {
        if !matches!(self.phase, Phase::Taking { .. }) {
            return false;
        }
        if let Err(error) = self.successor.go().await {
            // It has ended as well, which is heard of next.
            tracing::warn!(%error, "the successor does not listen");
        }
        true
    }

    /// Ends a successor that takes too long.
    pub(super) fn check_time(&mut self) {
        if Instant::now() >= self.deadline {
            tracing::error!(
                pid = self.successor.pid(),
                "the successor takes too long: killed"
            );
            self.successor.signal(Signal::KILL);
        }
    }

    /// Ends the successor, and tells who asked for it why.
    pub(super) fn give_up(self, why: &str) {
        self.successor.signal(Signal::KILL);
        let program = self.program.path().display();
        let failure = Failure::new(Exit::Failed, format!("{program} did not take over: {why}"));
        // Who asked may have gone.
        let _ = self.asker.send(Err(failure));
    }

    fn why(&self) -> String {
        match self.successor.failed() {
            Some((_, message)) => message,
            None => "it ended without a word; see its log".to_owned(),
        }
    }
}

impl Supervisor<'_> {
    pub(super) fn on_upgrade(&mut self, asked: Asked) -> Step {
        let refused = match &self.client {
            Some(client) if client.is_ready() && self.handover.is_none() => {
                match Handover::begin(client, self.station.dir(), asked) {
                    Ok(handover) => {
                        self.handover = Some(handover);
                        return Step::Continue(());
                    }
                    Err(refused) => refused,
                }
            }
            _ => {
                let text = "another process is just taking over";
                (asked, Failure::new(Exit::Failed, text).next("try again"))
            }
        };
        let (asked, failure) = refused;
        // Who asked may have gone.
        let _ = asked.asker.send(Err(failure));
        Step::Continue(())
    }

    pub(super) async fn on_successor(&mut self, event: Event) -> Step {
        match event {
            Event::Report(Report::Prepared) => self.replace(),
            Event::Report(Report::Ready { .. }) => self.replaced(),
            Event::Report(_) => {}
            Event::Ended(_) => self.not_replaced(),
        }
        ControlFlow::Continue(())
    }

    /// The successor is prepared: nothing is in its way but the one that serves.
    fn replace(&mut self) {
        let (Some(handover), Some(client)) = (&mut self.handover, &self.client) else {
            return;
        };
        let since = Instant::now();
        handover.phase = Phase::Taking { since };
        handover.deadline = since + TAKES_OVER;
        client.signal(Signal::KILL);
    }

    fn replaced(&mut self) {
        let Some(handover) = self.handover.take() else {
            return;
        };
        let pause = match handover.phase {
            Phase::Taking { since } => since.elapsed(),
            Phase::Preparing => Duration::ZERO,
        };
        let (from, to) = (handover.from, handover.successor.pid());
        tracing::info!(
            from = from.pid,
            to,
            ?pause,
            "another program serves the mount"
        );
        let answer = UpgradeResponse {
            from_pid: from.pid,
            to_pid: to,
            from_program: from.program,
            to_program: version(self.station.dir()),
            pause_seconds: pause.as_secs_f64(),
        };
        self.program = handover.program;
        self.client = Some(handover.successor);
        self.ready_since = Some(Instant::now());
        self.unserved_since = None;
        // Who asked may have gone.
        let _ = handover.asker.send(Ok(answer));
    }

    /// The successor has ended: the old program serves on, or again.
    fn not_replaced(&mut self) {
        let Some(handover) = self.handover.take() else {
            return;
        };
        let why = handover.why();
        tracing::error!(%why, "the successor did not take over");
        handover.give_up(&why);
        if self.client.is_none() {
            self.restart_at = Some(Instant::now());
        }
    }
}

/// The version of the program that serves, as it has said.
fn version(dir: &RunDir) -> String {
    dir.state().map(|state| state.program).unwrap_or_default()
}
