//! Several subjects over the same data, in turn.
//!
//! A cold round starts each subject anew with an empty cache, drops the page cache, and
//! makes one pass; what the subject has written is removed before the next one's turn. In
//! the cached rounds all subjects stay, their caches filled: for each course, each in turn
//! has the page cache dropped, makes a pass from its disk, and another from memory. Every
//! other round goes in the opposite order, so that nobody always has the place after the
//! same one. Where in memory and on the disk a file lies moves a pass by a third, so Forebay
//! and its limit meet in some more rounds, duels, for a median that can be told from 1.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, anyhow};

use crate::data::Set;
use crate::meter::Meter;
use crate::page_cache;
use crate::panic_words;
use crate::site::Site;
use crate::subject::{Forebay, Role, Running, State, Subject};
use crate::workload::{Check, Load, Workload};

mod standings;

#[cfg(test)]
pub(crate) use standings::example;
pub use standings::{Entry, Round, Setting, Standings};

/// What a subject may still have to write after its last answer.
const SETTLE: Duration = Duration::from_secs(2);

/// A workload on a number of threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// The workload.
    pub workload: Workload,
    /// The threads.
    pub threads: usize,
}

/// What is held.
#[derive(Clone, Copy, Debug)]
pub struct Contest<'c> {
    /// The data that all courses read.
    pub set: Set,
    /// Courses with nothing cached.
    pub cold: &'c [Course],
    /// Courses with all of it cached.
    pub cached: &'c [Course],
    /// Rounds of each.
    pub rounds: usize,
    /// Further rounds of the cached ones, of Forebay and the limits alone.
    pub duels: usize,
}

impl Contest<'_> {
    /// Holds it. A subject that fails is out, and the standings say why; the others go on.
    pub fn hold(&self, site: &Site, subjects: &[Box<dyn Subject>]) -> Standings {
        let mut standings = Standings::new(subjects);
        for course in self.cold {
            for round in 0..self.rounds {
                for place in turns(subjects.len(), round) {
                    self.cold_turn(
                        site,
                        &*subjects[place],
                        *course,
                        round,
                        &mut standings.entries[place],
                    );
                }
            }
        }
        if !self.cached.is_empty() {
            self.cached_rounds(site, subjects, &mut standings);
        }
        standings
    }

    fn cold_turn(
        &self,
        site: &Site,
        subject: &dyn Subject,
        course: Course,
        round: usize,
        entry: &mut Entry,
    ) {
        if entry.failure.is_some() || !subject.plays(course.workload, State::Cold) {
            return;
        }
        let dir = site.dir("cold");
        entry.attempt(|entry| {
            let running = subject.start(&dir)?;
            page_cache::drop_all()?;
            measure(site, &*running, course, State::Cold, round, entry)
        });
        entry.attempt(|_| Ok(std::fs::remove_dir_all(&dir)?));
    }

    fn cached_rounds(&self, site: &Site, subjects: &[Box<dyn Subject>], standings: &mut Standings) {
        let mut running: Vec<Option<Box<dyn Running>>> = Vec::new();
        for (place, subject) in subjects.iter().enumerate() {
            let entry = &mut standings.entries[place];
            running.push(self.fill(site, &**subject, place, entry));
        }
        for round in 0..self.rounds + self.duels {
            for course in self.cached {
                for place in turns(subjects.len(), round) {
                    let Some(running) = &running[place] else {
                        continue;
                    };
                    if round >= self.rounds && !duels(&*subjects[place]) {
                        continue;
                    }
                    standings.entries[place].attempt(|entry| {
                        page_cache::drop_all()?;
                        measure(site, &**running, *course, State::Warm, round, entry)?;
                        measure(site, &**running, *course, State::Hot, round, entry)
                    });
                }
            }
        }
        drop(running);
        for place in 0..subjects.len() {
            let dir = site.dir(&format!("cached-{place}"));
            standings.entries[place].attempt(|_| Ok(std::fs::remove_dir_all(&dir)?));
        }
    }

    /// Starts `subject` and reads all of the set through it, comparing every byte.
    fn fill(
        &self,
        site: &Site,
        subject: &dyn Subject,
        place: usize,
        entry: &mut Entry,
    ) -> Option<Box<dyn Running>> {
        let plays = |course: &Course| subject.plays(course.workload, State::Warm);
        if entry.failure.is_some() || !self.cached.iter().any(plays) {
            return None;
        }
        let dir = site.dir(&format!("cached-{place}"));
        let mut running = None;
        entry.attempt(|_| {
            let begun = subject.start(&dir)?;
            begun.pass(&Load::whole(self.set, site.data()), State::Cold)?;
            sleep(SETTLE);
            running = Some(begun);
            Ok(())
        });
        running
    }
}

/// One pass, and what it took, into the standings.
fn measure(
    site: &Site,
    running: &dyn Running,
    course: Course,
    state: State,
    round: usize,
    entry: &mut Entry,
) -> Result<()> {
    let load = Load {
        threads: course.threads,
        // The same places cold, warm and hot, other words of every page each time.
        check: Check::Pages((round * 3 + state as usize) as u64),
        ..Load::new(course.workload, site.data())
    };
    let meter = Meter::start(&running.pids());
    let pass = running.pass(&load, state)?;
    let used = meter.stop();
    let setting = Setting {
        workload: course.workload,
        threads: course.threads,
        state,
    };
    eprintln!(
        "  {setting}, round {round}: {} {:.0} {}",
        entry.name,
        pass.rate(),
        course.workload.unit()
    );
    entry.record(setting, Round::new(round, &pass, used));
    Ok(())
}

/// Whether a subject takes part in duels.
fn duels(subject: &dyn Subject) -> bool {
    subject.role() == Role::Limit || subject.name() == Forebay::NAME
}

/// The order of the turns of a round.
fn turns(count: usize, round: usize) -> Vec<usize> {
    let forward = 0..count;
    if round.is_multiple_of(2) {
        forward.collect()
    } else {
        forward.rev().collect()
    }
}

impl Entry {
    /// Does `work` unless something has failed already; an error or a panic (of the
    /// harness, which panics where a test would end) is the subject's failure.
    fn attempt(&mut self, work: impl FnOnce(&mut Self) -> Result<()>) {
        if self.failure.is_some() {
            return;
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| work(self)));
        let outcome = outcome.unwrap_or_else(|panic| Err(anyhow!("{}", panic_words(&*panic))));
        if let Err(error) = outcome {
            let words = format!("{error:#}");
            let first = words.lines().next().unwrap_or_default();
            eprintln!("  {}: failed: {first}", self.name);
            self.failure = Some(first.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_round_goes_backwards() {
        assert_eq!(turns(3, 0), [0, 1, 2]);
        assert_eq!(turns(3, 1), [2, 1, 0]);
    }
}
