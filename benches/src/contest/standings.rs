//! What came of a contest.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::meter::Used;
use crate::sample::Sample;
use crate::subject::{Role, State, Subject};
use crate::workload::{Pass, Workload};

/// What is compared with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Setting {
    /// The workload.
    pub workload: Workload,
    /// On how many threads.
    pub threads: usize,
    /// From where.
    pub state: State,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.state.title(), self.workload.title())?;
        match self.threads {
            1 => Ok(()),
            threads => write!(f, ", {threads} threads"),
        }
    }
}

/// One subject's pass in one round.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Round {
    /// Which round.
    pub round: usize,
    /// In the workload's unit.
    pub rate: f64,
    /// Processor seconds of the serving processes for a GiB, or for a million entries.
    pub server_cpu: f64,
    /// Processor seconds of the reader for a GiB, or for a million entries.
    pub reader_cpu: f64,
    /// Peak resident memory of the serving processes, in bytes.
    pub peak: u64,
    /// Median time of one operation in seconds, where each was timed.
    pub p50: Option<f64>,
    /// The time that one operation in a hundred exceeds, in seconds.
    pub p99: Option<f64>,
}

impl Round {
    /// What a pass and its service took.
    pub fn new(round: usize, pass: &Pass, used: Used) -> Self {
        let timed = |share| (!pass.latencies.is_empty()).then(|| pass.latencies.percentile(share));
        Self {
            round,
            rate: pass.rate(),
            server_cpu: used.cpu.as_secs_f64() / pass.volume(),
            reader_cpu: pass.cpu.as_secs_f64() / pass.volume(),
            peak: used.peak,
            p50: timed(0.5),
            p99: timed(0.99),
        }
    }

    /// Processor seconds of both sides.
    pub fn cpu(&self) -> f64 {
        self.server_cpu + self.reader_cpu
    }
}

/// One subject.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: String,
    /// What it is.
    pub role: Role,
    /// Why it is out, if it is.
    pub failure: Option<String>,
    #[serde(serialize_with = "as_list")]
    figures: BTreeMap<Setting, Vec<Round>>,
}

impl Entry {
    /// A subject that has not been measured yet.
    pub fn new(name: &'static str, version: String, role: Role) -> Self {
        Self {
            name,
            version,
            role,
            failure: None,
            figures: BTreeMap::new(),
        }
    }

    /// Adds a round.
    pub fn record(&mut self, setting: Setting, round: Round) {
        self.figures.entry(setting).or_default().push(round);
    }

    /// A figure of each round; none if the subject did not take part.
    pub fn sample(&self, setting: Setting, figure: impl Fn(&Round) -> f64) -> Sample {
        Sample::new(self.rounds(setting).iter().map(figure))
    }

    fn rounds(&self, setting: Setting) -> &[Round] {
        self.figures.get(&setting).map_or(&[], Vec::as_slice)
    }
}

/// JSON has no maps with keys other than strings.
fn as_list<S: serde::Serializer>(
    figures: &BTreeMap<Setting, Vec<Round>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Figures<'f> {
        #[serde(flatten)]
        setting: &'f Setting,
        unit: &'static str,
        rounds: &'f [Round],
    }
    serializer.collect_seq(figures.iter().map(|(setting, rounds)| Figures {
        setting,
        unit: setting.workload.unit(),
        rounds,
    }))
}

/// All subjects, in the order in which they were named.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Standings {
    /// The subjects.
    pub entries: Vec<Entry>,
}

impl Standings {
    /// Nobody has been measured.
    pub fn new(subjects: &[Box<dyn Subject>]) -> Self {
        let entries = subjects
            .iter()
            .map(|subject| Entry::new(subject.name(), subject.version(), subject.role()));
        Self {
            entries: entries.collect(),
        }
    }

    /// Adds what another contest of the same subjects came to.
    pub fn merge(&mut self, other: Self) {
        if self.entries.is_empty() {
            *self = other;
            return;
        }
        for (entry, more) in self.entries.iter_mut().zip(other.entries) {
            entry.failure = entry.failure.take().or(more.failure);
            entry.figures.extend(more.figures);
        }
    }

    /// The subject of this name.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// All that was compared, in order.
    pub fn settings(&self) -> Vec<Setting> {
        let all = self.entries.iter().flat_map(|entry| entry.figures.keys());
        let mut settings: Vec<Setting> = all.copied().collect();
        settings.sort_unstable();
        settings.dedup();
        settings
    }

    /// A figure of `name`, by round, relative to that of `other` in the same round.
    pub fn ratio(
        &self,
        setting: Setting,
        name: &str,
        other: &str,
        figure: impl Fn(&Round) -> f64,
    ) -> Sample {
        let rounds = |name| {
            self.entry(name)
                .map_or(&[][..], |entry| entry.rounds(setting))
        };
        let pairs = rounds(name).iter().filter_map(|ours| {
            let theirs = rounds(other)
                .iter()
                .find(|theirs| theirs.round == ours.round)?;
            Some(figure(ours) / figure(theirs))
        });
        Sample::new(pairs)
    }

    /// The same of rates, by two rounds: one went forward, one backward.
    pub fn ratio_both_ways(&self, setting: Setting, name: &str, other: &str) -> Sample {
        let rates = |name| -> Vec<f64> {
            let entry = self.entry(name).map(|entry| entry.rounds(setting));
            entry
                .unwrap_or_default()
                .iter()
                .map(|round| round.rate)
                .collect()
        };
        Sample::of_both_ways(&rates(name), &rates(other))
    }

    /// The peer with the highest median rate, of those that `counts`.
    pub fn best_peer(&self, setting: Setting, counts: &dyn Fn(&Entry) -> bool) -> Option<&Entry> {
        self.peers(setting)
            .filter(|entry| counts(entry))
            .max_by(|a, b| rate(a, setting).total_cmp(&rate(b, setting)))
    }

    /// The peers that were measured.
    pub fn peers(&self, setting: Setting) -> impl Iterator<Item = &Entry> {
        let took_part = move |entry: &&Entry| !entry.rounds(setting).is_empty();
        self.entries
            .iter()
            .filter(|entry| entry.role == Role::Peer)
            .filter(took_part)
    }

    /// The limit that was measured.
    pub fn limit(&self, setting: Setting) -> Option<&Entry> {
        let took_part = |entry: &&Entry| !entry.rounds(setting).is_empty();
        let mut limits = self
            .entries
            .iter()
            .filter(|entry| entry.role == Role::Limit);
        limits.find(took_part)
    }
}

fn rate(entry: &Entry, setting: Setting) -> f64 {
    entry.sample(setting, |round| round.rate).median()
}

/// Standings as they could come out, for tests of what is made from them.
#[cfg(test)]
pub(crate) mod example {
    use super::*;

    fn entry(name: &'static str, role: Role, rates: &[(State, f64)]) -> Entry {
        let mut entry = Entry::new(name, "1.2".into(), role);
        for (state, rate) in rates {
            for round in 0..3 {
                let round = Round {
                    round,
                    rate: rate * (1.0 + round as f64 / 10.0),
                    server_cpu: 0.25,
                    reader_cpu: 0.5,
                    peak: 10 << 20,
                    p50: None,
                    p99: None,
                };
                entry.record(setting(*state), round);
            }
        }
        entry
    }

    pub(crate) fn setting(state: State) -> Setting {
        Setting {
            workload: Workload::Epoch,
            threads: 1,
            state,
        }
    }

    pub(crate) fn standings() -> Standings {
        let mut broken = entry("s3fs", Role::Peer, &[]);
        broken.failure = Some("no such <program>".into());
        Standings {
            entries: vec![
                entry(
                    "local",
                    Role::Limit,
                    &[(State::Warm, 600.0), (State::Hot, 2000.0)],
                ),
                entry("raw GET", Role::Limit, &[(State::Cold, 400.0)]),
                entry(
                    "Forebay",
                    Role::Ours,
                    &[
                        (State::Cold, 390.0),
                        (State::Warm, 590.0),
                        (State::Hot, 1900.0),
                    ],
                ),
                entry(
                    "rclone",
                    Role::Peer,
                    &[
                        (State::Cold, 100.0),
                        (State::Warm, 200.0),
                        (State::Hot, 500.0),
                    ],
                ),
                broken,
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::example::{setting, standings};
    use super::*;

    #[test]
    fn ratios_are_of_the_same_round() {
        let ratio = standings().ratio(setting(State::Warm), "rclone", "local", |round| round.rate);
        assert_eq!(ratio.len(), 3);
        for value in [ratio.min(), ratio.max()] {
            assert!((value - 1.0 / 3.0).abs() < 1e-9, "{value}");
        }
    }

    #[test]
    fn the_best_peer_and_the_limit_are_those_that_took_part() {
        let standings = standings();
        let cold = setting(State::Cold);
        assert_eq!(standings.best_peer(cold, &|_| true).unwrap().name, "rclone");
        assert_eq!(standings.limit(cold).unwrap().name, "raw GET");
        assert_eq!(standings.limit(setting(State::Hot)).unwrap().name, "local");
        assert!(
            standings
                .ratio(cold, "s3fs", "raw GET", |round| round.rate)
                .is_empty()
        );
    }

    #[test]
    fn json_has_every_round() {
        let json = serde_json::to_value(standings()).unwrap();
        let ours = &json["entries"][2]["figures"][0];
        assert_eq!(ours["state"], "cold");
        assert_eq!(ours["workload"], "epoch");
        assert_eq!(ours["rounds"].as_array().unwrap().len(), 3);
    }
}
