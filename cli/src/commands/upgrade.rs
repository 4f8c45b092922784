//! `forebay upgrade`.

use std::path::Path;

use forebay_proto::mount::v1::mount_supervisor_client::MountSupervisorClient;
use forebay_proto::mount::v1::{UpgradeRequest, UpgradeResponse};

use crate::args::UpgradeArgs;
use crate::control_client::{self, Found, Mounted, failure, not_mounted};
use crate::exit::{Exit, Failure};
use crate::output;

pub(super) async fn run(args: &UpgradeArgs) -> Result<(), Failure> {
    let program = program(args.binary.as_deref())?;
    let (mountpoint, found) = control_client::find(&args.dir)?;
    let mounted = match found {
        Found::Alive(mounted) | Found::Unserved(mounted) => mounted,
        Found::Starting { .. } => {
            let text = format!("{} is still being mounted", mountpoint.display());
            return Err(Failure::new(Exit::NotMounted, text).next("try again when it is ready"));
        }
        Found::Dead(_) | Found::Nothing => return Err(not_mounted(&mountpoint)),
    };
    let answer = ask(&mounted, program).await?;
    if args.json {
        return output::print_json(&answer);
    }
    output::print(&describe(&mountpoint, &answer))
}

/// The program to run: the one named, or the one that runs this command.
fn program(named: Option<&Path>) -> Result<String, Failure> {
    let path = match named {
        Some(path) => std::path::absolute(path),
        None => std::env::current_exe(),
    };
    let path = path.map_err(|error| Failure::new(Exit::Usage, error))?;
    let text = path.to_str().map(ToOwned::to_owned);
    text.ok_or_else(|| Failure::new(Exit::Usage, format!("{path:?} is not UTF-8")))
}

/// A hand-over has deadlines of its own, at the supervisor.
async fn ask(mounted: &Mounted, program: String) -> Result<UpgradeResponse, Failure> {
    if !mounted.dir.is_supervised() {
        let text = format!("{} has no supervisor", mounted.mountpoint.display());
        let step = "it was mounted with --no-supervise, or its supervisor has gone: \
                    unmount it and mount it with the new program";
        return Err(Failure::new(Exit::Failed, text).next(step));
    }
    let channel = mounted.channel(mounted.dir.supervisor_socket()).await?;
    let answer = MountSupervisorClient::new(channel)
        .upgrade(UpgradeRequest { program })
        .await;
    answer
        .map(tonic::Response::into_inner)
        .map_err(|status| failure(&status))
}

fn describe(mountpoint: &Path, answer: &UpgradeResponse) -> String {
    let UpgradeResponse {
        from_pid,
        to_pid,
        from_program,
        to_program,
        pause_seconds,
    } = answer;
    format!(
        "{}: {to_program} (process {to_pid}) serves in the place of {from_program} \
         (process {from_pid}), after a pause of {:.0} ms\n",
        mountpoint.display(),
        pause_seconds * 1000.0
    )
}
