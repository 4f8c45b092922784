//! What fails when.

use std::fmt;
use std::time::Duration;

use crate::random::Random;

/// Between the beginnings of two faults, in milliseconds.
const BETWEEN: (u64, u64) = (250, 1500);

/// A process is not killed again before another one can have taken its place.
const AGAIN: Duration = Duration::from_secs(3);

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process that serves a mount is killed; its supervisor is there.
    ClientKilled {
        /// Which mount.
        mount: usize,
    },
    /// The process that serves a mount is stopped, and goes on later.
    ClientFrozen {
        /// Which mount.
        mount: usize,
    },
    /// The cache server is killed, and started again later.
    ServerKilled,
    /// The cache server is asked to end, and started again later.
    ServerStopped,
    /// The origin breaks every connection and refuses new ones.
    OriginGone,
    /// The origin answers everything with 503.
    OriginBusy,
    /// The origin takes its time before each answer.
    OriginSlow {
        /// How long, in milliseconds.
        delay: u64,
    },
    /// Bodies from the origin end early.
    BodiesCut {
        /// How many.
        bodies: u32,
        /// After how many bytes.
        after: u64,
    },
    /// Bodies from the origin stall in the middle.
    BodiesStalled {
        /// How many.
        bodies: u32,
        /// After how many bytes.
        after: u64,
    },
    /// Connections to the origin break without an answer.
    ConnectionsBroken {
        /// How many.
        connections: u32,
    },
    /// Others take all that is free of the cache server's disk.
    DiskFull,
}

/// What can have one fault at a time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Client(usize),
    Server,
    Origin,
    Disk,
}

impl Fault {
    /// The kind, for the report.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ClientKilled { .. } => "clients killed",
            Self::ClientFrozen { .. } => "clients frozen",
            Self::ServerKilled => "servers killed",
            Self::ServerStopped => "servers stopped",
            Self::OriginGone => "origin outages",
            Self::OriginBusy => "storms of 503",
            Self::OriginSlow { .. } => "slow times of the origin",
            Self::BodiesCut { .. } => "rows of cut bodies",
            Self::BodiesStalled { .. } => "rows of stalled bodies",
            Self::ConnectionsBroken { .. } => "rows of broken connections",
            Self::DiskFull => "full disks",
        }
    }

    fn part(self) -> Part {
        match self {
            Self::ClientKilled { mount } | Self::ClientFrozen { mount } => Part::Client(mount),
            Self::ServerKilled | Self::ServerStopped => Part::Server,
            Self::OriginGone
            | Self::OriginBusy
            | Self::OriginSlow { .. }
            | Self::BodiesCut { .. }
            | Self::BodiesStalled { .. }
            | Self::ConnectionsBroken { .. } => Part::Origin,
            Self::DiskFull => Part::Disk,
        }
    }

    fn random(random: &mut Random) -> Self {
        let after = random.below(2 << 20);
        let some = 1 + random.below(20) as u32;
        let mount = random.below(2) as usize;
        match random.below(13) {
            0..3 => Self::ClientKilled { mount },
            3 => Self::ClientFrozen { mount },
            4 => Self::ServerKilled,
            5 => Self::ServerStopped,
            6 => Self::OriginGone,
            7 => Self::OriginBusy,
            8 => Self::OriginSlow {
                delay: 20 + random.below(400),
            },
            9 => Self::BodiesCut {
                bodies: some,
                after,
            },
            10 => Self::BodiesStalled {
                bodies: some,
                after,
            },
            11 => Self::ConnectionsBroken { connections: some },
            _ => Self::DiskFull,
        }
    }

    /// How long it lasts, in milliseconds. All of it is far below the minute that a reader
    /// is waited for, also when faults of several parts follow on each other.
    fn lasts(self, random: &mut Random) -> u64 {
        match self {
            Self::ClientKilled { .. } => 0,
            Self::ClientFrozen { .. } => 100 + random.below(1500),
            Self::ServerKilled | Self::ServerStopped => random.below(2000),
            Self::OriginGone | Self::OriginBusy => 200 + random.below(4000),
            Self::OriginSlow { .. } => 1000 + random.below(4000),
            Self::BodiesCut { .. }
            | Self::BodiesStalled { .. }
            | Self::ConnectionsBroken { .. } => 1000 + random.below(2000),
            Self::DiskFull => 500 + random.below(4000),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |mount: &usize| ["read through the server", "with its own cache"][mount % 2];
        match self {
            Self::ClientKilled { mount } => write!(f, "client killed: the mount {}", of(mount)),
            Self::ClientFrozen { mount } => write!(f, "client frozen: the mount {}", of(mount)),
            Self::ServerKilled => f.write_str("server killed"),
            Self::ServerStopped => f.write_str("server stopped"),
            Self::OriginGone => f.write_str("origin gone"),
            Self::OriginBusy => f.write_str("origin busy: 503"),
            Self::OriginSlow { delay } => write!(f, "origin slow: {delay} ms an answer"),
            Self::BodiesCut { bodies, after } => write!(f, "{bodies} bodies cut at {after}"),
            Self::BodiesStalled { bodies, after } => write!(f, "{bodies} bodies stall at {after}"),
            Self::ConnectionsBroken { connections } => write!(f, "{connections} connections break"),
            Self::DiskFull => f.write_str("disk full"),
        }
    }
}

/// A moment of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A fault begins.
    Begin(Fault),
    /// It is over.
    End(Fault),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin(fault) => fault.fmt(f),
            Self::End(fault) => write!(f, "  over: {fault}"),
        }
    }
}

/// Faults with their times, the same for the same seed.
#[derive(Clone, Debug)]
pub struct Plan {
    seed: u64,
    time: Duration,
    steps: Vec<(Duration, Step)>,
}

impl Plan {
    /// The plan of `seed`, over about `time`: a longer one begins as a shorter one does.
    pub fn new(seed: u64, time: Duration) -> Self {
        let mut random = Random::new(seed);
        let mut steps = Vec::new();
        let mut busy: Vec<(Part, Duration)> = Vec::new();
        let mut at = Duration::ZERO;
        loop {
            at += Duration::from_millis(BETWEEN.0 + random.below(BETWEEN.1 - BETWEEN.0));
            if at >= time {
                break;
            }
            let fault = Fault::random(&mut random);
            let end = at + Duration::from_millis(fault.lasts(&mut random));
            busy.retain(|(_, until)| *until > at);
            if busy.iter().any(|(part, _)| *part == fault.part()) {
                continue;
            }
            let rest = match fault.part() {
                Part::Client(_) => AGAIN,
                // As long as it was away, so that something is fetched in between.
                Part::Server | Part::Origin => end.saturating_sub(at),
                Part::Disk => Duration::ZERO,
            };
            busy.push((fault.part(), end + rest));
            steps.push((at, Step::Begin(fault)));
            if end > at {
                steps.push((end, Step::End(fault)));
            }
        }
        steps.sort_by_key(|(at, _)| *at);
        Self { seed, time, steps }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// How long it was to be.
    pub fn time(&self) -> Duration {
        self.time
    }

    /// What happens when, in order.
    pub fn steps(&self) -> &[(Duration, Step)] {
        &self.steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn a_plan_follows_from_its_seed_and_has_every_fault() {
        let plan = |seed| Plan::new(seed, LONG).steps;
        assert_eq!(plan(4), plan(4));
        assert_ne!(plan(4), plan(5));
        let steps = plan(4);
        let mut names: Vec<_> = steps
            .iter()
            .filter_map(|(_, step)| match step {
                Step::Begin(fault) => Some(fault.name()),
                Step::End(_) => None,
            })
            .collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 11, "{names:?}");
    }

    #[test]
    fn no_part_has_two_faults_at_a_time_and_every_fault_ends() {
        for seed in 0..20 {
            let mut open: Vec<Fault> = Vec::new();
            for (_, step) in Plan::new(seed, LONG).steps {
                match step {
                    Step::Begin(Fault::ClientKilled { .. }) => {}
                    Step::Begin(fault) => {
                        assert!(open.iter().all(|other| other.part() != fault.part()));
                        open.push(fault);
                    }
                    Step::End(fault) => open.retain(|other| *other != fault),
                }
            }
            assert!(open.is_empty(), "{open:?}");
        }
    }
}
