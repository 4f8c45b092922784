//! Placement: which members of a cluster keep which bytes.
//!
//! Weighted rendezvous hashing. Each member has a score for each **segment** (4 MiB of an
//! object, a small object as a whole), made of the hash of both and the member's weight;
//! the members with the highest scores keep it, the first of them is its owner. So every
//! server that knows the same members comes to the same answer without asking anybody,
//! a member that joins takes only what it now has the highest score for, and one that
//! leaves gives away only what it had.
//!
//! With zones, each further replica goes to the best member in a zone that has none yet.

use xxhash_rust::xxh3::Xxh3;

use crate::ObjectId;

/// Bytes that are placed together, and the most that one read in a cluster brings, so that
/// a read has one owner; no more, so that few large objects spread evenly.
pub const SEGMENT_SIZE: u64 = 4 << 20;

/// The most members that one segment is ranked for: replicas, and who is asked next when
/// they are gone.
pub const MOST_RANKED: usize = 8;

/// What is placed as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SegmentKey(u64);

impl SegmentKey {
    /// The segment that byte `offset` of object `id` lies in.
    pub fn of(id: ObjectId, offset: u64) -> Self {
        let mut hash = Xxh3::new();
        hash.update(id.as_bytes());
        hash.update(&(offset / SEGMENT_SIZE).to_le_bytes());
        Self(hash.digest())
    }

    /// A key of another kind of thing.
    pub const fn from_hash(hash: u64) -> Self {
        Self(hash)
    }
}

/// A member of a cluster, as placement sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    seed: u64,
    weight: f64,
    zone: u64,
}

impl Member {
    /// A member by its name. `weight` says how much it takes, relative to the others; 0
    /// is nothing. Members without a zone are in one zone together.
    pub fn new(name: &str, weight: u32, zone: Option<&str>) -> Self {
        let hash = |text: &str| xxhash_rust::xxh3::xxh3_64(text.as_bytes());
        Self {
            seed: hash(name),
            weight: f64::from(weight),
            zone: zone.map_or(0, |zone| hash(zone).max(1)),
        }
    }

    /// How much it wants the segment: `-weight / ln(h)` with `h` uniform in (0, 1), by
    /// which the member of weight w wins a share of w in the sum of weights (Schindelhauer
    /// and Schomaker, "Weighted distributed hash tables", 2005).
    fn score(&self, key: SegmentKey) -> f64 {
        let mixed = mix(self.seed ^ mix(key.0));
        // 53 bits, and half a step, so that it is neither 0 nor 1.
        let uniform = ((mixed >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        -self.weight / uniform.ln()
    }
}

/// Makes every bit of the result depend on every bit of `x` (the finaliser of SplitMix64).
const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The best members for a segment, as positions in the list of members, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranked {
    positions: [usize; MOST_RANKED],
    len: usize,
}

impl Ranked {
    /// The positions, best first; as many as were asked for, or as there are members with
    /// a weight.
    pub fn as_slice(&self) -> &[usize] {
        &self.positions[..self.len]
    }
}

/// Ranks the best `count` of `members` for a segment: the replicas first, in as many zones
/// as there are, then who is asked when they are gone. At most [`MOST_RANKED`].
///
/// The time grows with the number of members times `count`, some 10 ns each; nothing is
/// allocated.
pub fn rank(members: &[Member], key: SegmentKey, count: usize) -> Ranked {
    let mut ranked = Ranked {
        positions: [0; MOST_RANKED],
        len: 0,
    };
    while ranked.len < count.min(MOST_RANKED) {
        let next = best(members, key, &ranked, true).or_else(|| best(members, key, &ranked, false));
        let Some(next) = next else { break };
        ranked.positions[ranked.len] = next;
        ranked.len += 1;
    }
    ranked
}

/// The best member that is not ranked yet, in a zone that is not if `new_zone`.
fn best(members: &[Member], key: SegmentKey, ranked: &Ranked, new_zone: bool) -> Option<usize> {
    let taken = ranked.as_slice();
    let mut best: Option<(f64, usize)> = None;
    for (position, member) in members.iter().enumerate() {
        let in_taken_zone = || taken.iter().any(|&one| members[one].zone == member.zone);
        if member.weight <= 0.0 || taken.contains(&position) || (new_zone && in_taken_zone()) {
            continue;
        }
        let score = member.score(key);
        // Equal scores are as good as impossible; the seed decides, whatever the order.
        let wins = best.is_none_or(|(most, holder)| {
            score > most || (score == most && member.seed > members[holder].seed)
        });
        if wins {
            best = Some((score, position));
        }
    }
    best.map(|(_, position)| position)
}

#[cfg(test)]
mod tests;
