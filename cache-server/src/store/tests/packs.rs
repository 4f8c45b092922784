//! Small objects in packs: what they share, and what that must not change.

use super::*;
use crate::eviction::PolicyKind;

mod crash;
mod damage;
mod model;
mod room;

fn samples(count: u64) -> Vec<Sample> {
    // Sizes of all kinds, none a chunk.
    let size = |number: u64| 1 + number * 7_919 % 200_000;
    (0..count)
        .map(|number| Sample::new(number, size(number)))
        .collect()
}

fn bytes(samples: &[Sample]) -> u64 {
    samples.iter().map(|sample| sample.size).sum()
}

/// Which of `samples` are there, each compared with what it must be.
fn right(store: &Arc<Store>, samples: &[Sample]) -> Vec<u64> {
    let is_right = |sample: &&Sample| sample.present(&sample.lease(store)) == [0];
    samples
        .iter()
        .filter(is_right)
        .map(|sample| sample.number)
        .collect()
}

fn all(samples: &[Sample]) -> Vec<u64> {
    samples.iter().map(|sample| sample.number).collect()
}

#[test]
fn small_objects_share_files_and_large_ones_have_their_own() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let small = samples(300);
    small.iter().for_each(|sample| sample.put(&store));
    let large = Sample::new(1000, CHUNK_SIZE);
    large.put(&store);
    assert_eq!(data_files(dir.path()).len(), 1);
    // Of 16 MiB, since the quota is 1 GiB.
    assert_eq!(
        pack_files(dir.path()).len() as u64,
        bytes(&small).div_ceil(16 << 20)
    );
    assert_eq!(right(&store, &small), all(&small));
    let stats = store.stats();
    assert_eq!((stats.packs, stats.packed_objects), (2, 300));
    assert_eq!((stats.packed_bytes, stats.dead_bytes), (bytes(&small), 0));
    let everything: Vec<_> = small.into_iter().chain([large]).collect();
    audit(&store, &everything);
}

#[test]
fn objects_lie_in_the_order_in_which_they_came() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let samples = samples(50);
    let mut expected = None;
    for sample in &samples {
        let lease = sample.lease(&store);
        sample.fill(&lease);
        let offset = lease.backing().unwrap().offset;
        assert_eq!(expected.unwrap_or(offset), offset);
        assert!(
            offset > 0,
            "a pack must not pass for the file of one object"
        );
        expected = Some(offset + sample.size);
    }
}

#[test]
fn a_packed_object_is_discarded_once_and_written_again() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let sample = Sample::new(1, 700);
    let (lease, other) = (sample.lease(&store), sample.lease(&store));
    sample.fill(&lease);
    assert!(lease.is_complete() && other.is_complete());
    lease.discard(0);
    lease.discard(0);
    lease.discard(1);
    assert_eq!(
        (lease.state(0), other.state(0)),
        (ChunkState::Missing, ChunkState::Missing)
    );
    assert!(other.backing().is_none());
    assert_eq!(
        (store.stats().corrupt_chunks, store.stats().dead_bytes),
        (1, 700)
    );
    audit(&store, &[sample]);
    sample.fill(&other);
    assert_eq!(sample.present(&lease), [0]);
    assert_eq!(lease.state(1), ChunkState::Missing);
    assert_eq!(
        (lease.first_not_present(0..9), lease.first_not_present(1..9)),
        (None, None)
    );
    audit(&store, &[sample]);
}

#[test]
fn many_threads_fill_packs_at_once_and_each_object_is_right() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let samples = samples(400);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (store, samples) = (&store, &samples);
            scope.spawn(move || {
                // Every object is put by two of them.
                for sample in samples.iter().filter(|s| s.number % 4 == thread % 4) {
                    let lease = sample.lease(store);
                    sample.fill(&lease);
                    assert_eq!(sample.present(&lease), [0]);
                }
            });
        }
    });
    assert_eq!(right(&store, &samples), all(&samples));
    audit(&store, &samples);
}

#[test]
fn packing_can_be_turned_off() {
    let dir = scratch();
    let config = StoreConfig {
        pack_below: 0,
        ..config(dir.path())
    };
    let store = Store::open(config).unwrap();
    let samples = samples(5);
    samples.iter().for_each(|sample| sample.put(&store));
    assert_eq!((data_files(dir.path()).len(), store.stats().packs), (5, 0));
}

#[test]
fn a_cache_of_before_packs_is_read_as_it_is() {
    let dir = scratch();
    let (old, new) = (samples(5), Sample::new(100, 300));
    let without_packs = StoreConfig {
        pack_below: 0,
        ..config(dir.path())
    };
    let store = Store::open(without_packs).unwrap();
    old.iter().for_each(|sample| sample.put(&store));
    store.close();
    fs::write(dir.path().join("FORMAT"), "forebay cache 1\n").unwrap();
    fs::remove_dir(dir.path().join("packs")).unwrap();
    for _ in 0..2 {
        let store = Store::open(config(dir.path())).unwrap();
        assert_eq!(right(&store, &old), all(&old));
        new.put(&store);
        assert_eq!(
            (data_files(dir.path()).len(), store.stats().packed_objects),
            (5, 1)
        );
        store.close();
    }
    // What is found wrong there goes into a pack when it is fetched again.
    let store = Store::open(config(dir.path())).unwrap();
    old[0].lease(&store).discard(0);
    old[0].put(&store);
    assert_eq!(right(&store, &old), all(&old));
    assert_eq!(
        (data_files(dir.path()).len(), store.stats().packed_objects),
        (4, 2)
    );
    // A version that knows nothing of packs would not see them.
    let format = fs::read_to_string(dir.path().join("FORMAT")).unwrap();
    assert_eq!(format, "forebay cache 2\n");
}

#[test]
fn a_look_at_a_packed_object_goes_by_its_id_and_size() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let sample = Sample::new(1, 10);
    sample.put(&store);
    assert_eq!(store.cached_bytes(sample.id()), 10);
    assert_eq!(store.cached_bytes(Sample::new(2, 10).id()), 0);
    let other = store.lease(sample.id(), 11);
    assert_eq!(
        (other.state(0), other.present_bytes()),
        (ChunkState::Missing, 0)
    );
    let bytes = [Bytes::from_static(b"12345678901")];
    assert_eq!(other.write(0, &bytes), Err(WriteError::Full));
    assert_eq!(right(&store, &[sample]), [1]);
}
