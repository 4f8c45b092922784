//! A thousand members in one thread: what each believes of the others while some die, are
//! cut off, leave and come back, in an order that follows from a seed.
//!
//! What decides is the real thing: [`Pulse`], [`Roll`], placement, and whom a read asks
//! before the origin. What is simulated is the world: a clock, answers and their absence.
//! Before a change every member knows every other, so that what is seen is the change's.

use std::collections::BTreeSet;
use std::time::Duration;

use forebay_core::ObjectId;
use forebay_core::placement::{Member, SEGMENT_SIZE, SegmentKey, rank};

use super::health::pulse::{Health, PING_EVERY, PING_TIMEOUT, Pulse};
use super::health::roll::Roll;
use super::membership::{MemberInfo, Roster};
use super::{ASKED_BEFORE_ORIGIN, asked_first};

/// How finely time passes.
const TICK: Duration = Duration::from_millis(100);
/// Within this time everybody must have found out.
const FOUND_OUT: Duration = Duration::from_secs(2);

/// Numbers that follow from a seed (SplitMix64, Steele and others 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) % bound as u64) as usize
    }

    fn some(&mut self, count: usize, of: usize) -> BTreeSet<usize> {
        let mut chosen = BTreeSet::new();
        while chosen.len() < count {
            chosen.insert(self.below(of));
        }
        chosen
    }
}

/// How a machine really is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Up,
    /// It answers that it is about to leave.
    Draining,
    /// It refuses connections at once: its process is gone.
    Down,
    /// It runs, and no packet reaches it or leaves it.
    Cut,
}

/// What a member listens to: the heart of one other.
#[derive(Clone, Copy)]
struct Listening {
    pulse: Pulse,
    /// When the next question is asked, or this one is given up.
    next: Duration,
    /// A question is under way that nobody will answer.
    waits: bool,
}

struct Machine {
    state: State,
    roll: Roll,
    /// By number; its own is not used.
    listening: Vec<Listening>,
}

struct World {
    now: Duration,
    names: Vec<String>,
    machines: Vec<Machine>,
}

impl World {
    /// `count` members that all know each other to live.
    fn new(count: usize, random: &mut Random) -> Self {
        // By name, as a roll is.
        let names: Vec<_> = (0..count)
            .map(|n| format!("10.0.{:03}.{:03}:7070", n / 256, n % 256))
            .collect();
        let roster = Roster {
            epoch: 1,
            members: names.iter().map(MemberInfo::new).collect(),
        };
        let machines = (0..count).map(|own| {
            let mut roll = Roll::new(MemberInfo::new(&names[own]));
            roll.list(&roster);
            let mut machine = Machine {
                state: State::Up,
                roll,
                listening: Vec::with_capacity(count),
            };
            for name in &names {
                let mut pulse = Pulse::new();
                let health = pulse.heard(Duration::ZERO, false);
                machine.roll.note(name, health.expect("new"));
                // Nobody's hearts beat in step.
                let phase = random.below(PING_EVERY.as_millis() as usize) as u64;
                machine.listening.push(Listening {
                    pulse,
                    next: Duration::from_millis(phase),
                    waits: false,
                });
            }
            machine
        });
        Self {
            now: Duration::ZERO,
            machines: machines.collect(),
            names,
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += TICK;
            let states: Vec<_> = self.machines.iter().map(|machine| machine.state).collect();
            for (own, machine) in self.machines.iter_mut().enumerate() {
                if machine.state != State::Down {
                    machine.listen(own, self.now, &states, &self.names);
                }
            }
        }
    }

    fn set(&mut self, members: &BTreeSet<usize>, state: State) {
        for &member in members {
            self.machines[member].state = state;
        }
    }

    /// Starts members anew that were down: of the others they have heard nothing yet.
    fn restart(&mut self, members: &BTreeSet<usize>) {
        for &member in members {
            let machine = &mut self.machines[member];
            machine.state = State::Up;
            for (listening, name) in machine.listening.iter_mut().zip(&self.names) {
                listening.pulse = Pulse::new();
                listening.next = self.now;
                listening.waits = false;
                machine.roll.note(name, Health::Dead);
            }
        }
    }

    /// Numbers of those that work and are reached, and whom they all should ask.
    fn reachable(&self) -> (Vec<usize>, Vec<usize>) {
        let all = |states: &[State]| -> Vec<usize> {
            let machines = self.machines.iter().enumerate();
            let fit = machines.filter(|(_, machine)| states.contains(&machine.state));
            fit.map(|(number, _)| number).collect()
        };
        (all(&[State::Up, State::Draining]), all(&[State::Up]))
    }

    /// Fails if one that works believes anything but the truth.
    fn assert_known(&self, seed: u64) {
        let (working, asked) = self.reachable();
        let truth: BTreeSet<_> = asked.iter().map(|&n| self.names[n].as_str()).collect();
        for number in working {
            let own = &self.names[number];
            let mut believed: BTreeSet<_> = self.view(number).into_iter().collect();
            // Itself it always asks, even if the others do not.
            if !truth.contains(own.as_str()) {
                believed.remove(own.as_str());
            }
            assert!(
                believed == truth,
                "seed {seed}: after {:?} {own} believes in {:?} and not in {:?}",
                self.now,
                believed.difference(&truth).collect::<Vec<_>>(),
                truth.difference(&believed).collect::<Vec<_>>(),
            );
        }
    }

    fn view(&self, number: usize) -> Vec<&str> {
        let roll = &self.machines[number].roll;
        roll.live().map(|info| info.name.as_str()).collect()
    }

    /// Who reads `key` from the origin when `reader` wants it, as the real read path goes:
    /// the first in rank that answers fetches it; one that does not is passed over.
    fn filler(&self, reader: usize, key: SegmentKey) -> usize {
        let view = self.view(reader);
        let members: Vec<_> = view.iter().map(|name| Member::new(name, 1, None)).collect();
        let answers = |position: &usize| {
            let number = self.number(view[*position]);
            matches!(self.machines[number].state, State::Up | State::Draining)
        };
        let first = asked_first(rank(&members, key, 1 + ASKED_BEFORE_ORIGIN)).find(answers);
        first.map_or(reader, |position| self.number(view[position]))
    }

    fn number(&self, name: &str) -> usize {
        let found = self
            .names
            .binary_search_by(|known| known.as_str().cmp(name));
        found.expect("a member of this world")
    }

    /// How many members fetch one segment when some readers want it, for each of some
    /// segments.
    fn fetches(&self, random: &mut Random, segments: u64, readers: usize) -> Vec<usize> {
        let (working, _) = self.reachable();
        let mut fetches = Vec::new();
        for key in keys(segments) {
            let fillers: BTreeSet<_> = (0..readers)
                .map(|_| self.filler(working[random.below(working.len())], key))
                .collect();
            fetches.push(fillers.len());
        }
        fetches
    }
}

impl Machine {
    fn listen(&mut self, own: usize, now: Duration, states: &[State], names: &[String]) {
        for (number, listening) in self.listening.iter_mut().enumerate() {
            if listening.next > now || number == own {
                continue;
            }
            let (began, answer) = (listening.next, states[number]);
            let silent = answer == State::Cut || self.state == State::Cut;
            let change = match answer {
                _ if silent && !listening.waits => {
                    listening.waits = true;
                    listening.next = began + PING_TIMEOUT;
                    continue;
                }
                // A lost question is not answered later: the next one is.
                _ if listening.waits => {
                    listening.next = began;
                    listening.pulse.missed(now)
                }
                State::Up | State::Draining => {
                    listening.next = began + PING_EVERY;
                    listening.pulse.heard(now, answer == State::Draining)
                }
                State::Down | State::Cut => {
                    listening.next = began + PING_EVERY;
                    listening.pulse.missed(now)
                }
            };
            listening.waits = false;
            if let Some(health) = change {
                self.roll.note(&names[number], health);
            }
        }
    }
}

fn keys(count: u64) -> impl Iterator<Item = SegmentKey> {
    (0..count).map(|n| {
        let id = ObjectId::from_bytes(u128::from(n / 4).to_le_bytes());
        SegmentKey::of(id, (n % 4) * SEGMENT_SIZE)
    })
}

/// Changes of every kind, one after the other: within two seconds of each, all that work
/// believe the same.
fn changes(seed: u64, count: usize, affected: usize) {
    let random = &mut Random(seed);
    let mut world = World::new(count, random);
    world.pass(FOUND_OUT);
    world.assert_known(seed);
    for state in [State::Down, State::Cut, State::Draining] {
        let some = random.some(affected, count);
        world.set(&some, state);
        // While views differ one fetches for all as well: who asks a dead one comes to the
        // same next in rank as who knows. Who is about to leave may fetch for itself.
        let most = 1 + if state == State::Draining {
            affected
        } else {
            0
        };
        world.pass(FOUND_OUT / 2);
        let fetches = world.fetches(random, 20, 10);
        assert!(
            fetches.iter().all(|&n| n <= most),
            "seed {seed}: {fetches:?}"
        );
        world.pass(FOUND_OUT / 2);
        world.assert_known(seed);
        let fetches = world.fetches(random, 20, 10);
        assert!(
            fetches.iter().all(|&n| n <= most),
            "seed {seed}: {fetches:?}"
        );
        match state {
            State::Down | State::Draining => world.restart(&some),
            State::Cut | State::Up => world.set(&some, State::Up),
        }
        world.pass(FOUND_OUT);
        world.assert_known(seed);
    }
}

#[test]
fn a_thousand_members_agree_within_two_seconds_of_any_change() {
    changes(1, 1000, 30);
}

#[test]
fn a_few_members_agree_whatever_the_seed() {
    for seed in 2..60 {
        changes(seed, 4 + (seed as usize) % 30, 2);
    }
}

/// The share of segments that have another owner in `after` than in `before`, and whether
/// each that moved had to.
fn moved(before: &[&str], after: &[&str], segments: u64) -> f64 {
    let of = |names: &[&str]| -> Vec<Member> {
        names
            .iter()
            .map(|name| Member::new(name, 1, None))
            .collect()
    };
    let (old, new) = (of(before), of(after));
    let owner = |members: &[Member], key| rank(members, key, 1).as_slice()[0];
    let mut moved = 0_u64;
    for key in keys(segments) {
        let (was, is) = (before[owner(&old, key)], after[owner(&new, key)]);
        if was != is {
            assert!(
                !after.contains(&was) || !before.contains(&is),
                "{was} to {is}"
            );
            moved += 1;
        }
    }
    moved as f64 / segments as f64
}

#[test]
fn what_moves_when_members_join_or_leave_is_their_share() {
    let random = &mut Random(9);
    for (count, leaving, segments) in [(4, 1, 40_000), (20, 1, 60_000), (300, 30, 30_000)] {
        let mut world = World::new(count, random);
        let some = random.some(leaving, count);
        let stays = (0..count)
            .find(|number| !some.contains(number))
            .expect("one stays");
        world.pass(FOUND_OUT);
        let all: Vec<String> = world.view(stays).into_iter().map(str::to_owned).collect();
        world.set(&some, State::Down);
        world.pass(FOUND_OUT);
        let left: Vec<String> = world.view(stays).into_iter().map(str::to_owned).collect();
        assert_eq!(left.len(), count - leaving);
        let (all, left): (Vec<_>, Vec<_>) = (
            all.iter().map(String::as_str).collect(),
            left.iter().map(String::as_str).collect(),
        );
        let ideal = leaving as f64 / count as f64;
        for share in [moved(&all, &left, segments), moved(&left, &all, segments)] {
            assert!((share / ideal - 1.0).abs() <= 0.05, "{share} of {ideal}");
        }
    }
}
