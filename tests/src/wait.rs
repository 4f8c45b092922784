//! Waiting for a condition, with an end.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Asks `condition` every 20 ms until it holds; false if it does not within `limit`.
pub fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        sleep(Duration::from_millis(20));
    }
}
