//! One target, read again and again.

use std::time::{Duration, Instant};

use forebay_tests::Random;

use crate::coverage::Coverage;
use crate::memory;
use crate::mutate::mutate;
use crate::panics;
use crate::target::Target;
use crate::watch::Watch;

/// The most inputs that are mutated further: the oldest finds make room.
const MOST_INPUTS: usize = 4096;

/// A target under mutated inputs.
pub struct Campaign {
    target: Box<dyn Target>,
    random: Random,
    inputs: Vec<Vec<u8>>,
    given: usize,
    coverage: Coverage,
    watch: Watch,
}

/// What a campaign has come to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Inputs read.
    pub runs: u64,
    /// The time it took.
    pub took: Duration,
    /// Inputs found that reached something new.
    pub found: usize,
    /// Branches reached; 0 where they are not counted.
    pub branches: usize,
    /// The first input that was not borne.
    pub crash: Option<Crash>,
}

/// An input that was not borne, and why.
#[derive(Clone, Debug)]
pub struct Crash {
    /// The input.
    pub input: Vec<u8>,
    /// What happened.
    pub reason: String,
}

impl std::fmt::Debug for Campaign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Campaign")
            .field("target", &self.target.name())
            .field("inputs", &self.inputs.len())
            .finish_non_exhaustive()
    }
}

impl Campaign {
    /// Begins with the target's valid inputs and `corpus`.
    pub fn new(target: Box<dyn Target>, corpus: Vec<Vec<u8>>, seed: u64) -> Self {
        let mut inputs = target.seeds();
        inputs.extend(corpus);
        Self {
            watch: Watch::new(target.name()),
            target,
            random: Random::new(seed),
            given: inputs.len(),
            inputs,
            coverage: Coverage::default(),
        }
    }

    /// Reads what it began with, then mutations for `time`; ends with the first crash.
    /// `progress` hears of it about every tenth of a second.
    pub fn run(&mut self, time: Duration, progress: impl Fn(&Outcome)) -> Outcome {
        let began = Instant::now();
        let mut outcome = Outcome {
            runs: 0,
            took: Duration::ZERO,
            found: 0,
            branches: 0,
            crash: None,
        };
        let mut told = Duration::ZERO;
        for given in self.inputs.clone() {
            outcome.runs += 1;
            self.coverage.start();
            outcome.crash = self.read(&given);
            self.coverage.take();
            if outcome.crash.is_some() {
                break;
            }
        }
        while outcome.crash.is_none() && began.elapsed() < time {
            let input = self.next_input();
            outcome.runs += 1;
            self.coverage.start();
            outcome.crash = self.read(&input);
            if self.coverage.take() {
                self.keep(input);
                outcome.found += 1;
            }
            outcome.took = began.elapsed();
            if outcome.took > told + Duration::from_millis(100) {
                told = outcome.took;
                outcome.branches = self.coverage.reached();
                progress(&outcome);
            }
        }
        outcome.took = began.elapsed();
        outcome.branches = self.coverage.reached();
        outcome
    }

    /// Reads one input and says what was wrong with that.
    pub fn read(&mut self, input: &[u8]) -> Option<Crash> {
        let _alone = memory::alone();
        self.watch.begins(input);
        let before = memory::start();
        let said = panics::caught(|| self.target.read(input));
        let (taken, most) = (memory::peak(before), self.target.most_memory(input.len()));
        self.watch.ends();
        let reason = match said {
            Some(said) => said,
            None if taken > most => {
                let len = input.len();
                format!("an input of {len} bytes took {taken} bytes of memory; the bound is {most}")
            }
            None => return None,
        };
        Some(Crash {
            input: input.to_vec(),
            reason,
        })
    }

    /// The inputs that reach everything that was reached, few and short ones; without
    /// those that were valid from the start.
    pub fn distilled(&mut self) -> Vec<Vec<u8>> {
        self.coverage = Coverage::default();
        let mut all = std::mem::take(&mut self.inputs);
        all[self.given..].sort_by_key(Vec::len);
        let mut kept = Vec::new();
        for (number, input) in all.iter().enumerate() {
            self.coverage.start();
            let crash = self.read(input);
            let new = self.coverage.take();
            if number >= self.given && new && crash.is_none() {
                kept.push(input.clone());
            }
        }
        self.inputs = all;
        kept
    }

    fn next_input(&mut self) -> Vec<u8> {
        let Self {
            inputs,
            random,
            target,
            ..
        } = self;
        let mut input: Vec<u8> = random.pick(inputs).clone();
        let other: &Vec<u8> = random.pick(inputs);
        mutate(&mut input, other, target.words(), random);
        // One in four keeps its wrong checksums: they must be noticed, too.
        if random.below(4) > 0 {
            target.seal(&mut input, random);
        }
        input
    }

    fn keep(&mut self, input: Vec<u8>) {
        if self.inputs.len() < MOST_INPUTS {
            self.inputs.push(input);
        } else {
            let found = (self.inputs.len() - self.given) as u64;
            let at = self.given + self.random.below(found.max(1)) as usize;
            if let Some(place) = self.inputs.get_mut(at) {
                *place = input;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Panics at an input with a certain byte, in a thread of its own.
    struct Fragile {
        at: u8,
    }

    impl Target for Fragile {
        fn name(&self) -> &'static str {
            "fragile"
        }

        fn seeds(&self) -> Vec<Vec<u8>> {
            vec![vec![0; 4]]
        }

        fn most_memory(&self, _len: usize) -> usize {
            1 << 20
        }

        fn read(&mut self, input: &[u8]) {
            assert!(!input.contains(&200), "200 is not borne");
            if input.contains(&self.at) {
                std::thread::scope(|scope| {
                    drop(scope.spawn(|| panic!("in a thread")).join());
                });
            }
            if input.contains(&100) {
                drop(std::hint::black_box(Vec::<u8>::with_capacity(8 << 20)));
            }
        }
    }

    #[test]
    fn a_crash_is_found_and_is_the_same_with_the_same_seed() {
        let long = Duration::from_secs(60);
        let crash = |seed| {
            let mut campaign = Campaign::new(Box::new(Fragile { at: 7 }), vec![vec![1]], seed);
            campaign.run(long, |_| {}).crash.expect("a crash")
        };
        let first = crash(5);
        assert_eq!(crash(5).input, first.input);
    }

    #[test]
    fn panics_of_threads_and_a_thirst_for_memory_are_crashes() {
        let mut campaign = Campaign::new(Box::new(Fragile { at: 7 }), Vec::new(), 1);
        let mut reason = |byte| campaign.read(&[byte]).map(|crash| crash.reason);
        assert_eq!(reason(1), None);
        assert!(reason(7).expect("a crash").contains("in a thread"));
        assert!(reason(200).expect("a crash").contains("not borne"));
        assert!(reason(100).expect("a crash").contains("bytes of memory"));
        assert_eq!(reason(2), None);
    }
}
