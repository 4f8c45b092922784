//! `forebay csi-driver`.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use forebay_csi_driver::{Config, Driver, ProcessMounter, Program, Runner, StartError};

use crate::args::CsiDriverArgs;
use crate::exit::{Exit, Failure};
use crate::telemetry::LogConfig;
use crate::{signals, telemetry};

pub(super) fn run(args: &CsiDriverArgs) -> Result<(), Failure> {
    telemetry::start(&LogConfig {
        format: args.log_format,
        filter: Some(args.log_level.clone()),
        file: None,
    })?;
    let program = program(args)?;
    super::serve()?.block_on(async {
        let signal = signals::on_first(None).map_err(|error| Failure::new(Exit::Failed, error))?;
        let mounter = Arc::new(ProcessMounter::new(program));
        let driver = Driver::start(config(args), mounter).await?;
        driver.serve(signal).await?;
        Ok(())
    })
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let step = match &error {
            StartError::Held { .. } => "end the other driver of this node",
            StartError::Path { .. } | StartError::Serve { .. } => {
                "see the directories in `forebay csi-driver --help`; the driver runs as root"
            }
        };
        Self::new(Exit::Failed, error).next(step)
    }
}

fn config(args: &CsiDriverArgs) -> Config {
    let mut config = Config::new(&args.node);
    let own = args
        .kubelet_dir
        .join("plugins")
        .join(forebay_csi_driver::DRIVER_NAME);
    config.socket = args.socket.clone().unwrap_or_else(|| own.join("csi.sock"));
    config.mounts_dir = own.join("mounts");
    let registry = args.kubelet_dir.join("plugins_registry");
    config.registration_dir = args.register.then_some(registry);
    config.kubelet_dir.clone_from(&args.kubelet_dir);
    config.run_dir.clone_from(&args.run_dir);
    config.state_dir.clone_from(&args.state_dir);
    config.topology.clone_from(&args.topology);
    config.node_credentials = args.node_credentials;
    config.local_sources = args.local_sources;
    config.server = args.server.as_ref().map(|server| server.0.clone());
    config
}

/// This very program, as the mounter of volumes.
fn program(args: &CsiDriverArgs) -> Result<Program, Failure> {
    let program = Program {
        runner: match &args.mount_host {
            Some(socket) => Runner::Host(socket.clone()),
            // The path of this program may name another one by now.
            None => Runner::Program("/proc/self/exe".into()),
        },
        run_dir: args.run_dir.join("mounts"),
        cache_dir: args.cache_dir.clone(),
        log_dir: args.state_dir.join("logs"),
        config: args.mount_config.clone(),
    };
    for dir in [&program.run_dir, &program.cache_dir, &program.log_dir] {
        make_private(dir)?;
    }
    Ok(program)
}

fn make_private(dir: &Path) -> Result<(), Failure> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| {
        let text = format!("create {}: {error}", dir.display());
        Failure::new(Exit::Failed, text).next("see the directories in `forebay csi-driver --help`")
    })
}
