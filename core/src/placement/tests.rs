//! Who keeps what, and how little of it changes when members do.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn members(count: usize) -> Vec<Member> {
    (0..count)
        .map(|n| Member::new(&format!("10.0.{}.{}:7070", n / 256, n % 256), 1, None))
        .collect()
}

fn keys(count: u64) -> impl Iterator<Item = SegmentKey> {
    (0..count).map(|n| {
        let id = ObjectId::from_bytes(u128::from(n / 4).to_le_bytes());
        SegmentKey::of(id, (n % 4) * SEGMENT_SIZE)
    })
}

fn owner(members: &[Member], key: SegmentKey) -> Option<usize> {
    rank(members, key, 1).as_slice().first().copied()
}

#[test]
fn bytes_of_one_segment_have_one_key_and_those_of_the_next_another() {
    let id = ObjectId::from_bytes([3; 16]);
    assert_eq!(SegmentKey::of(id, 0), SegmentKey::of(id, SEGMENT_SIZE - 1));
    assert_ne!(SegmentKey::of(id, 0), SegmentKey::of(id, SEGMENT_SIZE));
    assert_ne!(
        SegmentKey::of(id, 0),
        SegmentKey::of(ObjectId::from_bytes([4; 16]), 0)
    );
}

#[test]
fn equal_members_get_equal_shares() {
    for count in [4, 40] {
        let members = members(count);
        let mut shares = vec![0_u64; count];
        let total = 2000 * count as u64;
        keys(total).for_each(|key| shares[owner(&members, key).expect("a member")] += 1);
        // The standard deviation is about 45 of 2000; 5 of them never happen.
        for share in shares {
            assert!((1775..=2225).contains(&share), "{share}");
        }
    }
}

#[test]
fn shares_follow_weights() {
    let weights = [1, 2, 4, 0];
    let members: Vec<_> = weights
        .iter()
        .zip(["a", "b", "c", "d"])
        .map(|(&weight, name)| Member::new(name, weight, None))
        .collect();
    let mut shares = [0_u64; 4];
    keys(70_000).for_each(|key| shares[owner(&members, key).expect("a member")] += 1);
    for (share, weight) in shares.iter().zip(weights) {
        let ideal = 10_000.0 * f64::from(weight);
        assert!(
            (*share as f64 - ideal).abs() <= ideal * 0.05,
            "{share} for {weight}"
        );
    }
}

#[test]
fn a_thousand_members_lose_one_and_only_its_share_moves() {
    let all = members(1000);
    let mut left = all.clone();
    left.remove(500);
    let mut moved = 0;
    for key in keys(20_000) {
        let before = owner(&all, key).expect("a member");
        let after = owner(&left, key).expect("a member");
        if before == 500 {
            moved += 1;
        } else {
            assert_eq!(all[before], left[after]);
        }
    }
    assert!((1..=60).contains(&moved), "{moved} of 20 expected");
}

#[test]
fn replicas_are_in_as_many_zones_as_there_are() {
    let members: Vec<_> = (0..9)
        .map(|n| Member::new(&format!("m{n}"), 1, Some(["a", "b", "c"][n % 3])))
        .collect();
    for key in keys(500) {
        let ranked = rank(&members, key, 4);
        let zones = |count| -> BTreeSet<u64> {
            let first = &ranked.as_slice()[..count];
            first
                .iter()
                .map(|&position| members[position].zone)
                .collect()
        };
        assert_eq!(ranked.as_slice().len(), 4);
        assert_eq!(zones(3).len(), 3);
    }
}

fn some_members() -> impl Strategy<Value = BTreeMap<u16, (u32, u8)>> {
    prop::collection::btree_map(any::<u16>(), (1_u32..5, 0_u8..3), 1..20)
}

fn of(named: &BTreeMap<u16, (u32, u8)>) -> Vec<Member> {
    let member = |(name, (weight, zone)): (&u16, &(u32, u8))| {
        let zone = (*zone > 0).then(|| zone.to_string());
        Member::new(&name.to_string(), *weight, zone.as_deref())
    };
    named.iter().map(member).collect()
}

proptest! {
    #[test]
    fn the_order_of_the_list_does_not_matter(named in some_members(), hash: u64, count in 0_usize..10) {
        let members = of(&named);
        let mut reversed = members.clone();
        reversed.reverse();
        let key = SegmentKey::from_hash(hash);
        let one: Vec<_> = rank(&members, key, count).as_slice().iter().map(|&p| members[p].seed).collect();
        let other: Vec<_> = rank(&reversed, key, count).as_slice().iter().map(|&p| reversed[p].seed).collect();
        prop_assert_eq!(&one, &other);
        prop_assert_eq!(one.len(), count.min(MOST_RANKED).min(members.len()));
        let distinct: BTreeSet<_> = one.iter().collect();
        prop_assert_eq!(distinct.len(), one.len());
    }

    #[test]
    fn who_joins_takes_and_nobody_else_gains(
        named in some_members(), newcomer: u16, weight in 1_u32..5, hashes in prop::collection::vec(any::<u64>(), 50)
    ) {
        prop_assume!(!named.contains_key(&newcomer));
        let before = of(&named);
        let mut more = named.clone();
        more.insert(newcomer, (weight, 0));
        let after = of(&more);
        let new = Member::new(&newcomer.to_string(), weight, None);
        for hash in hashes {
            let key = SegmentKey::from_hash(hash);
            let (old, now) = (owner(&before, key).unwrap(), owner(&after, key).unwrap());
            prop_assert!(after[now] == before[old] || after[now] == new);
        }
    }

    #[test]
    fn without_zones_each_rank_moves_up_when_one_leaves(named in some_members(), hash: u64) {
        let flat: BTreeMap<_, _> = named.into_iter().map(|(name, (weight, _))| (name, (weight, 0))).collect();
        let all = of(&flat);
        let key = SegmentKey::from_hash(hash);
        let ranked = rank(&all, key, MOST_RANKED);
        let first = ranked.as_slice()[0];
        let mut left = all.clone();
        left.remove(first);
        let again = rank(&left, key, MOST_RANKED - 1);
        let expected: Vec<_> = ranked.as_slice()[1..].iter().map(|&p| all[p].seed).collect();
        let found: Vec<_> = again.as_slice().iter().map(|&p| left[p].seed).take(expected.len()).collect();
        prop_assert_eq!(found, expected);
    }
}
