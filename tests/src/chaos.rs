//! Chaos: everything below the readers of two mounts fails, again and again.
//!
//! One mount reads through a cache server whose disk is a small file system, one has a
//! cache of its own; both are supervised as users' mounts are. A [`Plan`] that follows from
//! a seed says what fails when and for how long. No single fault lasts as long as a reader
//! is promised to be waited for, so that readers may see pauses and nothing else.

use std::collections::BTreeMap;
use std::fmt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::readers::{Kind, Readers, Seen};

mod cache_server;
mod plan;
mod scene;

pub use plan::{Fault, Plan, Step};
use scene::Scene;

/// How long a scene is given after the last fault, so that readers see the end of it.
const CALM: Duration = Duration::from_secs(2);

/// What came of a run.
#[derive(Debug)]
pub struct Chaos {
    /// How often each kind of fault has happened.
    pub faults: BTreeMap<&'static str, u64>,
    /// What the readers have seen.
    pub seen: Seen,
    /// Panics in the logs, and processes that did not end in order.
    pub disorder: Vec<String>,
    /// How long the readers were at work.
    pub took: Duration,
}

impl Chaos {
    /// Lets `plan` happen, and tells `say` of each step.
    ///
    /// # Panics
    /// If the scene cannot be set up, or a part of it does not come back.
    pub fn run(plan: &Plan, mut say: impl FnMut(Duration, &Step)) -> Self {
        let mut scene = Scene::new(plan.seed());
        let dataset = scene.dataset().clone();
        let readers: Vec<_> = scene
            .roots()
            .iter()
            .map(|root| Readers::start(&dataset, root, &Kind::EIGHT))
            .collect();
        let began = Instant::now();
        let mut faults = BTreeMap::<_, u64>::new();
        for (at, step) in plan.steps() {
            sleep(at.saturating_sub(began.elapsed()));
            say(began.elapsed(), step);
            if let Step::Begin(fault) = step {
                *faults.entry(fault.name()).or_default() += 1;
            }
            scene.take(step);
        }
        sleep(plan.time().saturating_sub(began.elapsed()) + CALM);
        let mut seen = Seen::default();
        for readers in readers {
            seen.add(readers.stop());
        }
        let took = began.elapsed();
        Self {
            faults,
            seen,
            disorder: scene.end(),
            took,
        }
    }

    /// Whether readers have seen nothing but pauses, and everything ended in order.
    pub fn is_unharmed(&self) -> bool {
        self.seen.faults.is_empty() && self.disorder.is_empty() && self.seen.operations > 0
    }

    /// The longest that a reader has waited for one operation.
    pub fn longest_pause(&self) -> Duration {
        let slow = self.seen.slow.iter().map(|slow| slow.took);
        slow.max().unwrap_or_default()
    }
}

impl fmt::Display for Chaos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<_> = self
            .faults
            .iter()
            .map(|(name, times)| format!("{times} {name}"))
            .collect();
        let (wrong, errors): (Vec<_>, Vec<_>) = self
            .seen
            .faults
            .iter()
            .partition(|fault| fault.contains("wrong byte"));
        writeln!(f, "faults: {}", faults.join(", "))?;
        writeln!(
            f,
            "readers: {} operations in {:.0?}, {} MiB compared, {} errors, {} wrong bytes, longest pause {:.2?}",
            self.seen.operations,
            self.took,
            self.seen.bytes >> 20,
            errors.len(),
            wrong.len(),
            self.longest_pause()
        )?;
        let harm = wrong.iter().chain(&errors).copied().chain(&self.disorder);
        harm.take(20).try_for_each(|line| writeln!(f, "  {line}"))
    }
}
