//! How many origin reads at once: climbing a hill whose height is throughput.
//!
//! The law knows no clock. It is told of **rounds**, in each of which about as many
//! reads ended as were allowed at once, and says how many may be next:
//!
//! - one more step up is tried, and kept if throughput grew with it; the first climb
//!   doubles, later ones go by a quarter;
//! - what did not help is taken back, and after a rest the other direction is tried: a
//!   step down is kept if nothing was lost;
//! - a round in which the origin asked to slow down costs a quarter, and a longer rest;
//! - a round in which nobody waited for a place, or nothing came, says nothing.

use std::time::Duration;

/// A step up must bring at least this, or it is taken back.
const GAIN: f64 = 1.05;
/// A step down may cost as much as this.
const LOSS: f64 = 0.97;
/// Rounds between two tries: the cost of a try that fails is one round in ten.
const REST: u32 = 10;
/// Rounds of rest after the origin asked to slow down.
const REST_AFTER_THROTTLE: u32 = 30;

/// What happened while a limit held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    pub(super) bytes: u64,
    pub(super) elapsed: Duration,
    /// Whether somebody waited for a place.
    pub(super) saturated: bool,
    /// Whether the origin asked to slow down.
    pub(super) throttled: bool,
}

/// The law and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Climb {
    limit: usize,
    most: usize,
    phase: Phase,
    first_climb: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Direction {
    Up,
    Down,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// `limit` is on trial against what was before.
    Trial {
        before: usize,
        rate: f64,
        direction: Direction,
    },
    /// The throughput of `limit` is measured, for the next trial to be compared with.
    Rest {
        rounds: u32,
        bytes: u64,
        elapsed: Duration,
        next: Direction,
    },
}

impl Climb {
    /// Begins at `first` and never allows more than `most`, nor less than 1.
    pub(super) fn new(first: usize, most: usize) -> Self {
        let most = most.max(1);
        let first = first.clamp(1, most);
        Self {
            limit: first,
            most,
            phase: Phase::Trial {
                before: first,
                rate: 0.0,
                direction: Direction::Up,
            },
            first_climb: true,
        }
    }

    /// How many reads are allowed at once.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Learns from a round; true if the limit changed.
    pub(super) fn learn(&mut self, round: &Round) -> bool {
        let old = self.limit;
        if round.throttled {
            self.limit = (self.limit - self.limit.div_ceil(4)).max(1);
            self.first_climb = false;
            self.phase = resting(REST_AFTER_THROTTLE, Direction::Up);
        } else if round.saturated && round.bytes > 0 {
            self.compare(round);
        }
        self.limit != old
    }

    fn compare(&mut self, round: &Round) {
        match self.phase {
            Phase::Trial {
                before,
                rate,
                direction,
            } => {
                let now = per_second(round.bytes, round.elapsed);
                let wanted = match direction {
                    Direction::Up => rate * GAIN,
                    Direction::Down => rate * LOSS,
                };
                if now > wanted {
                    return self.step(direction, now);
                }
                self.limit = before;
                self.first_climb = false;
                self.phase = resting(REST, other(direction));
            }
            Phase::Rest {
                rounds,
                bytes,
                elapsed,
                next,
            } => {
                let (bytes, elapsed) = (bytes + round.bytes, elapsed + round.elapsed);
                if rounds > 1 {
                    self.phase = Phase::Rest {
                        rounds: rounds - 1,
                        bytes,
                        elapsed,
                        next,
                    };
                } else {
                    self.step(next, per_second(bytes, elapsed));
                }
            }
        }
    }

    /// Goes one step further from where throughput is `rate`, if there is one.
    fn step(&mut self, direction: Direction, rate: f64) {
        let before = self.limit;
        let quarter = before.div_ceil(4);
        let to = match direction {
            Direction::Up if self.first_climb => before * 2,
            Direction::Up => before + quarter,
            Direction::Down => before.saturating_sub(quarter),
        };
        self.limit = to.clamp(1, self.most);
        self.phase = if self.limit == before {
            self.first_climb = false;
            resting(REST, other(direction))
        } else {
            Phase::Trial {
                before,
                rate,
                direction,
            }
        };
    }
}

fn resting(rounds: u32, next: Direction) -> Phase {
    Phase::Rest {
        rounds,
        bytes: 0,
        elapsed: Duration::ZERO,
        next,
    }
}

fn other(direction: Direction) -> Direction {
    match direction {
        Direction::Up => Direction::Down,
        Direction::Down => Direction::Up,
    }
}

fn per_second(bytes: u64, elapsed: Duration) -> f64 {
    bytes as f64 / elapsed.as_secs_f64().max(1e-6)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Runs rounds against an origin that gives `rate(limit)` bytes a second.
    fn run(climb: &mut Climb, rounds: usize, rate: impl Fn(usize) -> f64) -> Vec<usize> {
        let round = |climb: &mut Climb| {
            let round = Round {
                bytes: rate(climb.limit()) as u64,
                elapsed: SECOND,
                saturated: true,
                throttled: false,
            };
            climb.learn(&round);
            climb.limit()
        };
        (0..rounds).map(|_| round(climb)).collect()
    }

    /// Each read has a latency; together they have a bandwidth of 40 reads' worth.
    fn link(limit: usize) -> f64 {
        limit.min(40) as f64 * 1e6
    }

    #[test]
    fn it_doubles_until_throughput_stops_growing() {
        let mut climb = Climb::new(8, 1000);
        let limits = run(&mut climb, 5, link);
        assert_eq!(limits[..3], [16, 32, 64]);
        let settled = run(&mut climb, 300, link);
        let late = &settled[100..];
        assert!(
            late.iter().all(|&limit| (28..=80).contains(&limit)),
            "{late:?}"
        );
    }

    #[test]
    fn it_comes_down_where_fewer_do_as_well() {
        let mut climb = Climb::new(200, 1000);
        let limits = run(&mut climb, 400, |limit| limit.min(10) as f64 * 1e6);
        let late = &limits[300..];
        assert!(late.iter().all(|&limit| limit <= 20), "{late:?}");
    }

    #[test]
    fn it_follows_an_origin_that_becomes_faster_or_slower() {
        let mut climb = Climb::new(8, 1000);
        run(&mut climb, 100, |limit| limit.min(10) as f64);
        run(&mut climb, 1000, |limit| limit.min(100) as f64);
        assert!(climb.limit() >= 70, "{}", climb.limit());
        run(&mut climb, 1000, |limit| limit.min(10) as f64);
        assert!(climb.limit() <= 20, "{}", climb.limit());
    }

    #[test]
    fn a_request_to_slow_down_costs_a_quarter_and_never_the_last_place() {
        let mut climb = Climb::new(64, 128);
        let slow_down = Round {
            bytes: 1,
            elapsed: SECOND,
            saturated: true,
            throttled: true,
        };
        assert!(climb.learn(&slow_down));
        assert_eq!(climb.limit(), 48);
        for _ in 0..50 {
            climb.learn(&slow_down);
        }
        assert_eq!(climb.limit(), 1);
        // It does not run into the same wall at once.
        assert!(run(&mut climb, 20, link).iter().all(|&limit| limit == 1));
        run(&mut climb, 500, link);
        assert!(climb.limit() > 20, "{}", climb.limit());
    }

    #[test]
    fn a_round_without_waiters_says_nothing() {
        let mut climb = Climb::new(8, 128);
        let idle = Round {
            bytes: 5,
            elapsed: SECOND,
            saturated: false,
            throttled: false,
        };
        for _ in 0..100 {
            assert!(!climb.learn(&idle));
        }
    }

    #[test]
    fn limits_are_kept_whatever_comes() {
        let mut climb = Climb::new(1000, 4);
        assert_eq!(climb.limit(), 4);
        let limits = run(&mut climb, 100, |limit| limit as f64);
        assert!(limits.iter().all(|limit| (1..=4).contains(limit)));
    }
}
