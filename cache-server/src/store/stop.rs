//! The order to a thread of the store to end.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Given once, and heard also by a thread that sleeps.
#[derive(Debug, Default)]
pub(super) struct Stop {
    requested: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    pub(super) fn request(&self) {
        *self
            .requested
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Sleeps so long; true at once when the order was given.
    pub(super) fn requested_within(&self, interval: Duration) -> bool {
        let requested = self
            .requested
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .changed
            .wait_timeout_while(requested, interval, |requested| !*requested);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}
