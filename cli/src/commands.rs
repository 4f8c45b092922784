//! The commands: each takes its arguments and ends in an exit code.

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::runtime::Runtime;

use crate::args::{Cli, ClusterCommand, Command, ConfigCommand};
use crate::exit::{Exit, Failure};

mod cache_server;
mod cluster;
mod completions;
mod config;
mod csi_driver;
pub(crate) mod daemon;
mod demo;
mod keeper;
mod man;
mod mount;
mod mount_host;
mod plan;
mod refresh;
mod status;
mod umount;
mod upgrade;
mod versions;
mod warmup;

/// Runs the command.
///
/// # Errors
/// The command's [`Failure`].
pub(crate) fn run(cli: &Cli) -> Result<(), Failure> {
    match &cli.command {
        Command::Mount(args) => mount::run(args),
        Command::CacheServer(args) => cache_server::run(args),
        Command::Umount(args) => talk()?.block_on(umount::run(args)),
        Command::Status(args) => talk()?.block_on(status::run(args)),
        Command::Warmup(args) => talk()?.block_on(warmup::run(args)),
        Command::Cluster(args) => match &args.command {
            ClusterCommand::Status(args) => talk()?.block_on(cluster::status(args)),
        },
        Command::Plan(args) => talk()?.block_on(plan::run(args)),
        Command::Versions(args) => talk()?.block_on(versions::run(args)),
        Command::Refresh(args) => talk()?.block_on(refresh::run(args)),
        Command::Upgrade(args) => talk()?.block_on(upgrade::run(args)),
        Command::Keeper(args) => keeper::run(args),
        Command::Demo(args) => demo::run(args),
        Command::CsiDriver(args) => csi_driver::run(args),
        Command::MountHost(args) => mount_host::run(args),
        Command::Config(args) => match &args.command {
            ConfigCommand::Print(args) => config::print(args),
        },
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
    }
}

/// A runtime for a command that talks to a mount: one thread is plenty.
fn talk() -> Result<Runtime, Failure> {
    built(
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build(),
    )
}

/// A runtime for a process that serves a mount, with as many open files as it may have:
/// each file that somebody reads is one here, too.
fn serve() -> Result<Runtime, Failure> {
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, files) {
        tracing::debug!(%error, "the limit on open files stays as it is");
    }
    built(
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build(),
    )
}

fn built(runtime: std::io::Result<Runtime>) -> Result<Runtime, Failure> {
    runtime.map_err(|error| Failure::new(Exit::Failed, error))
}
