//! Blow after blow against the processes of a mount, while readers are at work.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::dataset::Dataset;
use crate::mount::Mount;
use crate::random::Random;
use crate::readers::{Kind, Readers, Seen};
use crate::wait::wait_until;

/// A process takes over in a tenth of a second; a busy machine takes longer.
const TAKES_OVER: Duration = Duration::from_secs(30);

/// Between two blows, at least and at most.
const BETWEEN: (u64, u64) = (300, 700);

/// What readers have seen of a siege.
#[derive(Clone, Debug)]
pub struct Survived {
    /// What they have seen.
    pub seen: Seen,
    /// The longest time that one of them waited for an operation, for each blow.
    pub pauses: Vec<Duration>,
}

impl Survived {
    /// Fails the test if a reader has seen anything but a pause.
    ///
    /// # Panics
    /// With what the readers have seen, and the log of the mount.
    #[track_caller]
    pub fn assert_unharmed(&self, mount: &Mount) {
        assert!(
            self.seen.faults.is_empty(),
            "{:#?}\n{}",
            self.seen.faults,
            mount.log()
        );
        assert!(self.seen.operations > 0, "nobody has read anything");
    }
}

/// Strikes `blows` times, at times that follow from `seed`, while readers of `kinds` read
/// `dataset` at the mount. After each blow another process serves the mount.
///
/// # Panics
/// If none does so in time, with the log.
pub fn besiege(
    mount: &Mount,
    dataset: &Dataset,
    kinds: &[Kind],
    (blows, seed): (usize, u64),
    mut strike: impl FnMut(&Mount),
) -> Survived {
    let readers = Readers::start(dataset, &mount.path(), kinds);
    let mut random = Random::new(seed);
    let mut struck = Vec::with_capacity(blows);
    for _ in 0..blows {
        sleep(Duration::from_millis(
            BETWEEN.0 + random.below(BETWEEN.1 - BETWEEN.0),
        ));
        let before = mount.client_pid();
        struck.push(Instant::now());
        strike(mount);
        // The command that asks is a process itself, in the way of the one that takes over.
        let followed = wait_until(TAKES_OVER, || {
            mount.client_pid() != before
                && mount.serving_pid().is_some_and(|pid| Some(pid) != before)
        });
        assert!(followed, "nobody has taken over\n{}", mount.log());
    }
    sleep(Duration::from_millis(BETWEEN.1));
    let seen = readers.stop();
    let pauses = (0..blows)
        .map(|blow| longest(&seen, struck[blow], struck.get(blow + 1).copied()))
        .collect();
    Survived { seen, pauses }
}

/// The longest operation that was under way at `from` or began later, and ended before
/// `to`.
fn longest(seen: &Seen, from: Instant, to: Option<Instant>) -> Duration {
    let of_blow = seen
        .slow
        .iter()
        .filter(|slow| slow.ended >= from && to.is_none_or(|to| slow.ended < to));
    of_blow.map(|slow| slow.took).max().unwrap_or_default()
}

/// The processes whose command line has `word`: what a mount in that directory has left.
pub fn processes_with(word: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let lines = entries
        .flatten()
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    let word = word.display().to_string();
    lines
        .filter(|line| line.starts_with("forebay") || line.contains("/forebay "))
        .filter(|line| line.contains(&word))
        .collect()
}
