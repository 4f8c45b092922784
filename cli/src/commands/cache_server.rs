//! `forebay cache-server`.

use crate::args::CacheServerArgs;
use crate::config::ServerConfig;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::server_process::ServerProcess;
use crate::{rundir, signals, telemetry};

pub(super) fn run(args: &CacheServerArgs) -> Result<(), Failure> {
    let config = ServerConfig::resolve(args)?;
    telemetry::start(&config.log)?;
    super::serve()?.block_on(async {
        let signal = signals::on_first(None).map_err(|error| Failure::new(Exit::Failed, error))?;
        let process = ServerProcess::start(&config, &rundir::base()).await?;
        let socket = process.socket().display();
        output::print(&format!(
            "serving {} at unix:{socket}; Ctrl-C ends\n",
            output::counted(config.datasets.len() as u64, "dataset"),
        ))?;
        process.serve(signal.cancelled_owned()).await
    })
}
