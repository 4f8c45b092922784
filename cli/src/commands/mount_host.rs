//! `forebay mount-host`.

use forebay_csi_driver::MountHost;

use crate::args::MountHostArgs;
use crate::exit::{Exit, Failure};
use crate::telemetry::LogConfig;
use crate::{signals, telemetry};

pub(super) fn run(args: &MountHostArgs) -> Result<(), Failure> {
    telemetry::start(&LogConfig {
        format: args.log_format,
        filter: Some(args.log_level.clone()),
        file: None,
    })?;
    super::talk()?.block_on(async {
        let signal = signals::on_first(None).map_err(|error| Failure::new(Exit::Failed, error))?;
        // The path of this program may name another one by now.
        let host = MountHost::listen(&args.socket, "/proc/self/exe".into()).map_err(|error| {
            let text = format!("listen at {}: {error}", args.socket.display());
            Failure::new(Exit::Failed, text).next("choose another place with --socket")
        })?;
        tracing::info!(socket = %args.socket.display(), "taking orders");
        host.serve(signal).await;
        Ok(())
    })
}
