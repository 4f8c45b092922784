//! Quotas and eviction where packs are what comes and goes.

use forebay_core::cache::Backing;

use super::*;

const KIB: u64 = 1 << 10;

fn equal_samples(count: u64) -> Vec<Sample> {
    (0..count)
        .map(|number| Sample::new(number, 100 * KIB))
        .collect()
}

fn read(backing: &Backing, sample: Sample) -> bool {
    let mut found = vec![0; sample.size as usize];
    backing
        .file
        .read_exact_at(&mut found, backing.offset)
        .unwrap();
    found == sample.bytes(0)
}

#[test]
fn packs_are_evicted_as_a_whole_and_the_quota_holds() {
    let dir = scratch();
    let quota = 20 * CHUNK_SIZE;
    let store = Store::open(config_with_quota(dir.path(), quota)).unwrap();
    let samples = equal_samples(600);
    for sample in &samples {
        sample.put(&store);
        assert!(store.usage().used_bytes <= quota);
    }
    let stats = store.stats();
    // Packs of 1 MiB and a little more: eleven objects each.
    assert!(stats.packs <= 20 && stats.evicted_packs >= 30, "{stats:?}");
    assert_eq!(stats.evicted_objects, 600 - stats.objects);
    assert_eq!(stats.evicted_bytes, stats.evicted_objects * 100 * KIB);
    assert_eq!(pack_files(dir.path()).len() as u64, stats.packs);
    assert!(stats.bytes >= quota / 10 * 8, "{stats:?}");
    assert_eq!(right(&store, &samples).len() as u64, stats.objects);
    audit(&store, &samples);
}

#[test]
fn an_object_is_read_to_its_end_after_its_pack_was_evicted() {
    let dir = scratch();
    let store = Store::open(config_with_quota(dir.path(), 4 * CHUNK_SIZE)).unwrap();
    let samples = equal_samples(200);
    let lease = samples[0].lease(&store);
    samples[0].fill(&lease);
    let backing = lease.backing().unwrap();
    samples[1..].iter().for_each(|sample| sample.put(&store));
    assert_eq!(store.cached_bytes(samples[0].id()), 0);
    assert!(lease.is_complete() && read(&backing, samples[0]));
    assert!(read(&lease.backing().unwrap(), samples[0]));
    // Others find it missing, fetch it again, and disturb nobody.
    assert_eq!(samples[0].lease(&store).state(0), ChunkState::Missing);
    samples[0].put(&store);
    assert!(read(&lease.backing().unwrap(), samples[0]));
    assert_eq!(samples[0].present(&samples[0].lease(&store)), [0]);
    audit(&store, &samples);
}

#[test]
fn leases_on_packed_objects_never_make_a_tier_refuse() {
    let dir = scratch();
    let store = Store::open(config_with_quota(dir.path(), 2 * CHUNK_SIZE)).unwrap();
    let samples = equal_samples(100);
    let leases: Vec<_> = samples.iter().map(|sample| sample.lease(&store)).collect();
    for (sample, lease) in samples.iter().zip(&leases) {
        sample.fill(lease);
        assert_eq!(sample.present(lease), [0]);
    }
    assert_eq!(store.stats().full_writes, 0);
    for (sample, lease) in samples.iter().zip(&leases) {
        assert!(read(&lease.backing().unwrap(), *sample));
    }
}

#[test]
fn what_was_evicted_with_its_pack_stays_evicted_after_a_restart() {
    let dir = scratch();
    let config = || config_with_quota(dir.path(), 5 * CHUNK_SIZE);
    let samples = equal_samples(100);
    let store = Store::open(config()).unwrap();
    samples.iter().for_each(|sample| sample.put(&store));
    let before = right(&store, &samples);
    store.close();
    let store = Store::open(config()).unwrap();
    assert_eq!(right(&store, &samples), before);
    assert_eq!((store.stats().torn_chunks, store.stats().orphans), (0, 0));
    audit(&store, &samples);
}

#[test]
fn a_smaller_quota_evicts_packs_at_the_start() {
    let dir = scratch();
    let samples = equal_samples(100);
    let store = Store::open(config_with_quota(dir.path(), 20 * CHUNK_SIZE)).unwrap();
    samples.iter().for_each(|sample| sample.put(&store));
    store.close();
    let store = Store::open(config_with_quota(dir.path(), 4 * CHUNK_SIZE)).unwrap();
    assert!(store.usage().used_bytes <= 4 * CHUNK_SIZE / 10 * 9 + 1);
    assert!(store.stats().packs > 0);
    audit(&store, &samples);
}

#[test]
fn a_tier_smaller_than_a_pack_still_takes_what_fits() {
    let dir = scratch();
    let store = Store::open(config_with_quota(dir.path(), 300 * KIB)).unwrap();
    let samples = equal_samples(10);
    for sample in &samples {
        let lease = sample.lease(&store);
        sample.fill(&lease);
        assert_eq!(sample.present(&lease), [0]);
        assert!(store.usage().used_bytes <= 300 * KIB);
    }
    let large = Sample::new(50, 301 * KIB);
    assert_eq!(large.write(&large.lease(&store), 0), Err(WriteError::Full));
    audit(&store, &samples);
}

#[test]
fn a_pack_that_is_read_again_and_again_outlives_the_others() {
    for policy in [PolicyKind::Lru, PolicyKind::S3Fifo] {
        let dir = scratch();
        let config = StoreConfig {
            policy,
            ..config_with_quota(dir.path(), 10 * CHUNK_SIZE)
        };
        let store = Store::open(config).unwrap();
        let samples = equal_samples(600);
        let (hot, cold) = samples.split_at(11);
        hot.iter().for_each(|sample| sample.put(&store));
        for passing in cold {
            passing.put(&store);
            hot.iter().for_each(|sample| drop(sample.lease(&store)));
        }
        assert_eq!(right(&store, hot), all(hot), "{policy:?}");
    }
}

#[test]
fn the_second_tier_takes_packs_that_the_first_cannot() {
    let (disk, memory) = (scratch(), scratch());
    let mut config = config_with_quota(disk.path(), 50 * KIB);
    let tier = TierConfig::new(TierKind::Memory, memory.path(), CHUNK_SIZE);
    config.tiers.push(TierConfig {
        min_free: Some(0),
        ..tier
    });
    let store = Store::open(config).unwrap();
    let samples = equal_samples(3);
    samples.iter().for_each(|sample| sample.put(&store));
    assert_eq!(right(&store, &samples), all(&samples));
    assert_eq!(
        (
            pack_files(disk.path()).len(),
            pack_files(memory.path()).len()
        ),
        (0, 1)
    );
    audit(&store, &samples);
}

#[test]
fn large_and_small_objects_compete_for_one_quota() {
    let dir = scratch();
    let quota = 10 * CHUNK_SIZE;
    let store = Store::open(config_with_quota(dir.path(), quota)).unwrap();
    let mut samples = equal_samples(200);
    samples.extend((1000..1030).map(|number| Sample::new(number, CHUNK_SIZE)));
    samples.sort_by_key(|sample| sample.number * 37 % 101);
    for sample in &samples {
        sample.put(&store);
        assert!(store.usage().used_bytes <= quota);
    }
    let stats = store.stats();
    assert!(
        stats.packed_objects > 0 && stats.objects > stats.packed_objects,
        "{stats:?}"
    );
    audit(&store, &samples);
}
