//! How much memory the process has taken, told by its allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

#[global_allocator]
static COUNTED: Counted = Counted;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, with its bytes counted.
struct Counted;

#[expect(unsafe_code, reason = "the trait of an allocator is unsafe")]
// SAFETY: everything is handed to the system's allocator as it comes.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(now, Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// Held by the one thread that observes the process: its memory, and the panics of its
/// threads, are not told apart by who caused them.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The bytes in use now; [`peak`] is counted from here on.
pub(crate) fn start() -> usize {
    let now = NOW.load(Relaxed);
    PEAK.store(now, Relaxed);
    now
}

/// The most bytes that were in use at one time since [`start`], above those of then.
pub(crate) fn peak(start: usize) -> usize {
    PEAK.load(Relaxed).saturating_sub(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_and_given_back_is_in_the_peak() {
        let _alone = alone();
        let before = start();
        drop(std::hint::black_box(Vec::<u8>::with_capacity(9 << 20)));
        assert!(peak(before) >= 9 << 20);
    }
}
