//! Trying again, under a deadline.
//!
//! One [`Retrying`] stands between an origin and whoever reads from it. A request that
//! fails in a way that may pass is sent again after a pause, and a body that ends early,
//! breaks or stalls is **resumed**: the rest is asked for from the byte that was reached,
//! under the same validator, so that what the reader gets is still one version.
//!
//! - The pause doubles from 50 ms to 1 s, or 2 s for an origin that asks to slow down, with
//!   full jitter (a random part of it), so that the readers of a node that failed together
//!   do not come back together. The origin's `Retry-After` is the least pause. A byte that
//!   arrives starts it anew.
//! - The deadline counts only the time spent waiting for the origin, not the time that
//!   the reader takes between two pieces. Bytes that arrive put it off, at 16 KiB a
//!   second: a slow link is no failure, a server that trickles is one.
//! - An error that a second try cannot change passes at once. When the deadline passes,
//!   the reader gets [`Error::TimedOut`] with the words of the last failure.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use forebay_core::ByteRange;
use tokio::time::Instant;

use super::{Body, Error, Origin, OriginStats, Page, PageRequest, PinnedObject, printable};

mod body;

use body::Resuming;

/// The first pause. Half of it on average: about what a connection takes.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause: an origin that comes back is noticed within it, and who reads goes on
/// within two seconds.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause of an origin that has asked to slow down.
const LONGEST_WHEN_THROTTLED: Duration = Duration::from_secs(2);

/// A page may be slow to compute where a read is not: it waits this many stall limits.
const PAGE_STALLS: u32 = 3;

/// How long to try, and when to take a silent connection for dead.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long one read or page may keep its reader waiting, all tries together.
    pub timeout: Duration,
    /// How long an answer or the next piece of a body may take.
    pub stall: Duration,
}

/// Sends requests to the origin within again when they fail.
#[derive(Debug)]
pub struct Retrying {
    inner: Arc<dyn Origin>,
    patience: Patience,
    stats: Arc<OriginStats>,
}

impl Retrying {
    /// Retries what is asked of `inner`, with this much patience. Requests that are given
    /// up on unanswered are counted in `stats`: nobody below sees them fail.
    pub fn new(inner: Arc<dyn Origin>, patience: Patience, stats: Arc<OriginStats>) -> Self {
        Self {
            inner,
            patience,
            stats,
        }
    }

    fn tries(&self, what: String) -> Tries {
        Tries {
            what,
            timeout: self.patience.timeout,
            stats: Arc::clone(&self.stats),
            waited: Duration::ZERO,
            failures: 0,
            last: None,
        }
    }
}

#[async_trait]
impl Origin for Retrying {
    fn identity(&self) -> &str {
        self.inner.identity()
    }

    async fn list(&self, request: PageRequest<'_>) -> Result<Page, Error> {
        let what = format!("{}/{}", self.identity(), printable(request.prefix));
        let mut tries = self.tries(what);
        let stall = self.patience.stall * PAGE_STALLS;
        loop {
            match tries.wait(stall, self.inner.list(request)).await {
                Ok(page) => return Ok(page),
                Err(error) => tries.pause(error).await?,
            }
        }
    }

    async fn read(&self, object: PinnedObject<'_>, range: ByteRange) -> Result<Body, Error> {
        let what = format!("{}/{}", self.identity(), printable(object.key));
        let origin = Arc::clone(&self.inner);
        let stall = self.patience.stall;
        let mut body = Resuming::new(origin, stall, self.tries(what), object, range);
        // Opened here and not with the first piece, so that a caller that only wants to
        // know whether the object can be read need not pull.
        body.open().await?;
        Ok(body.into_stream())
    }
}

/// The tries of one request: what failed last, and how much waiting is left.
#[derive(Debug)]
struct Tries {
    what: String,
    timeout: Duration,
    stats: Arc<OriginStats>,
    waited: Duration,
    failures: u32,
    last: Option<Error>,
}

impl Tries {
    /// Waits for `answer`, at most `stall`, and counts the time.
    async fn wait<T>(
        &mut self,
        stall: Duration,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let begun = Instant::now();
        let limit = stall.min(self.left());
        let answer = tokio::time::timeout(limit, answer).await;
        self.waited += begun.elapsed();
        answer.unwrap_or_else(|_| {
            let error = Error::TimedOut {
                what: self.what.clone(),
                reason: format!("nothing came for {limit:?}"),
            };
            self.stats.failed(error.kind());
            Err(error)
        })
    }

    /// Notes that the origin made progress, which puts the deadline off by `more`.
    fn progress(&mut self, more: Duration) {
        self.timeout += more;
        self.failures = 0;
    }

    /// Pauses after a failure.
    ///
    /// # Errors
    /// The failure itself if another try cannot help, [`Error::TimedOut`] if there is
    /// no time left for one.
    async fn pause(&mut self, failure: Error) -> Result<(), Error> {
        if !failure.kind().is_retryable() {
            return Err(failure);
        }
        // Running out of time is not news about the origin; what was before is.
        let cut_short = self.left().is_zero() && matches!(failure, Error::TimedOut { .. });
        if !cut_short || self.last.is_none() {
            self.last = Some(failure.clone());
        }
        if self.left().is_zero() {
            return Err(self.gave_up());
        }
        let pause = self.next_pause(&failure).min(self.left());
        tracing::debug!(what = %self.what, error = %failure, ?pause, "origin request failed");
        tokio::time::sleep(pause).await;
        self.waited += pause;
        self.failures += 1;
        if self.left().is_zero() {
            Err(self.gave_up())
        } else {
            Ok(())
        }
    }

    fn next_pause(&self, failure: &Error) -> Duration {
        let doubled = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16));
        let longest = match failure {
            Error::Throttled { .. } => LONGEST_WHEN_THROTTLED,
            _ => LONGEST_PAUSE,
        };
        let jittered = doubled.min(longest).mul_f64(rand::random::<f64>());
        match failure {
            Error::Throttled {
                after: Some(after), ..
            } => jittered.max(*after),
            _ => jittered,
        }
    }

    fn left(&self) -> Duration {
        self.timeout.saturating_sub(self.waited)
    }

    fn gave_up(&self) -> Error {
        let waited = self.waited.as_secs_f32();
        let last = self
            .last
            .as_ref()
            .map(|last| last.to_string())
            .unwrap_or_default();
        let reason = format!("gave up after {waited:.1} s; last failure: {last}");
        Error::TimedOut {
            what: self.what.clone(),
            reason,
        }
    }
}

#[cfg(test)]
mod tests;
