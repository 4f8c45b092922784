//! Which code an input has reached, where the program was built to count it.
//!
//! `coverage-rustc.sh` has the compiler put a counter of one byte at each branch of the
//! project's own crates (SanitizerCoverage of LLVM, inline 8-bit counters); the counters
//! announce themselves here. In any other build there are none, and nothing is new.

use std::sync::Mutex;
use std::sync::PoisonError;

/// Where the counters lie: address and number.
static COUNTERS: Mutex<Option<(usize, usize)>> = Mutex::new(None);

#[expect(unsafe_code, reason = "called by the code that the compiler puts in")]
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, end: *mut u8) {
    let (start, end) = (start as usize, end as usize);
    // Every object file announces the same counters, those of the whole program.
    *COUNTERS.lock().unwrap_or_else(PoisonError::into_inner) =
        Some((start, end.saturating_sub(start)));
}

/// What has been reached so far.
#[derive(Debug)]
pub struct Coverage {
    start: usize,
    /// For each counter, which classes of counts were seen.
    seen: Vec<u8>,
}

impl Default for Coverage {
    fn default() -> Self {
        let counters = *COUNTERS.lock().unwrap_or_else(PoisonError::into_inner);
        let (start, len) = counters.unwrap_or((0, 0));
        Self {
            start,
            seen: vec![0; len],
        }
    }
}

impl Coverage {
    /// Whether the program counts at all.
    pub fn is_counted(&self) -> bool {
        !self.seen.is_empty()
    }

    /// How many branches have been reached.
    pub fn reached(&self) -> usize {
        self.seen.iter().filter(|seen| **seen != 0).count()
    }

    /// Sets all counters to zero.
    pub fn start(&mut self) {
        for counter in self.counters() {
            if counter.load(Relaxed) != 0 {
                counter.store(0, Relaxed);
            }
        }
    }

    /// Takes what was counted since [`start`](Self::start); whether some of it is new.
    pub fn take(&mut self) -> bool {
        let start = self.start;
        let mut new = false;
        for (counter, seen) in counters(start, self.seen.len()).iter().zip(&mut self.seen) {
            let class = class_of(counter.load(Relaxed));
            new |= class & !*seen != 0;
            *seen |= class;
        }
        new
    }

    fn counters(&self) -> &'static [AtomicU8] {
        counters(self.start, self.seen.len())
    }
}

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

fn counters(start: usize, len: usize) -> &'static [AtomicU8] {
    if len == 0 {
        return &[];
    }
    #[expect(unsafe_code, reason = "the counters are the linker's")]
    // SAFETY: the range is the program's section of counters, which lives as long as it,
    // and whose bytes are written by the counting code alone.
    unsafe {
        std::slice::from_raw_parts(start as *const AtomicU8, len)
    }
}

/// Counts as they differ: once, twice, a few times, often. One bit each.
fn class_of(count: u8) -> u8 {
    match count {
        0 => 0,
        1 => 1,
        2 => 2,
        3 => 4,
        4..8 => 8,
        8..16 => 16,
        16..32 => 32,
        32..128 => 64,
        128.. => 128,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_counters_nothing_is_new() {
        let mut coverage = Coverage::default();
        coverage.start();
        assert_eq!(coverage.take(), coverage.is_counted());
        assert_eq!(coverage.reached() > 0, coverage.is_counted());
    }

    #[test]
    fn every_count_has_one_class_and_only_none_has_no_class() {
        for count in 0..=u8::MAX {
            assert_eq!(class_of(count).count_ones(), u32::from(count > 0));
        }
    }
}
