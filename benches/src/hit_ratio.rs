//! How often a policy keeps what is asked for next.

use std::collections::HashSet;

use forebay_cache_server::eviction::{Policy, PolicyKind};
use forebay_core::ObjectId;

use crate::table::Table;
use crate::trace::Trace;

/// Shares of the objects that the cache holds.
pub const SHARES: [f64; 3] = [0.1, 0.25, 0.5];

/// The share of opens that find their object, with room for `capacity` objects of one
/// size.
///
/// As the store does it, an open is an access whether or not the object is there, and a
/// miss makes it resident.
pub fn hit_ratio(policy: &mut dyn Policy, trace: &Trace, capacity: usize) -> f64 {
    let mut resident = HashSet::new();
    let mut hits = 0_usize;
    for &object in &trace.opens {
        let id = id(object);
        policy.access(id);
        if resident.contains(&id) {
            hits += 1;
            continue;
        }
        while resident.len() >= capacity
            && let Some(victim) = policy.victim(&|_| false)
        {
            resident.remove(&victim);
        }
        policy.insert(id, 1);
        resident.insert(id);
    }
    hits as f64 / trace.opens.len() as f64
}

/// The best that can be had by who knows nothing of the future: what is there first
/// stays.
fn never_evicting(trace: &Trace, capacity: usize) -> f64 {
    let mut resident = HashSet::new();
    let mut hits = 0_usize;
    for object in &trace.opens {
        if resident.contains(object) {
            hits += 1;
        } else if resident.len() < capacity {
            resident.insert(*object);
        }
    }
    hits as f64 / trace.opens.len() as f64
}

/// The id of an object of a trace: a hash, as the store's ids are.
pub fn id(object: u32) -> ObjectId {
    ObjectId::from_bytes(xxhash_rust::xxh3::xxh3_128(&object.to_le_bytes()).to_le_bytes())
}

/// The traces that policies are judged by, each of a hundred thousand opens or more.
pub fn traces() -> Vec<Trace> {
    const OBJECTS: u32 = 20_000;
    const OPENS: usize = 200_000;
    vec![
        Trace::zipf(OBJECTS, 0.8, OPENS),
        Trace::zipf(OBJECTS, 1.0, OPENS),
        Trace::zipf(OBJECTS, 1.2, OPENS),
        Trace::zipf_with_scans(OBJECTS, 1.0, OPENS, 20_000, 10_000),
        Trace::epochs(OBJECTS, 10),
        Trace::repeated(OBJECTS, 10),
        Trace::epochs(OBJECTS, 5).then(Trace::epochs(OBJECTS, 5)),
    ]
}

/// One row a trace and size of cache, one column a policy.
pub fn table(traces: &[Trace]) -> Table {
    let policies = [
        ("S3-FIFO", PolicyKind::S3Fifo),
        ("LRU", PolicyKind::Lru),
        ("tenure", PolicyKind::Tenure),
    ];
    let names = policies.map(|(name, _)| name);
    let mut table = Table::new(
        ["trace", "cache"]
            .into_iter()
            .chain(names)
            .chain(["never evicting"]),
    );
    for trace in traces {
        for share in SHARES {
            let capacity = (trace.objects as f64 * share) as usize;
            let percent = |ratio: f64| format!("{:.1} %", ratio * 100.0);
            let ratios =
                policies.map(|(_, kind)| percent(hit_ratio(&mut *kind.build(), trace, capacity)));
            let row = [trace.name.clone(), format!("{:.0} %", share * 100.0)];
            let still = percent(never_evicting(trace, capacity));
            table.row(row.into_iter().chain(ratios).chain([still]));
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lru_finds_nothing_in_epochs_of_one_order_larger_than_the_cache() {
        let trace = Trace::repeated(100, 5);
        assert_eq!(hit_ratio(&mut *PolicyKind::Lru.build(), &trace, 50), 0.0);
        assert_eq!(never_evicting(&trace, 50), 0.4);
    }

    #[test]
    fn a_cache_of_everything_misses_only_the_first_time() {
        let trace = Trace::epochs(100, 5);
        for kind in [PolicyKind::Lru, PolicyKind::S3Fifo] {
            assert_eq!(hit_ratio(&mut *kind.build(), &trace, 100), 0.8, "{kind:?}");
        }
    }

    #[test]
    fn the_table_has_a_row_for_every_trace_and_size() {
        let text = table(&[Trace::zipf(100, 1.0, 1000)]).markdown();
        assert_eq!(text.lines().count(), 2 + SHARES.len());
    }
}
