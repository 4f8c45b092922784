//! `forebay umount`.
//!
//! The process that serves the mount is asked to end it. Nothing here waits on the mount
//! itself: if the process does not answer, the mount is detached without it.

use std::path::Path;
use std::time::{Duration, Instant};

use forebay_fuse_client::{Unmount, mount_at, unmount};
use forebay_proto::mount::v1::StopRequest;
use rustix::process::{Pid, Signal, kill_process};

use crate::args::UmountArgs;
use crate::control_client::{self, Found, Mounted, failure, not_mounted};
use crate::exit::{Exit, Failure};
use crate::output;
use crate::rundir::{self, RunDir};

/// An answer takes as long as reads under way take to be told off.
const ANSWER: Duration = Duration::from_secs(10);
/// What has been fetched is written to the disk in this time, or the user waits no longer.
const WRITE_BACK: Duration = Duration::from_secs(600);
/// A process that dies is gone in this time.
const DIES: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(10);

pub(super) async fn run(args: &UmountArgs) -> Result<(), Failure> {
    let (mountpoint, found) = control_client::find(&args.dir)?;
    match found {
        Found::Alive(mounted) => ask(&mounted, args.kill).await,
        Found::Unserved(mounted) => end_supervisor(&mounted).await,
        Found::Starting { pid } => {
            let pid = pid.map_or_else(String::new, |pid| format!(" by process {pid}"));
            let text = format!("{} is still being mounted{pid}", mountpoint.display());
            Err(Failure::new(Exit::NotMounted, text).next("end that process with Ctrl-C or kill"))
        }
        Found::Dead(_) => clean_up(&mountpoint),
        Found::Nothing => strange(&mountpoint),
    }
}

/// Asks the process, and takes the mount away if it does not answer.
async fn ask(mounted: &Mounted, kill: bool) -> Result<(), Failure> {
    let stopping = async {
        let mut control = mounted.connect().await?;
        control
            .stop(StopRequest {})
            .await
            .map_err(|status| failure(&status))
    };
    let Ok(answer) = tokio::time::timeout(ANSWER, stopping).await else {
        return without_an_answer(mounted, kill).await;
    };
    let busy = match answer {
        Ok(answer) => answer.into_inner().busy,
        // It is ending by itself; that is waited for.
        Err(failure) if failure.exit() == Exit::NotMounted => false,
        // It broke off, perhaps because it has just died.
        Err(failure) => {
            if mounted.dir.is_supervised() {
                return end_supervisor(mounted).await;
            }
            if ends(|| !mounted.dir.is_alive(), DIES).await {
                return clean_up(&mounted.mountpoint);
            }
            return Err(failure);
        }
    };
    if busy {
        note(
            &mounted.mountpoint,
            "was in use; files that are still open answer with errors now",
        )?;
    }
    until_gone(&mounted.dir).await;
    Ok(())
}

/// The process hangs, or writes a lot of cache to a slow disk.
async fn without_an_answer(mounted: &Mounted, kill: bool) -> Result<(), Failure> {
    if is_forebay(&mounted.mountpoint)? {
        unmount(&mounted.mountpoint, Unmount::Detach)?;
        if kill {
            return end_by_force(mounted).await;
        }
        let pid = mounted
            .dir
            .pid()
            .map_or_else(|| "it".to_owned(), |pid| format!("process {pid}"));
        return note(
            &mounted.mountpoint,
            &format!("was detached; {pid} does not answer"),
        );
    }
    note(
        &mounted.mountpoint,
        "is unmounted; its cache is still being written",
    )?;
    until_gone(&mounted.dir).await;
    Ok(())
}

/// Kills what serves the mount and looks after it.
async fn end_by_force(mounted: &Mounted) -> Result<(), Failure> {
    let dir = &mounted.dir;
    // The supervisor first: it would start another process.
    let server = dir.pid().filter(|_| dir.is_alive());
    for pid in [dir.supervisor(), server].into_iter().flatten() {
        if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
            // Gone in between is as good.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    ends(|| !dir.is_held(), ANSWER).await;
    note(
        &mounted.mountpoint,
        "was detached; its processes did not answer and were killed",
    )
}

/// Nobody serves the mount at the moment, or just somebody again: its supervisor sees to
/// its end.
async fn end_supervisor(mounted: &Mounted) -> Result<(), Failure> {
    let supervisor = mounted.dir.supervisor();
    let pid = supervisor.and_then(|pid| Pid::from_raw(pid.cast_signed()));
    if let Some(pid) = pid {
        // Gone in between: then the mount is seen to below.
        let _ = kill_process(pid, Signal::TERM);
    }
    ends(|| !mounted.dir.is_held(), ANSWER).await;
    if is_forebay(&mounted.mountpoint)? {
        unmount(&mounted.mountpoint, Unmount::Detach)?;
    }
    let what = "was not served by any process; it is unmounted now";
    note(&mounted.mountpoint, what)
}

/// A mount right after this one can have the same cache directory.
async fn until_gone(dir: &RunDir) {
    ends(|| !dir.is_held(), WRITE_BACK).await;
}

/// Waits until something has ended, for `limit` at most; whether it has.
async fn ends(has_ended: impl Fn() -> bool, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    while !has_ended() {
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(POLL).await;
    }
    true
}

/// The process is dead: what it left is taken away.
fn clean_up(mountpoint: &Path) -> Result<(), Failure> {
    if is_forebay(mountpoint)? {
        unmount(mountpoint, Unmount::Detach)?;
    }
    drop(RunDir::claim(&rundir::base(), mountpoint)?);
    note(
        mountpoint,
        "was left by a process that has gone; it is unmounted now",
    )
}

/// Nothing is known of it; it may be a mount of a process with another run directory.
fn strange(mountpoint: &Path) -> Result<(), Failure> {
    if !is_forebay(mountpoint)? {
        return Err(not_mounted(mountpoint));
    }
    match unmount(mountpoint, Unmount::Clean) {
        Err(forebay_fuse_client::MountError::InUse { .. }) => {
            unmount(mountpoint, Unmount::Detach)?;
            note(
                mountpoint,
                "was in use; files that are still open answer with errors now",
            )
        }
        other => Ok(other?),
    }
}

fn is_forebay(mountpoint: &Path) -> Result<bool, Failure> {
    let mount = mount_at(mountpoint).map_err(|error| Failure::new(Exit::Failed, error))?;
    Ok(mount.is_some_and(|mount| mount.fs_type == "fuse.forebay"))
}

fn note(mountpoint: &Path, what: &str) -> Result<(), Failure> {
    output::print(&format!("{} {what}\n", mountpoint.display()))
}
