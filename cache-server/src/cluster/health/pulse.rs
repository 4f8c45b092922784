//! What the heartbeat of another member says. No clock and no network: both are given.

use std::time::Duration;

/// Between two heartbeats.
pub(in crate::cluster) const PING_EVERY: Duration = Duration::from_millis(300);
/// A member that has been silent for this time is dead: four heartbeats, and with the time
/// to find out less than two seconds.
pub(in crate::cluster) const DEAD_AFTER: Duration = Duration::from_millis(1200);
/// How long an answer may take.
pub(in crate::cluster) const PING_TIMEOUT: Duration = Duration::from_millis(600);

/// How a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cluster) enum Health {
    Alive,
    /// Alive, and about to leave.
    Draining,
    Dead,
}

impl Health {
    /// As a status shows it.
    pub(in crate::cluster) const fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "live",
            Self::Draining => "leaving",
            Self::Dead => "dead",
        }
    }
}

/// One member's heartbeat, as another one hears it. Times are since any beginning, the
/// same for all calls.
#[derive(Clone, Copy, Debug)]
pub(in crate::cluster) struct Pulse {
    health: Health,
    last: Duration,
}

impl Pulse {
    /// Nothing was heard yet.
    pub(in crate::cluster) const fn new() -> Self {
        Self {
            health: Health::Dead,
            last: Duration::ZERO,
        }
    }

    /// How the member is, as far as was heard.
    pub(in crate::cluster) const fn health(&self) -> Health {
        self.health
    }

    /// An answer came; what is new about the member's health.
    pub(in crate::cluster) fn heard(&mut self, now: Duration, draining: bool) -> Option<Health> {
        self.last = now;
        self.found(match draining {
            true => Health::Draining,
            false => Health::Alive,
        })
    }

    /// No answer came; what is new about the member's health.
    pub(in crate::cluster) fn missed(&mut self, now: Duration) -> Option<Health> {
        match now.saturating_sub(self.last) < DEAD_AFTER {
            true => None,
            false => self.found(Health::Dead),
        }
    }

    fn found(&mut self, health: Health) -> Option<Health> {
        let is_new = self.health != health;
        self.health = health;
        is_new.then_some(health)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_lives_from_the_first_answer_until_it_was_silent_for_too_long() {
        let at = Duration::from_millis;
        let mut pulse = Pulse::new();
        assert_eq!(pulse.missed(at(100)), None);
        assert_eq!(pulse.heard(at(300), false), Some(Health::Alive));
        assert_eq!(pulse.heard(at(600), false), None);
        assert_eq!(pulse.missed(at(1799)), None);
        assert_eq!(pulse.missed(at(1800)), Some(Health::Dead));
        assert_eq!(pulse.missed(at(9000)), None);
        assert_eq!(pulse.heard(at(9300), true), Some(Health::Draining));
        assert_eq!(pulse.missed(at(9600)), None);
    }
}
