//! How a keeper finds out that its work is done.

use std::time::{Duration, Instant};

use super::report;
use crate::process::Mission;
use crate::shelf::Shelf;

/// How often what is held is looked at.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// A keeper for one mount that nobody speaks to for so long after its start ends.
const UNWANTED: Duration = Duration::from_secs(30);

/// Whether a keeper is still needed.
pub(super) struct Watch {
    mission: Mission,
    looked: Instant,
    /// Since when nobody has been connected.
    alone: Instant,
    has_held: bool,
    has_had_callers: bool,
}

impl Watch {
    pub(super) fn new(mission: Mission) -> Self {
        Self {
            mission,
            looked: Instant::now(),
            alone: Instant::now(),
            has_held: false,
            has_had_callers: false,
        }
    }

    /// Looks at what is held, if it is time, and says whether the mission has ended.
    pub(super) fn is_over(&mut self, shelf: &mut Shelf, callers: usize) -> bool {
        let now = Instant::now();
        if now.duration_since(self.looked) >= LOOK {
            shelf.sweep();
            self.looked = now;
        }
        if callers > 0 {
            self.alone = now;
            self.has_had_callers = true;
        }
        let Mission::OneMount { abandon_after } = self.mission else {
            return false;
        };
        self.has_held |= !shelf.is_empty();
        let alone = now.duration_since(self.alone);
        if !shelf.is_empty() {
            if alone >= abandon_after {
                report("nobody serves the mount any more: ending its connection");
                shelf.clear();
            }
            return shelf.is_empty();
        }
        let all_have_gone = self.has_had_callers && callers == 0;
        self.has_held || all_have_gone || alone >= UNWANTED
    }
}
