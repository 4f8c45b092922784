//! The process above the one that serves a mount.
//!
//! It starts two processes: the keeper, which holds the mount's connection to the kernel
//! and does nothing else, and the client, which serves the mount. When the client dies
//! another is started, which fetches the connection from the keeper and goes on. Readers
//! see a pause. A new program is put in the place of the old one in the same way, except
//! that it has done all it can before the old one is ended.
//!
//! The supervisor does as little as it can, so that it has nothing to die of. If it is
//! killed all the same, the mount is served on, and is lost only with its client.

use std::io;
use std::ops::ControlFlow;
use std::process::ExitStatus;
use std::time::Duration;

use forebay_fuse_client::{Unmount, mount_at, unmount};
use rustix::process::Signal;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use crate::audience::{Audience, Listed};
use crate::config::MountConfig;
use crate::exit::{Exit, Failure};
use crate::reports::Report;
use crate::rundir::{self, Course, RunDir, Station};
use crate::signals::{Signals, Wish};
use crate::telemetry;

mod client;
mod control;
mod handover;
mod keeper;
mod program;
mod restarts;
mod start;

use client::{Client, Event as ClientEvent};
use control::{Asked, Control};
use handover::Handover;
use keeper::Keeper;
use program::Program;
use restarts::Restarts;
pub(crate) use start::Start;

/// How often is looked at what nobody tells: whether a mount without a client is still
/// there, whether a keeper is missing, whether a successor takes too long.
const LOOK: Duration = Duration::from_secs(1);

/// From this signal on nobody is asked any more.
const PATIENCE: u32 = 3;

/// What a shell reports of a program that was killed by signal 0.
const KILLED: i32 = 128;

/// Who waits for the mount to be ready, and is told.
pub(crate) trait Watcher: Audience {
    /// The mount is ready.
    ///
    /// # Errors
    /// If nobody waits any more: the mount is then given up.
    fn ready(&self, line: &str) -> io::Result<()>;
}

/// Supervises the mount of this process's command line until it ends; returns the exit
/// code of the process that served it.
///
/// # Errors
/// The [`Failure`] with which the mount could not be made, or was lost.
pub(crate) async fn run(config: &MountConfig, watcher: &dyn Watcher) -> Result<i32, Failure> {
    let failed = |error: io::Error| Failure::new(Exit::Failed, error);
    let signals = Signals::new().map_err(failed)?;
    let run_base = rundir::base();
    // What a dead mount has left is cleared by who unmounts it.
    RunDir::refuse_held(&run_base, &config.mountpoint)?;
    forebay_fuse_client::preflight(&config.mountpoint)?;
    let station = RunDir::supervise(&run_base, &config.mountpoint)?;
    let program = Program::own().map_err(failed)?;
    let client = Client::spawn(&program, Start::First).map_err(failed)?;
    let (control, upgrades) = Control::serve(station.dir())?;
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut supervisor = Supervisor {
        config,
        watcher,
        station,
        program,
        keeper: None,
        client: Some(client),
        handover: None,
        upgrades,
        signals,
        signalled: 0,
        ready_since: None,
        unserved_since: None,
        restart_at: None,
        restarts: Restarts::default(),
        course: Course::default(),
        look,
    };
    supervisor.start_keeper().await;
    let outcome = supervisor.supervise().await;
    supervisor.end(control).await;
    outcome
}

struct Supervisor<'a> {
    config: &'a MountConfig,
    watcher: &'a dyn Watcher,
    station: Station,
    /// What a client is started from.
    program: Program,
    keeper: Option<Keeper>,
    /// `None` between a death and the next start.
    client: Option<Client>,
    handover: Option<Handover>,
    upgrades: mpsc::Receiver<Asked>,
    signals: Signals,
    /// How many signals have come.
    signalled: u32,
    ready_since: Option<Instant>,
    /// Since when nobody serves the mount.
    unserved_since: Option<Instant>,
    restart_at: Option<Instant>,
    restarts: Restarts,
    course: Course,
    look: Interval,
}

/// What a supervisor waits for.
enum Event {
    Signal(Wish),
    Client(ClientEvent),
    Successor(ClientEvent),
    KeeperEnded(io::Result<ExitStatus>),
    Upgrade(Asked),
    RestartDue,
    Look,
}

/// Whether it goes on, or how it ends.
type Step = ControlFlow<Result<i32, Failure>>;

impl Supervisor<'_> {
    async fn supervise(&mut self) -> Result<i32, Failure> {
        loop {
            let step = match self.next().await {
                Event::Signal(Wish::End(signal)) => self.on_signal(signal),
                Event::Signal(Wish::Log) => self.on_new_log(),
                Event::Client(ClientEvent::Report(report)) => self.on_report(&report),
                Event::Client(ClientEvent::Ended(status)) => self.on_end(status).await,
                Event::Successor(event) => self.on_successor(event).await,
                Event::KeeperEnded(how) => self.on_keeper_end(&how),
                Event::Upgrade(asked) => self.on_upgrade(asked),
                Event::RestartDue => self.restart(),
                Event::Look => self.on_look().await,
            };
            if let ControlFlow::Break(outcome) = step {
                return outcome;
            }
        }
    }

    async fn next(&mut self) -> Event {
        let client = self.client.as_mut();
        let successor = self.handover.as_mut().map(Handover::client);
        tokio::select! {
            wish = self.signals.next() => Event::Signal(wish),
            event = next_of(client) => Event::Client(event),
            event = next_of(successor) => Event::Successor(event),
            how = end_of(self.keeper.as_mut()) => Event::KeeperEnded(how),
            Some(asked) = self.upgrades.recv() => Event::Upgrade(asked),
            () = until(self.restart_at) => Event::RestartDue,
            _ = self.look.tick() => Event::Look,
        }
    }

    fn on_signal(&mut self, signal: Signal) -> Step {
        self.signalled += 1;
        if let Some(handover) = self.handover.take() {
            handover.give_up("the mount is told to end");
        }
        match &self.client {
            Some(client) if self.signalled < PATIENCE => {
                client.signal(signal);
                Step::Continue(())
            }
            Some(client) => {
                tracing::warn!(pid = client.pid(), "does not end when told to: killed");
                client.signal(Signal::KILL);
                Step::Continue(())
            }
            None => {
                self.detach();
                Step::Break(Ok(0))
            }
        }
    }

    /// Opens the log file again, and has the client do so. One that is not yet ready has
    /// just opened it, and may not know the signal yet.
    fn on_new_log(&self) -> Step {
        telemetry::reopen();
        if let Some(client) = self.client.as_ref().filter(|client| client.is_ready()) {
            client.signal(Signal::HUP);
        }
        Step::Continue(())
    }

    fn on_report(&mut self, report: &Report) -> Step {
        let Some(client) = &self.client else {
            return Step::Continue(());
        };
        let told = match report {
            Report::Listing { objects, bytes } => self.watcher.listing(Listed {
                objects: *objects,
                bytes: *bytes,
            }),
            Report::Ready { line } => {
                self.ready_since = Some(Instant::now());
                self.unserved_since = None;
                self.watcher.listed();
                if client.start() == Start::First {
                    self.watcher.ready(line)
                } else {
                    tracing::info!(pid = client.pid(), "the mount is served again");
                    Ok(())
                }
            }
            Report::Prepared | Report::Failed { .. } => Ok(()),
        };
        if told.is_err() {
            // Nobody knows of the mount, so nobody would unmount it.
            client.signal(Signal::TERM);
        }
        Step::Continue(())
    }

    /// The client has ended: as it should, or it is followed by another.
    async fn on_end(&mut self, status: ExitStatus) -> Step {
        let Some(client) = self.client.take() else {
            return Step::Continue(());
        };
        let how = describe(status, &client);
        let failure = || match client.failed() {
            Some((exit, message)) => Report::failure(exit, message),
            None => Failure::new(Exit::Failed, format!("the process of the mount {how}")),
        };
        if client.start() == Start::First && !client.is_ready() {
            self.watcher.listed();
            self.detach();
            let failure = failure();
            return Step::Break(Err(match client.failed() {
                Some(_) => failure,
                None => failure.next("see its log"),
            }));
        }
        if let Some(handover) = &mut self.handover
            && handover.predecessor_ended().await
        {
            return Step::Continue(());
        }
        if status.success() {
            return Step::Break(Ok(0));
        }
        if self.signalled > 0 {
            self.detach();
            let code = status.code().unwrap_or(KILLED);
            let is_told = client.failed().is_some();
            return Step::Break(if is_told { Err(failure()) } else { Ok(code) });
        }
        self.succeed(&how)
    }

    /// Has another client take over from one that died, if the mount is still there.
    fn succeed(&mut self, how: &str) -> Step {
        if let Some(handover) = self.handover.take() {
            handover.give_up("the process that serves died meanwhile");
        }
        let mountpoint = self.config.mountpoint.display();
        if !self.is_mounted() {
            let text = format!("the process that served {mountpoint} {how}, and its mount is gone");
            return Step::Break(Err(Failure::new(Exit::Mount, text)));
        }
        if !self.keeper.as_ref().is_some_and(Keeper::holds) {
            self.detach();
            let text = format!("the process that served {mountpoint} {how}, and no keeper had it");
            return Step::Break(Err(Failure::new(Exit::Mount, text).next("mount it again")));
        }
        let now = Instant::now();
        self.unserved_since.get_or_insert(now);
        let served = self.ready_since.take().map(|since| since.elapsed());
        let was_loop = self.restarts.is_loop();
        let wait = self.restarts.died(now, served.unwrap_or_default());
        self.restart_at = Some(now + wait);
        tracing::warn!(%how, ?wait, "the process of the mount died: another takes over");
        self.course.crash_loop = self.restarts.is_loop();
        if self.course.crash_loop && !was_loop {
            tracing::error!(
                mountpoint = %mountpoint,
                "process after process dies; others are started all the same, each later"
            );
        }
        self.course.last_end = Some(how.to_owned());
        self.record();
        self.refuse_who_waits_too_long();
        Step::Continue(())
    }

    /// Readers of a mount that no process can be started for wait as long as for an origin.
    fn refuse_who_waits_too_long(&self) {
        let unserved = self.unserved_since.map(|since| since.elapsed());
        if self.client.is_none()
            && unserved.is_some_and(|unserved| unserved >= self.config.origin_timeout)
            && let Some(keeper) = &self.keeper
        {
            keeper.refuse_waiting();
        }
    }

    fn restart(&mut self) -> Step {
        self.restart_at = None;
        if !self.is_mounted() {
            tracing::info!("unmounted while nobody served it");
            return Step::Break(Ok(0));
        }
        match Client::spawn(&self.program, Start::Again) {
            Ok(client) => {
                self.client = Some(client);
                self.course.restarts += 1;
            }
            Err(error) => {
                tracing::error!(%error, "no other process can be started; tried again");
                let wait = self.restarts.died(Instant::now(), Duration::ZERO);
                self.restart_at = Some(Instant::now() + wait.max(LOOK));
            }
        }
        self.record();
        Step::Continue(())
    }

    fn on_keeper_end(&mut self, how: &io::Result<ExitStatus>) -> Step {
        // As a rule because the mount has ended; if not, the next look sees it.
        tracing::debug!(?how, "the keeper has ended");
        self.keeper = None;
        self.course.keeper_pid = 0;
        self.record();
        Step::Continue(())
    }

    async fn on_look(&mut self) -> Step {
        if self.client.is_none() && self.restart_at.is_some() && !self.is_mounted() {
            tracing::info!("unmounted while nobody served it");
            return Step::Break(Ok(0));
        }
        if let Some(handover) = &mut self.handover {
            handover.check_time();
        }
        if let Some(client) = self.client.as_ref().filter(|client| client.is_late()) {
            tracing::error!(pid = client.pid(), "does not take the mount over: killed");
            client.signal(Signal::KILL);
        }
        self.refuse_who_waits_too_long();
        let is_served = self.client.as_ref().is_some_and(Client::is_ready);
        if self.keeper.is_none() && is_served && self.is_mounted() {
            tracing::warn!("the keeper has gone: another is started");
            self.start_keeper().await;
        }
        Step::Continue(())
    }

    async fn start_keeper(&mut self) {
        match Keeper::start(&self.program, self.station.dir()).await {
            Ok(keeper) => {
                self.course.keeper_pid = keeper.pid();
                self.keeper = Some(keeper);
            }
            // The next look tries again, and the client says if it misses one.
            Err(error) => tracing::debug!(%error, "no keeper yet"),
        }
        self.record();
    }

    /// Whether the mount that was made first is still there.
    fn is_mounted(&self) -> bool {
        let served = self.station.dir().served();
        let seen = mount_at(&self.config.mountpoint).ok().flatten();
        match (served, seen) {
            (Some(served), Some(seen)) => served.device == seen.device,
            _ => false,
        }
    }

    /// Takes the mount away, if it is there, now that nobody serves it.
    fn detach(&self) {
        let seen = mount_at(&self.config.mountpoint).ok().flatten();
        if seen.is_none_or(|mount| mount.fs_type != "fuse.forebay") {
            return;
        }
        if let Err(error) = unmount(&self.config.mountpoint, Unmount::Detach) {
            tracing::error!(error = %crate::exit::chain(&error), "mount left behind");
        }
    }

    fn record(&self) {
        // Only `forebay status` would miss it.
        if let Err(error) = self.station.record(&self.course) {
            tracing::debug!(error = %crate::exit::chain(&error), "not written down");
        }
    }

    async fn end(self, control: Control) {
        control.end();
        if let Some(keeper) = self.keeper {
            keeper.dismiss().await;
        }
    }
}

/// How a client ended, behind "the process".
fn describe(status: ExitStatus, client: &Client) -> String {
    match client.failed() {
        Some((_, message)) => format!("ended ({message})"),
        None => format!("ended ({status})"),
    }
}

async fn next_of(client: Option<&mut Client>) -> ClientEvent {
    match client {
        Some(client) => client.next().await,
        None => std::future::pending().await,
    }
}

async fn end_of(keeper: Option<&mut Keeper>) -> io::Result<ExitStatus> {
    match keeper {
        Some(keeper) => keeper.ended().await,
        None => std::future::pending().await,
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
