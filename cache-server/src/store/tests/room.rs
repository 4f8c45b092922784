//! Quotas, watermarks and eviction.

use super::*;

const MIB: u64 = CHUNK_SIZE;

fn samples(count: u64) -> Vec<Sample> {
    (0..count).map(|number| Sample::new(number, MIB)).collect()
}

fn cached(store: &Arc<Store>, samples: &[Sample]) -> usize {
    samples
        .iter()
        .filter(|sample| store.cached_bytes(sample.id()) > 0)
        .count()
}

#[test]
fn eviction_keeps_the_tier_between_its_watermarks() {
    let dir = scratch();
    let store = Store::open(config_with_quota(dir.path(), 20 * MIB)).unwrap();
    let samples = samples(60);
    for (written, sample) in (1..).zip(&samples) {
        sample.put(&store);
        let used = store.usage().used_bytes;
        assert!(used <= 19 * MIB, "{used} bytes after {written} objects");
        assert!(
            used >= 18 * MIB.min(written * MIB / 18),
            "{used} bytes after {written} objects"
        );
    }
    let stats = store.stats();
    assert_eq!(stats.evicted_objects, 60 - stats.objects);
    assert_eq!(stats.evicted_bytes, stats.evicted_objects * MIB);
    assert_eq!(data_files(dir.path()).len() as u64, stats.objects);
    audit(&store, &samples);
}

#[test]
fn what_was_evicted_stays_evicted_after_a_restart() {
    let dir = scratch();
    let store = Store::open(config_with_quota(dir.path(), 5 * MIB)).unwrap();
    let samples = samples(12);
    samples.iter().for_each(|sample| sample.put(&store));
    let before: Vec<_> = samples.iter().map(|s| store.cached_bytes(s.id())).collect();
    let copy = snapshot(dir.path());
    let next = Store::open(config_with_quota(copy.path(), 5 * MIB)).unwrap();
    let after: Vec<_> = samples.iter().map(|s| next.cached_bytes(s.id())).collect();
    assert_eq!(before, after);
    assert_eq!((next.stats().torn_chunks, next.stats().orphans), (0, 0));
}

#[test]
fn a_leased_object_is_not_evicted_and_afterwards_it_can_be() {
    let dir = scratch();
    let store = Store::open(config_with_quota(dir.path(), 6 * MIB)).unwrap();
    let samples = samples(40);
    let lease = samples[0].lease(&store);
    samples[0].fill(&lease);
    samples[1..20].iter().for_each(|sample| sample.put(&store));
    assert_eq!(samples[0].present(&lease), [0]);
    drop(lease);
    samples[20..].iter().for_each(|sample| sample.put(&store));
    assert_eq!(store.cached_bytes(samples[0].id()), 0);
    audit(&store, &samples);
}

#[test]
fn a_tier_full_of_leased_objects_refuses_until_a_lease_ends() {
    let dir = scratch();
    let store = Store::open(config_with_quota(dir.path(), 4 * MIB)).unwrap();
    let samples = samples(6);
    let mut leases: Vec<_> = samples[..4]
        .iter()
        .map(|sample| sample.lease(&store))
        .collect();
    samples
        .iter()
        .zip(&leases)
        .for_each(|(sample, lease)| sample.fill(lease));
    let late = samples[5].lease(&store);
    assert_eq!(samples[5].write(&late, 0), Err(WriteError::Full));
    assert_eq!(samples[5].write(&late, 0), Err(WriteError::Full));
    assert_eq!((store.stats().full_writes, late.present_bytes()), (2, 0));
    leases.remove(2);
    samples[5].write(&late, 0).unwrap();
    assert_eq!(samples[5].present(&late), [0]);
    assert_eq!(cached(&store, &samples), 4);
    audit(&store, &samples);
}

#[test]
fn an_open_file_is_read_to_its_end_after_eviction() {
    let dir = scratch();
    let store = Store::open(config_with_quota(dir.path(), 4 * MIB)).unwrap();
    let samples = samples(12);
    samples[0].put(&store);
    let backing = samples[0].lease(&store).backing().unwrap();
    samples[1..].iter().for_each(|sample| sample.put(&store));
    assert_eq!(store.cached_bytes(samples[0].id()), 0);
    let mut bytes = vec![0; MIB as usize];
    backing
        .file
        .read_exact_at(&mut bytes, backing.offset)
        .unwrap();
    assert!(bytes == samples[0].bytes(0));
}

#[test]
fn an_evicted_object_can_come_back_at_once() {
    let dir = scratch();
    let store = Store::open(config_with_quota(dir.path(), 2 * MIB)).unwrap();
    let samples = samples(3);
    for _ in 0..5 {
        for sample in &samples {
            let lease = sample.lease(&store);
            sample.fill(&lease);
            assert_eq!(sample.present(&lease), [0]);
        }
    }
    audit(&store, &samples);
}

#[test]
fn an_object_larger_than_the_tier_takes_what_is_free_and_evicts_nobody() {
    let dir = scratch();
    let store = Store::open(config_with_quota(dir.path(), 8 * MIB)).unwrap();
    let samples = samples(3);
    samples.iter().for_each(|sample| sample.put(&store));
    let huge = Sample::new(100, 20 * MIB);
    let lease = huge.lease(&store);
    let taken = (0..20)
        .filter(|&index| huge.write(&lease, index).is_ok())
        .count();
    assert_eq!(taken, 5);
    assert_eq!(
        (cached(&store, &samples), store.stats().evicted_objects),
        (3, 0)
    );
    assert_eq!(huge.present(&lease), [0, 1, 2, 3, 4]);
    drop(lease);
    // It is as evictable as any other.
    let others: Vec<_> = (200..220).map(|number| Sample::new(number, MIB)).collect();
    others.iter().for_each(|sample| sample.put(&store));
    assert_eq!(store.cached_bytes(huge.id()), 0);
}

#[test]
fn the_quota_holds_under_concurrent_writers() {
    let dir = scratch();
    // Each of four threads holds an object, and at times writes a second copy of it.
    let quota = 9 * MIB;
    let store = Store::open(config_with_quota(dir.path(), quota)).unwrap();
    let samples = samples(24);
    let done = Done::default();
    std::thread::scope(|scope| {
        let (store, samples, done, dir) = (&store, &samples, &done, dir.path());
        let writers: Vec<_> = (0..4_usize)
            .map(|thread| {
                scope.spawn(move || {
                    for turn in 0..60 {
                        let sample = samples[(turn * 7 + thread * 5) % samples.len()];
                        let lease = sample.lease(store);
                        sample.write(&lease, 0).unwrap();
                        assert_eq!(sample.present(&lease), [0]);
                    }
                })
            })
            .collect();
        scope.spawn(move || {
            while !done.is_set() {
                assert!(store.usage().used_bytes <= quota);
                assert!(data_files(dir).len() as u64 <= quota / MIB + 4);
            }
        });
        let _done = done.on_drop();
        writers
            .into_iter()
            .for_each(|writer| writer.join().unwrap());
    });
    audit(&store, &samples);
    assert!(store.stats().evicted_objects > 0);
}

#[test]
fn a_smaller_quota_takes_effect_at_the_start() {
    let dir = scratch();
    let samples = samples(10);
    let store = Store::open(config(dir.path())).unwrap();
    samples.iter().for_each(|sample| sample.put(&store));
    store.close();
    let store = Store::open(config_with_quota(dir.path(), 4 * MIB)).unwrap();
    assert_eq!(store.usage().used_bytes, 3 * MIB);
    assert_eq!(cached(&store, &samples), 3);
}

#[test]
fn every_policy_evicts() {
    for policy in [
        crate::eviction::PolicyKind::Lru,
        crate::eviction::PolicyKind::S3Fifo,
        crate::eviction::PolicyKind::Tenure,
    ] {
        let dir = scratch();
        let config = StoreConfig {
            policy,
            ..config_with_quota(dir.path(), 4 * MIB)
        };
        let store = Store::open(config).unwrap();
        let samples = samples(20);
        for sample in &samples {
            sample.put(&store);
            drop(samples[0].lease(&store));
        }
        audit(&store, &samples);
        // Opened all the time, it outlives the others under either policy.
        assert_eq!(store.cached_bytes(samples[0].id()), MIB, "{policy:?}");
    }
}

fn two_tiers(disk: &Path, memory: &Path, quota: u64) -> StoreConfig {
    let mut config = config_with_quota(disk, quota);
    let tier = TierConfig::new(TierKind::Memory, memory, quota);
    config.tiers.push(TierConfig {
        min_free: Some(0),
        ..tier
    });
    config
}

#[test]
fn the_second_tier_takes_what_the_first_has_no_room_for() {
    let (disk, memory) = (scratch(), scratch());
    let store = Store::open(two_tiers(disk.path(), memory.path(), 4 * MIB)).unwrap();
    let samples = samples(12);
    let leases: Vec<_> = samples.iter().map(|sample| sample.lease(&store)).collect();
    let written = samples
        .iter()
        .zip(&leases)
        .filter(|(s, lease)| s.write(lease, 0).is_ok());
    assert_eq!(written.count(), 8);
    assert_eq!(
        (
            data_files(disk.path()).len(),
            data_files(memory.path()).len()
        ),
        (4, 4)
    );
    assert_eq!(store.usage().capacity_bytes, 8 * MIB);
    audit(&store, &samples);
    let (disk, memory) = (snapshot(disk.path()), snapshot(memory.path()));
    let next = Store::open(two_tiers(disk.path(), memory.path(), 8 * MIB)).unwrap();
    for (sample, lease) in samples.iter().zip(&leases) {
        assert_eq!(
            sample.present(&sample.lease(&next)).len() as u64,
            lease.present_bytes() / MIB
        );
    }
}

#[test]
fn an_object_found_in_two_tiers_is_kept_in_the_first() {
    let (first, second) = (scratch(), scratch());
    let sample = Sample::new(1, MIB + 1);
    for dir in [&first, &second] {
        let store = Store::open(config(dir.path())).unwrap();
        sample.put(&store);
    }
    let store = Store::open(two_tiers(first.path(), second.path(), 4 * MIB)).unwrap();
    assert_eq!(sample.present(&sample.lease(&store)), [0, 1]);
    assert_eq!(
        (
            data_files(first.path()).len(),
            data_files(second.path()).len()
        ),
        (1, 0)
    );
    assert_eq!(store.stats().orphans, 1);
    audit(&store, &[sample]);
}
