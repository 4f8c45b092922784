//! `forebay mount`.
//!
//! The command line is that of several processes, and which one this is says the
//! environment: a launcher that returns when the mount is ready (`--daemon`), a
//! supervisor, a client that serves the mount under one, or all in one
//! (`--no-supervise`).

use std::io::{self, Read};
use std::panic;

use tokio_util::sync::CancellationToken;

use super::daemon;
use crate::args::MountArgs;
use crate::audience::{Audience, Foreground, Listed};
use crate::config::MountConfig;
use crate::exit::{Exit, Failure};
use crate::mount_process::{MountProcess, Standing};
use crate::output::{self, counted};
use crate::reports::Reporter;
use crate::size::Size;
use crate::supervisor::{self, Start, Watcher};
use crate::{rundir, signals, telemetry};

pub(super) fn run(args: &MountArgs) -> Result<(), Failure> {
    if let Some(start) = Start::inherited() {
        return Reporter.told(|reporter| supervised(args, start, reporter));
    }
    if daemon::is_child() {
        // Whatever goes wrong from here on, who waits at the other end is told.
        return Reporter.told(|reporter| {
            in_background(args, reporter)
                .inspect_err(|failure| tracing::error!(error = %failure, "ended"))
        });
    }
    let config = MountConfig::resolve(args)?;
    if config.daemon {
        return daemon::launch(&config);
    }
    telemetry::start(&config.log)?;
    above(&config, &Terminal::new())
}

fn in_background(args: &MountArgs, reporter: Reporter) -> Result<(), Failure> {
    let config = MountConfig::resolve(args)?;
    daemon::detach();
    telemetry::start(&config.log)?;
    above(&config, &reporter)
}

/// Is the first process of a mount: the one whose end is that of the mount.
fn above(config: &MountConfig, watcher: &dyn Watcher) -> Result<(), Failure> {
    if !config.supervise {
        return super::serve()?.block_on(alone(config, watcher));
    }
    let code = super::talk()?.block_on(Box::pin(supervisor::run(config, watcher)))?;
    if code != 0 {
        std::process::exit(code);
    }
    Ok(())
}

async fn alone(config: &MountConfig, watcher: &dyn Watcher) -> Result<(), Failure> {
    let signal = install_signals(config)?;
    let process = start(config, Standing::Alone, watcher, &signal).await?;
    if watcher.ready(&ready_line(&process)).is_err() {
        // Nobody knows of the mount, so nobody would unmount it.
        signal.cancel();
    }
    serve(process, signal).await
}

/// Serves the mount under a supervisor.
fn supervised(args: &MountArgs, begin: Start, reporter: Reporter) -> Result<(), Failure> {
    // What a terminal sends goes to the supervisor, and is passed on from there. With a
    // session of its own this process is not hung up on either when the supervisor dies.
    let _ = rustix::process::setsid();
    let config = MountConfig::resolve(args)?;
    // The kernel has named the process after the descriptor that it was started from.
    let _ = rustix::thread::set_name(c"forebay");
    abort_on_panic();
    telemetry::start(&config.log)?;
    super::serve()?.block_on(async {
        let signal = install_signals(&config)?;
        let process = match begin {
            Start::First => start(&config, Standing::Supervised, &reporter, &signal).await?,
            Start::Again => resume(&config, &signal, || Ok(())).await?,
            Start::Successor => resume(&config, &signal, move || wait_for_order(reporter)).await?,
        };
        if reporter.ready(&ready_line(&process)).is_err() && begin == Start::First {
            // Nobody knows of the mount, so nobody would unmount it.
            signal.cancel();
        }
        serve(process, signal).await
    })
}

/// A thread that is missing would leave requests without an answer. Another process can
/// answer them.
fn abort_on_panic() {
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::abort();
    }));
}

/// Says that everything is prepared, and waits until nobody serves the mount any more.
fn wait_for_order(reporter: Reporter) -> Result<(), Failure> {
    let abandoned = || Failure::new(Exit::Failed, "nobody waits for this process to take over");
    reporter.prepared().map_err(|_| abandoned())?;
    let mut order = [0; 3];
    io::stdin()
        .read_exact(&mut order)
        .map_err(|_| abandoned())?;
    Ok(())
}

/// Who has started the mount at a terminal, or collects what it prints.
struct Terminal(Foreground);

impl Terminal {
    fn new() -> Self {
        Self(Foreground::new())
    }
}

impl Audience for Terminal {
    fn listing(&self, listed: Listed) -> io::Result<()> {
        self.0.listing(listed)
    }

    fn listed(&self) {
        self.0.listed();
    }
}

impl Watcher for Terminal {
    fn ready(&self, line: &str) -> io::Result<()> {
        output::print(&format!("{line}; Ctrl-C unmounts\n")).map_err(io::Error::other)
    }
}

impl Watcher for Reporter {
    fn ready(&self, line: &str) -> io::Result<()> {
        (*self).ready(line)
    }
}

fn install_signals(config: &MountConfig) -> Result<CancellationToken, Failure> {
    let signal = signals::on_first(Some(config.mountpoint.clone()));
    signal.map_err(|error| Failure::new(Exit::Failed, error))
}

async fn start(
    config: &MountConfig,
    standing: Standing,
    audience: &dyn Audience,
    signal: &CancellationToken,
) -> Result<MountProcess, Failure> {
    let run_base = rundir::base();
    tokio::select! {
        biased;
        started = MountProcess::start(config, &run_base, standing, audience, signal) => started,
        () = signal.cancelled() => {
            Err(Failure::new(Exit::Failed, "interrupted before the mount was ready"))
        }
    }
}

async fn resume(
    config: &MountConfig,
    signal: &CancellationToken,
    gate: impl FnOnce() -> Result<(), Failure> + Send + 'static,
) -> Result<MountProcess, Failure> {
    let run_base = rundir::base();
    tokio::select! {
        biased;
        resumed = MountProcess::resume(config, &run_base, gate) => resumed,
        () = signal.cancelled() => {
            Err(Failure::new(Exit::Failed, "interrupted before the mount was taken over"))
        }
    }
}

async fn serve(process: MountProcess, signal: CancellationToken) -> Result<(), Failure> {
    let mountpoint = process.service().mountpoint().to_owned();
    let ended = process.serve(signal.cancelled_owned()).await?;
    if ended.busy {
        tracing::warn!(
            mountpoint = %mountpoint.display(),
            "unmounted while files were open; they answer with errors now"
        );
    }
    tracing::info!(mountpoint = %mountpoint.display(), "unmounted");
    Ok(())
}

/// `mounted s3://bucket at /mnt/data: 1,281,167 files, 138.0 GiB`
fn ready_line(process: &MountProcess) -> String {
    let service = process.service();
    let manifest = service.current();
    let totals = manifest.totals();
    let mut sources = manifest.sources();
    let what = match (sources.next(), sources.len()) {
        (Some(only), 0) => only.url.to_owned(),
        (_, others) => counted(others as u64 + 1, "source"),
    };
    format!(
        "mounted {what} at {}: {}, {}",
        service.mountpoint().display(),
        counted(totals.files, "file"),
        Size(totals.bytes)
    )
}
