//! `forebay keeper`.

use std::os::unix::process::CommandExt;
use std::process::Command;

use forebay_keeper::{ARGV0, Mission};

use crate::args::KeeperArgs;
use crate::directory;
use crate::exit::{Exit, Failure};

/// Becomes a keeper: the program begins anew under another name, because this process is
/// many times larger already than a keeper is to be.
pub(super) fn run(args: &KeeperArgs) -> Result<(), Failure> {
    let failed = |error| Failure::new(Exit::Failed, error);
    let socket = directory::absolute(&args.socket).map_err(failed)?;
    let mission = match args.one_mount {
        Some(abandon_after) => Mission::OneMount { abandon_after },
        None => Mission::Node,
    };
    let words = mission.words(socket);
    let error = Command::new("/proc/self/exe")
        .arg0(ARGV0)
        .args(words)
        .exec();
    Err(failed(error))
}
