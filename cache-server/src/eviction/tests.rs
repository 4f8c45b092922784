//! What every policy must do, and what S3-FIFO is there for.

use std::collections::HashMap;

use forebay_core::ObjectId;
use proptest::prelude::*;

use super::{Policy, PolicyKind};

const ALL: [PolicyKind; 3] = [PolicyKind::S3Fifo, PolicyKind::Lru, PolicyKind::Tenure];

/// The number first, which the tests look at; the rest scattered, as in hashes.
fn id(n: u32) -> ObjectId {
    let word = n.wrapping_mul(2_654_435_769);
    let words = [n, word, word.rotate_left(11), !word.rotate_left(19)];
    let bytes = words.map(u32::to_le_bytes).concat();
    ObjectId::from_bytes(bytes.try_into().expect("four words of four bytes"))
}

fn drain(policy: &mut dyn Policy) -> Vec<ObjectId> {
    std::iter::from_fn(|| policy.victim(&|_| false)).collect()
}

#[test]
fn every_resident_object_is_a_victim_once() {
    for kind in ALL {
        let mut policy = kind.build();
        (0..100).for_each(|n| policy.insert(id(n), 1));
        (0..300).for_each(|n| policy.access(id(n % 70)));
        let mut victims = drain(&mut *policy);
        victims.sort_unstable();
        let mut all: Vec<_> = (0..100).map(id).collect();
        all.sort_unstable();
        assert_eq!(victims, all, "{kind:?}");
        assert_eq!(policy.resident_bytes(), 0);
    }
}

#[test]
fn an_object_in_use_is_never_a_victim() {
    for kind in ALL {
        let mut policy = kind.build();
        (0..10).for_each(|n| policy.insert(id(n), 1));
        let in_use = |object: ObjectId| object != id(7);
        assert_eq!(policy.victim(&in_use), Some(id(7)), "{kind:?}");
        assert_eq!(policy.victim(&in_use), None);
        assert_eq!(policy.resident_bytes(), 9);
        assert_eq!(drain(&mut *policy).len(), 9);
    }
}

#[test]
fn a_removed_object_is_not_a_victim_until_it_is_back() {
    for kind in ALL {
        let mut policy = kind.build();
        (0..3).for_each(|n| policy.insert(id(n), 5));
        policy.remove(id(1));
        policy.remove(id(9));
        assert_eq!(policy.resident_bytes(), 10, "{kind:?}");
        let mut victims = drain(&mut *policy);
        victims.sort_unstable();
        assert_eq!(victims, [id(0), id(2)]);
        policy.insert(id(1), 5);
        assert_eq!(drain(&mut *policy), [id(1)]);
    }
}

#[test]
fn growing_is_not_an_access() {
    for kind in ALL {
        let (mut grown, mut at_once) = (kind.build(), kind.build());
        for n in 0..4 {
            grown.insert(id(n), 1);
            at_once.insert(id(n), if n == 0 { 20 } else { 1 });
        }
        (2..=20).for_each(|bytes| grown.insert(id(0), bytes));
        assert_eq!(grown.resident_bytes(), 23, "{kind:?}");
        assert_eq!(drain(&mut *grown), drain(&mut *at_once), "{kind:?}");
    }
}

#[test]
fn an_access_to_an_unknown_object_is_ignored() {
    for kind in ALL {
        let mut policy = kind.build();
        policy.access(id(1));
        assert_eq!(policy.victim(&|_| false), None, "{kind:?}");
    }
}

#[test]
fn the_only_unused_object_is_found_in_whatever_queue_it_is() {
    for kind in ALL {
        let mut policy = kind.build();
        let mut open_thrice = |n, bytes| {
            policy.insert(id(n), bytes);
            policy.access(id(n));
            policy.access(id(n));
        };
        open_thrice(1, 100);
        open_thrice(2, 1);
        policy.insert(id(3), 1);
        assert!(policy.victim(&|_| false).is_some(), "{kind:?}");
        policy.insert(id(4), 5);
        policy.access(id(4));
        policy.access(id(4));
        assert_eq!(
            policy.victim(&|object| object != id(4)),
            Some(id(4)),
            "{kind:?}"
        );
    }
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u32, u64),
    Access(u32),
    Remove(u32),
    // All but the ids of this remainder are in use.
    Victim(u32),
}

fn op() -> impl Strategy<Value = Op> {
    let object = 0..24_u32;
    prop_oneof![
        3 => (object.clone(), 1..100_u64).prop_map(|(n, bytes)| Op::Insert(n, bytes)),
        4 => object.clone().prop_map(Op::Access),
        1 => object.prop_map(Op::Remove),
        2 => (0..4_u32).prop_map(Op::Victim),
    ]
}

proptest! {
    #[test]
    fn residence_and_weights_agree_with_a_plain_map(ops in prop::collection::vec(op(), 1..400)) {
        for kind in ALL {
            let mut policy = kind.build();
            let mut model = HashMap::new();
            for op in &ops {
                match *op {
                    Op::Insert(n, bytes) => {
                        policy.insert(id(n), bytes);
                        model.insert(id(n), bytes);
                    }
                    Op::Access(n) => policy.access(id(n)),
                    Op::Remove(n) => {
                        policy.remove(id(n));
                        model.remove(&id(n));
                    }
                    Op::Victim(rest) => {
                        let skip = |object: ObjectId| {
                            u32::from(object.as_bytes()[0]) % 4 != rest
                        };
                        match policy.victim(&skip) {
                            Some(victim) => {
                                prop_assert!(!skip(victim));
                                prop_assert!(model.remove(&victim).is_some());
                            }
                            None => prop_assert!(model.keys().all(|&object| skip(object))),
                        }
                    }
                }
                prop_assert_eq!(policy.resident_bytes(), model.values().sum::<u64>());
            }
        }
    }
}

/// The hits of `trace` in a cache of `capacity` objects of equal size.
fn hits(kind: PolicyKind, capacity: u64, trace: impl Iterator<Item = u32>) -> usize {
    let mut policy = kind.build();
    let mut resident = std::collections::HashSet::new();
    let mut hits = 0;
    for n in trace {
        if resident.contains(&id(n)) {
            policy.access(id(n));
            hits += 1;
            continue;
        }
        while policy.resident_bytes() >= capacity {
            let victim = policy.victim(&|_| false).expect("the cache is full");
            resident.remove(&victim);
        }
        policy.insert(id(n), 1);
        resident.insert(id(n));
    }
    hits
}

#[test]
fn a_scan_costs_lru_its_hot_objects_and_s3_fifo_nothing() {
    // 50 objects read three times, 1,000 others once, the 50 again; room for 100.
    let hot = || 0..50;
    let trace = || {
        hot()
            .chain(hot())
            .chain(hot())
            .chain(1_000..2_000)
            .chain(hot())
    };
    assert_eq!(hits(PolicyKind::Lru, 100, trace()), 100);
    assert_eq!(hits(PolicyKind::S3Fifo, 100, trace()), 150);
}

/// One of several epochs over the same 1,000 objects, each in its own order.
fn epoch(number: u32) -> Vec<u32> {
    let mut order: Vec<u32> = (0..1_000).collect();
    order.sort_by_key(|n| {
        (n + 1_000 * number)
            .wrapping_mul(2_654_435_769)
            .rotate_left(9)
    });
    order
}

#[test]
fn tenure_keeps_nearly_as_much_of_an_epoch_as_fits() {
    // The first epoch hits nothing; in seven others at most what fits: 250 each.
    let trace = (0..8).flat_map(epoch);
    let hits = hits(PolicyKind::Tenure, 250, trace);
    assert!(hits > 7 * 250 * 8 / 10, "{hits} hits");
}

#[test]
fn tenure_gives_up_what_a_job_has_left_behind() {
    // Five epochs over some objects, then twenty over others.
    let others = |number| epoch(number).into_iter().map(|n| n + 1_000_000);
    let trace = (0..5).flat_map(epoch).chain((5..25).flat_map(others));
    let hits = hits(PolicyKind::Tenure, 250, trace);
    assert!(hits > (4 + 13) * 250 * 8 / 10, "{hits} hits");
}

#[test]
fn tenure_lets_a_scan_pass() {
    let hot = || 0..50;
    let trace = hot()
        .chain(hot())
        .chain(hot())
        .chain(1_000..2_000)
        .chain(hot());
    assert_eq!(hits(PolicyKind::Tenure, 100, trace), 150);
}

#[test]
fn shuffled_epochs_hit_more_often_with_s3_fifo() {
    // Room for a quarter of the objects.
    let trace = || (0..8).flat_map(epoch);
    let (lru, s3_fifo) = (
        hits(PolicyKind::Lru, 250, trace()),
        hits(PolicyKind::S3Fifo, 250, trace()),
    );
    assert!(s3_fifo > 2 * lru, "S3-FIFO {s3_fifo}, LRU {lru}");
}
