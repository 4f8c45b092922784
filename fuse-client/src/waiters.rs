//! Readers that wait, and those that are killed while they do.
//!
//! A process that is sent SIGKILL while it waits in a page-cache read dies at once. One
//! that waits for a reply itself (a direct read, a page fault, an `open`) does not: the
//! kernel asks for the request to be given up with FUSE_INTERRUPT, fuser refuses that,
//! and the process stays unkillable until the reply. So the request is given up from
//! here: whoever waits long is looked at now and then, and when its thread is being
//! killed or has gone, it gets its reply.

use std::fs;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::fs::error::FsError;

/// How often a waiting reader is looked at. Short enough to seem immediate to who types
/// `kill -9`; reads that are answered sooner cost nothing.
const LOOK: Duration = Duration::from_millis(250);

/// SIGKILL is 9; signal n is bit n - 1 of a mask in `/proc/<pid>/status`.
const SIGKILL_BIT: u64 = 1 << 8;

/// A thread that sent a request, as the kernel names it in the request's header: by its
/// thread id in the pid namespace of the process that mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Requester(u32);

impl Requester {
    pub(crate) fn new(tid: u32) -> Self {
        Self(tid)
    }

    /// Whether the thread is being killed or has gone. Always false for a thread that
    /// this process cannot see: 0 is what the kernel sends for one outside the namespace.
    fn is_dying(self) -> bool {
        let Some(pid) = i32::try_from(self.0).ok().and_then(Pid::from_raw) else {
            return false;
        };
        // Not told by /proc: there, other users' processes may be hidden (hidepid).
        if test_kill_process(pid) == Err(Errno::SRCH) {
            return true;
        }
        let status = fs::read_to_string(format!("/proc/{}/status", self.0));
        status.is_ok_and(|status| is_being_killed(&status))
    }
}

/// What ends a wait, beside what is waited for.
#[derive(Clone, Debug)]
pub(crate) struct Patience {
    /// Cancelled when the mount is taken away.
    pub(crate) stopping: CancellationToken,
    /// No reply takes longer. The cache has deadlines of its own, and words for what it
    /// waited for: this one is for what they do not cover.
    pub(crate) limit: Duration,
}

/// Waits for `work`, on behalf of `requester`.
///
/// # Errors
/// What `work` ends in; [`FsError::ReaderKilled`] soon after the requester is killed;
/// [`FsError::Stopping`] at once when the mount is taken away; [`FsError::TimedOut`] when
/// patience ends. In all but the first case `work` is dropped.
pub(crate) async fn wait_for<T>(
    work: impl Future<Output = Result<T, FsError>>,
    requester: Requester,
    patience: &Patience,
) -> Result<T, FsError> {
    let deadline = Instant::now() + patience.limit;
    let mut work = pin!(work);
    let mut looks = interval_at(Instant::now() + LOOK, LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            result = &mut work => return result,
            () = patience.stopping.cancelled() => return Err(FsError::Stopping),
            () = sleep_until(deadline) => {
                let after = patience.limit;
                return Err(FsError::TimedOut { after });
            }
            _ = looks.tick() => {
                if requester.is_dying() {
                    return Err(FsError::ReaderKilled);
                }
            }
        }
    }
}

/// Whether SIGKILL is pending, for the thread or for its whole process, in the text of
/// `/proc/<tid>/status`. Any signal that ends a process becomes a SIGKILL of each of its
/// threads.
fn is_being_killed(status: &str) -> bool {
    let masks = status.lines().filter_map(|line| {
        line.strip_prefix("SigPnd:")
            .or_else(|| line.strip_prefix("ShdPnd:"))
    });
    masks
        .filter_map(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .any(|mask| mask & SIGKILL_BIT != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patience() -> Patience {
        Patience {
            stopping: CancellationToken::new(),
            limit: Duration::from_secs(70),
        }
    }

    async fn never() -> Result<(), FsError> {
        std::future::pending().await
    }

    #[test]
    fn a_pending_sigkill_is_seen_in_either_mask() {
        let status = |thread, process| {
            format!("Name:\tcat\nSigQ:\t0/1\nSigPnd:\t{thread}\nShdPnd:\t{process}\nSigBlk:\t0\n")
        };
        let (none, kill) = ("0000000000000000", "0000000000000100");
        assert!(!is_being_killed(&status(none, none)));
        assert!(is_being_killed(&status(kill, none)));
        assert!(is_being_killed(&status(none, kill)));
        assert!(!is_being_killed(&status(
            "00000000000000ff",
            "fffffffffffffe00"
        )));
        assert!(!is_being_killed("SigPnd:\tnonsense\n"));
    }

    #[test]
    fn this_thread_lives_and_an_impossible_one_is_gone() {
        assert!(!Requester::new(std::process::id()).is_dying());
        // Above the largest pid that Linux gives out (2^22).
        assert!(Requester::new(1 << 30).is_dying());
        assert!(!Requester::new(0).is_dying());
        assert!(!Requester::new(u32::MAX).is_dying());
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_gone_is_answered_at_the_first_look() {
        let start = Instant::now();
        let result = wait_for(never(), Requester::new(1 << 30), &patience()).await;
        assert!(matches!(result, Err(FsError::ReaderKilled)));
        assert_eq!(start.elapsed(), LOOK);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_answers_at_once() {
        let patience = patience();
        patience.stopping.cancel();
        let start = Instant::now();
        let result = wait_for(never(), Requester::new(0), &patience).await;
        assert!(matches!(result, Err(FsError::Stopping)));
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let start = Instant::now();
        let result = wait_for(never(), Requester::new(0), &patience()).await;
        assert!(matches!(result, Err(FsError::TimedOut { .. })));
        assert_eq!(start.elapsed(), patience().limit);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_there_wins_over_a_stop() {
        let patience = patience();
        patience.stopping.cancel();
        let work = async { Ok(7) };
        assert_eq!(
            wait_for(work, Requester::new(0), &patience)
                .await
                .expect("there"),
            7
        );
    }
}
