//! At most so many log lines a second, however many reads fail.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const PERIOD: Duration = Duration::from_secs(1);

/// Lets a few lines through in each second, and counts the rest.
#[derive(Debug)]
pub(crate) struct LogLimit {
    lines: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    since: Option<Instant>,
    let_through: u32,
    held_back: u64,
}

impl LogLimit {
    /// A limit of `lines` a second.
    pub(crate) fn new(lines: u32) -> Self {
        Self {
            lines,
            state: Mutex::default(),
        }
    }

    /// Whether a line may be written now: if so, how many were held back since the last
    /// one that was.
    pub(crate) fn admit(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state
            .since
            .is_none_or(|since| now.duration_since(since) >= PERIOD)
        {
            state.since = Some(now);
            state.let_through = 0;
        }
        if state.let_through == self.lines {
            state.held_back += 1;
            return None;
        }
        state.let_through += 1;
        Some(std::mem::take(&mut state.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_limit_are_counted_and_reported_later() {
        let limit = LogLimit::new(2);
        let start = Instant::now();
        assert_eq!([limit.admit(start), limit.admit(start)], [Some(0), Some(0)]);
        assert_eq!([limit.admit(start), limit.admit(start)], [None, None]);
        assert_eq!(limit.admit(start + PERIOD), Some(2));
        assert_eq!(limit.admit(start + PERIOD), Some(0));
    }
}
