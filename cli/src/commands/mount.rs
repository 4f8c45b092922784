//! `forebay mount`.

use tokio_util::sync::CancellationToken;

use super::daemon::{self, Parent};
use crate::args::MountArgs;
use crate::audience::{Audience, Foreground};
use crate::config::MountConfig;
use crate::exit::{Exit, Failure};
use crate::mount_process::MountProcess;
use crate::output::{self, counted};
use crate::size::Size;
use crate::{rundir, signals, telemetry};

pub(super) fn run(args: &MountArgs) -> Result<(), Failure> {
    if let Some(parent) = Parent::inherited() {
        // Whatever goes wrong from here on, who waits at the other end is told.
        return parent.told(|parent| in_background(args, parent));
    }
    let config = MountConfig::resolve(args)?;
    if config.daemon {
        return daemon::launch(&config);
    }
    telemetry::start(&config.log)?;
    super::serve()?.block_on(async {
        let signal = install_signals(&config)?;
        let process = start(&config, &Foreground::new(), &signal).await?;
        output::print(&format!("{}; Ctrl-C unmounts\n", ready_line(&process)))?;
        serve(process, signal).await
    })
}

fn in_background(args: &MountArgs, parent: &Parent) -> Result<(), Failure> {
    let config = MountConfig::resolve(args)?;
    daemon::detach();
    telemetry::start(&config.log)?;
    super::serve()?.block_on(async {
        let signal = install_signals(&config)?;
        let process = start(&config, parent, &signal).await?;
        if parent.ready(&ready_line(&process)).is_err() {
            // Nobody knows of the mount, so nobody would unmount it.
            signal.cancel();
        }
        serve(process, signal).await
    })
}

fn install_signals(config: &MountConfig) -> Result<CancellationToken, Failure> {
    let signal = signals::on_first(Some(config.mountpoint.clone()));
    signal.map_err(|error| Failure::new(Exit::Failed, error))
}

async fn start(
    config: &MountConfig,
    audience: &dyn Audience,
    signal: &CancellationToken,
) -> Result<MountProcess, Failure> {
    let run_base = rundir::base();
    tokio::select! {
        biased;
        started = MountProcess::start(config, &run_base, audience, signal) => started,
        () = signal.cancelled() => {
            Err(Failure::new(Exit::Failed, "interrupted before the mount was ready"))
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
