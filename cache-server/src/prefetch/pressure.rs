//! Whether memory is short.
//!
//! Three signs are looked at: how full the tightest control group is, how much memory
//! the machine has left, and how long tasks wait for memory (PSI). Any of them makes
//! memory short; it is not short any more when all have gone back a good way, so that
//! prefetch does not flutter.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::cgroup::MemoryGroups;
use super::stall;

/// How old an answer may be: a look costs some ten microseconds.
const FRESH: Duration = Duration::from_millis(100);

/// Where a sign turns bad, and where it is good again.
#[derive(Clone, Copy, Debug)]
struct Mark {
    bad: f64,
    good: f64,
}

/// The part of a control group's limit that is in use and cannot be dropped.
const GROUP: Mark = Mark {
    bad: 0.90,
    good: 0.80,
};
/// The part of the machine's memory that is in use and cannot be dropped.
const MACHINE: Mark = Mark {
    bad: 0.97,
    good: 0.95,
};
/// Percent of the time in which some task waited for memory.
const STALL: Mark = Mark {
    bad: 20.0,
    good: 10.0,
};

/// Whether memory is short, looked at as often as somebody asks but not oftener than
/// every 100 ms.
#[derive(Debug)]
pub(super) struct Pressure {
    proc: PathBuf,
    groups: MemoryGroups,
    high: AtomicBool,
    since: Instant,
    /// When it was looked at last, in milliseconds of `since`.
    looked_ms: AtomicU64,
}

/// The memory that this process may use, by its control groups or the machine; `None`
/// if neither says.
pub fn memory_limit() -> Option<u64> {
    let pressure = Pressure::of_this_process();
    let machine = pressure.machine().map(|(total, _)| total);
    [pressure.groups.limit(), machine]
        .into_iter()
        .flatten()
        .min()
}

impl Pressure {
    pub(super) fn of_this_process() -> Self {
        Self::of(Path::new("/proc"), Path::new("/sys/fs/cgroup"))
    }

    fn of(proc: &Path, cgroup: &Path) -> Self {
        let membership = fs::read_to_string(proc.join("self/cgroup")).unwrap_or_default();
        let pressure = Self {
            proc: proc.to_owned(),
            groups: MemoryGroups::find(&membership, cgroup),
            high: AtomicBool::new(false),
            since: Instant::now(),
            looked_ms: AtomicU64::new(0),
        };
        pressure.look();
        pressure
    }

    /// Whether memory is short.
    pub(super) fn is_high(&self) -> bool {
        let now = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let looked = self.looked_ms.load(Ordering::Relaxed);
        let stale = now.saturating_sub(looked) >= FRESH.as_millis() as u64;
        let claim = |at| {
            self.looked_ms
                .compare_exchange(at, now, Ordering::Relaxed, Ordering::Relaxed)
        };
        // Whoever loses the race takes the old answer.
        if stale && claim(looked).is_ok() {
            self.look();
        }
        self.high.load(Ordering::Relaxed)
    }

    fn look(&self) {
        let was = self.high.load(Ordering::Relaxed);
        let passes = |value: f64, mark: Mark| value >= if was { mark.good } else { mark.bad };
        let group = self
            .groups
            .tightest()
            .map(|standing| standing.used_bytes as f64 / standing.limit_bytes.max(1) as f64);
        let machine = self
            .machine()
            .map(|(total, available)| 1.0 - available as f64 / total.max(1) as f64);
        let signs = [(group, GROUP), (machine, MACHINE), (self.stalls(), STALL)];
        let is = signs
            .iter()
            .any(|(value, mark)| value.is_some_and(|value| passes(value, *mark)));
        self.high.store(is, Ordering::Relaxed);
        if is != was {
            tracing::info!(?group, ?machine, stalls = ?self.stalls(), short = is, "memory for prefetch");
        }
    }

    /// Memory of the machine: all, and what is left.
    fn machine(&self) -> Option<(u64, u64)> {
        let info = fs::read_to_string(self.proc.join("meminfo")).ok()?;
        let bytes = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name))?;
            let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
            kib.checked_mul(1024)
        };
        Some((bytes("MemTotal:")?, bytes("MemAvailable:")?))
    }

    /// Percent of the last ten seconds; of the own group where it is known, else of the
    /// machine.
    fn stalls(&self) -> Option<f64> {
        let machine = || fs::read_to_string(self.proc.join("pressure/memory")).ok();
        stall::some_avg10(&self.groups.stalls().or_else(machine)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Machine {
        dir: tempfile::TempDir,
        pressure: Pressure,
    }

    impl Machine {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a directory");
            for sub in ["proc/self", "proc/pressure", "cgroup"] {
                fs::create_dir_all(dir.path().join(sub)).expect("a directory");
            }
            let write = |name: &str, text: &str| {
                fs::write(dir.path().join(name), text).expect("a file");
            };
            write("proc/self/cgroup", "0::/\n");
            write("proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 500 kB\n");
            write("cgroup/memory.max", "1000");
            write("cgroup/memory.current", "500");
            let pressure = Pressure::of(&dir.path().join("proc"), &dir.path().join("cgroup"));
            Self { dir, pressure }
        }

        fn high_with(&self, name: &str, text: &str) -> bool {
            fs::write(self.dir.path().join(name), text).expect("a file");
            self.pressure.look();
            self.pressure.is_high()
        }
    }

    #[test]
    fn a_group_near_its_limit_is_short_of_memory_until_it_is_well_below() {
        let machine = Machine::new();
        assert!(!machine.pressure.is_high());
        assert!(!machine.high_with("cgroup/memory.current", "890"));
        assert!(machine.high_with("cgroup/memory.current", "910"));
        assert!(machine.high_with("cgroup/memory.current", "850"));
        assert!(!machine.high_with("cgroup/memory.current", "790"));
        assert!(!machine.high_with("cgroup/memory.current", "850"));
    }

    #[test]
    fn a_machine_without_memory_and_one_that_stalls_are_short_too() {
        let machine = Machine::new();
        let left = |kib| format!("MemTotal: 1000 kB\nMemAvailable: {kib} kB\n");
        assert!(machine.high_with("proc/meminfo", &left(20)));
        assert!(!machine.high_with("proc/meminfo", &left(500)));
        assert!(machine.high_with("proc/pressure/memory", "some avg10=25.00 avg60=0\n"));
        assert!(!machine.high_with("proc/pressure/memory", "some avg10=0.00 avg60=0\n"));
        assert!(machine.high_with("cgroup/memory.pressure", "some avg10=30.00\n"));
    }

    #[test]
    fn nothing_known_is_nothing_short() {
        let dir = tempfile::tempdir().expect("a directory");
        let pressure = Pressure::of(dir.path(), dir.path());
        assert!(!pressure.is_high());
    }

    #[test]
    fn this_machine_says_how_much_memory_it_has() {
        assert!(memory_limit().is_some_and(|bytes| bytes > 1 << 20));
    }
}
