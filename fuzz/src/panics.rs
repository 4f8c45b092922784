//! Panics, of this thread and of those that a target has started.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, Once, PoisonError};

static LAST: Mutex<Option<String>> = Mutex::new(None);

/// Runs `work` and returns what a panic said, if there was one in any thread.
pub(crate) fn caught(work: impl FnOnce()) -> Option<String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        // One line for the report, in the place of a page for each thread.
        std::panic::set_hook(Box::new(|info| {
            *last() = Some(info.to_string().replace('\n', ": "));
        }));
    });
    *last() = None;
    let outcome = catch_unwind(AssertUnwindSafe(work));
    let said = last().take();
    match outcome {
        Ok(()) => said,
        Err(_) => Some(said.unwrap_or_else(|| "panicked".to_owned())),
    }
}

fn last() -> std::sync::MutexGuard<'static, Option<String>> {
    LAST.lock().unwrap_or_else(PoisonError::into_inner)
}
