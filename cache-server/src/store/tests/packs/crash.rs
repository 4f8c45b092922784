//! The process or the machine dies while packs are written.

use super::*;

/// Opens a copy of `dir` as it is now, under `boot`.
fn reopen(dir: &Path, boot: BootId) -> (TempDir, Arc<Store>) {
    let copy = snapshot(dir);
    let store = Store::open_under(config(copy.path()), boot).unwrap();
    (copy, store)
}

#[test]
fn a_killed_process_loses_no_packed_object() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let samples = samples(40);
    for (count, sample) in (1..).zip(&samples) {
        sample.put(&store);
        if count % 10 == 0 {
            let (_copy, next) = reopen(dir.path(), this_boot());
            assert_eq!(samples[0].lease(&next).state(0), ChunkState::Unverified);
            assert_eq!(right(&next, &samples), all(&samples[..count]));
            assert_eq!((next.stats().torn_chunks, next.stats().orphans), (0, 0));
            audit(&next, &samples);
        }
    }
}

#[test]
fn a_power_failure_keeps_the_packed_objects_that_were_flushed() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let samples = samples(30);
    samples[..10].iter().for_each(|sample| sample.put(&store));
    store.flush().unwrap();
    samples[10..].iter().for_each(|sample| sample.put(&store));
    let (_copy, next) = reopen(dir.path(), ANOTHER_BOOT);
    assert_eq!(right(&next, &samples), all(&samples[..10]));
    assert_eq!(next.stats().torn_chunks, 20);
    audit(&next, &samples);
}

#[test]
fn a_pack_with_no_durable_object_is_removed_after_a_power_failure() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let samples = samples(3);
    samples.iter().for_each(|sample| sample.put(&store));
    let (copy, next) = reopen(dir.path(), ANOTHER_BOOT);
    assert_eq!((next.stats().torn_chunks, next.stats().orphans), (3, 1));
    assert_eq!(pack_files(copy.path()).len(), 0);
    audit(&next, &samples);
}

#[test]
fn packed_objects_that_a_killed_process_left_unsynced_are_synced_by_the_next() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let samples = samples(3);
    samples.iter().for_each(|sample| sample.put(&store));
    let (copy, next) = reopen(dir.path(), this_boot());
    next.flush().unwrap();
    let (_copy, after) = reopen(copy.path(), ANOTHER_BOOT);
    assert_eq!(right(&after, &samples), all(&samples));
}

#[test]
fn closing_makes_packs_durable() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let samples = samples(3);
    samples.iter().for_each(|sample| sample.put(&store));
    store.close();
    let (_copy, next) = reopen(dir.path(), ANOTHER_BOOT);
    assert_eq!(right(&next, &samples), all(&samples));
}

#[test]
fn the_next_process_of_a_boot_goes_on_in_the_same_pack() {
    let dir = scratch();
    for number in 0..5 {
        let store = Store::open(config(dir.path())).unwrap();
        Sample::new(number, 100).put(&store);
        assert_eq!(pack_files(dir.path()).len(), 1);
    }
    // Another boot cannot tell what was durable from what came later.
    let store = Store::open_under(config(dir.path()), ANOTHER_BOOT).unwrap();
    Sample::new(9, 100).put(&store);
    assert_eq!(pack_files(dir.path()).len(), 2);
    assert_eq!(store.stats().packed_objects, 6);
}

#[test]
fn bytes_without_a_record_are_written_over_or_left_behind() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let samples = samples(4);
    samples[..2].iter().for_each(|sample| sample.put(&store));
    let copy = snapshot(dir.path());
    // Killed between the bytes and the record of an object.
    let pack = fs::File::options()
        .write(true)
        .open(&pack_files(copy.path())[0])
        .unwrap();
    let len = pack.metadata().unwrap().len();
    pack.write_all_at(&[7; 500], len).unwrap();
    let next = Store::open(config(copy.path())).unwrap();
    samples[2..].iter().for_each(|sample| sample.put(&next));
    assert_eq!(right(&next, &samples), all(&samples));
    let (_copy, after) = reopen(copy.path(), this_boot());
    assert_eq!(right(&after, &samples), all(&samples));
    assert_eq!(after.stats().corrupt_chunks, 0);
}

#[test]
fn an_object_found_wrong_stays_forgotten() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let samples = samples(3);
    samples.iter().for_each(|sample| sample.put(&store));
    samples[1].lease(&store).discard(0);
    let (_copy, next) = reopen(dir.path(), this_boot());
    assert_eq!(samples[1].lease(&next).state(0), ChunkState::Missing);
    assert_eq!(
        (next.stats().packed_objects, next.stats().dead_bytes),
        (2, samples[1].size)
    );
    audit(&next, &samples);
}

#[test]
fn an_object_that_two_packs_hold_is_counted_once() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let sample = Sample::new(1, 1000);
    sample.put(&store);
    let path = pack_files(dir.path()).remove(0);
    let before = fs::read(&path).unwrap();
    sample.lease(&store).discard(0);
    // Another boot, so that it goes into another pack.
    store.close();
    let store = Store::open_under(config(dir.path()), ANOTHER_BOOT).unwrap();
    sample.put(&store);
    store.close();
    fs::write(path, before).unwrap();
    assert_eq!(pack_files(dir.path()).len(), 2);
    let next = Store::open(config(dir.path())).unwrap();
    assert_eq!(right(&next, &[sample]), [1]);
    assert_eq!(next.stats().packed_objects, 1);
    audit(&next, &[sample]);
}
