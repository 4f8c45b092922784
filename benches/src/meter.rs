//! What the processes that serve a file system take while it is read.

use std::time::Duration;

use crate::process;

/// Processor time and memory of some processes together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Used {
    /// User and system time.
    pub cpu: Duration,
    /// The highest resident memory, in bytes: the sum of the peaks, which need not have
    /// been at one time.
    pub peak: u64,
}

/// A measurement under way.
#[derive(Debug)]
pub struct Meter {
    before: Vec<(u32, Duration)>,
}

impl Meter {
    /// Begins with processes `pids`. One that is not there counts as nothing.
    pub fn start(pids: &[u32]) -> Self {
        let begin = |&pid: &u32| {
            process::reset_peak(pid).ok()?;
            Some((pid, process::cpu_time(pid).ok()?))
        };
        Self {
            before: pids.iter().filter_map(begin).collect(),
        }
    }

    /// What they have used since.
    pub fn stop(self) -> Used {
        let mut used = Used::default();
        for (pid, before) in self.before {
            let after = process::cpu_time(pid).unwrap_or(before);
            used.cpu += after.saturating_sub(before);
            used.peak += process::memory(pid).map_or(0, |memory| memory.peak);
        }
        used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_and_memory_are_seen() {
        let meter = Meter::start(&[std::process::id()]);
        let mut sum = 0_u64;
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_millis(100) {
            sum = std::hint::black_box(sum.wrapping_mul(3) + 1);
        }
        let used = meter.stop();
        assert!(
            used.cpu >= Duration::from_millis(20) && used.peak > 0,
            "{used:?}"
        );
    }
}
