//! The process or the machine dies between two steps.

use super::*;

const SAMPLE: Sample = Sample {
    number: 1,
    size: 3 * CHUNK_SIZE + 100,
};

/// Opens a copy of `dir` as it is now, as the next process of the same boot would.
fn after_kill(dir: &Path) -> (TempDir, Arc<Store>) {
    let copy = snapshot(dir);
    let store = Store::open(config(copy.path())).unwrap();
    (copy, store)
}

/// The same after the machine went down.
fn after_power_failure(dir: &Path) -> (TempDir, Arc<Store>) {
    let copy = snapshot(dir);
    let store = Store::open_under(config(copy.path()), ANOTHER_BOOT).unwrap();
    (copy, store)
}

fn present(store: &Arc<Store>) -> Vec<u64> {
    SAMPLE.present(&SAMPLE.lease(store))
}

#[test]
fn a_killed_process_loses_no_chunk() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let lease = SAMPLE.lease(&store);
    for index in [3, 0, 2] {
        SAMPLE.write(&lease, index).unwrap();
        let (_copy, next) = after_kill(dir.path());
        let held = SAMPLE.lease(&next);
        assert_eq!(held.present_bytes(), lease.present_bytes());
        assert_eq!(held.state(index), ChunkState::Unverified);
        assert_eq!(SAMPLE.present(&held), SAMPLE.present(&lease));
        assert_eq!((next.stats().torn_chunks, next.stats().orphans), (0, 0));
        audit(&next, &[SAMPLE]);
    }
}

#[test]
fn a_power_failure_keeps_what_was_flushed_and_drops_the_rest() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let lease = SAMPLE.lease(&store);
    SAMPLE.write(&lease, 0).unwrap();
    SAMPLE.write(&lease, 1).unwrap();
    store.flush().unwrap();
    SAMPLE.write(&lease, 2).unwrap();
    let (_copy, next) = after_power_failure(dir.path());
    assert_eq!(present(&next), [0, 1]);
    assert_eq!(next.stats().torn_chunks, 1);
    audit(&next, &[SAMPLE]);
}

#[test]
fn a_file_with_no_durable_chunk_is_removed_after_a_power_failure() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    SAMPLE.put(&store);
    let (copy, next) = after_power_failure(dir.path());
    assert_eq!(present(&next), [0; 0]);
    assert_eq!((next.stats().torn_chunks, next.stats().orphans), (4, 1));
    assert_eq!(data_files(copy.path()).len(), 0);
}

#[test]
fn an_unmount_right_after_the_last_read_loses_nothing() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    SAMPLE.put(&store);
    store.close();
    let (_copy, next) = after_power_failure(dir.path());
    assert_eq!(present(&next), [0, 1, 2, 3]);
}

#[test]
fn what_a_killed_process_left_unsynced_is_synced_by_the_next_one() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    SAMPLE.put(&store);
    let (copy, next) = after_kill(dir.path());
    let (_lost, unsynced) = after_power_failure(copy.path());
    assert_eq!(present(&unsynced), [0; 0]);
    next.flush().unwrap();
    let (_kept, synced) = after_power_failure(copy.path());
    assert_eq!(present(&synced), [0, 1, 2, 3]);
}

#[test]
fn data_that_never_reached_the_disk_is_found_out() {
    // What a lying device leaves: the records, and holes in the place of the data.
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    SAMPLE.put(&store);
    store.flush().unwrap();
    let copy = snapshot(dir.path());
    let file = fs::File::options()
        .write(true)
        .open(&data_files(copy.path())[0])
        .unwrap();
    file.write_all_at(&vec![0; CHUNK_SIZE as usize], CHUNK_SIZE)
        .unwrap();
    let next = Store::open_under(config(copy.path()), ANOTHER_BOOT).unwrap();
    assert_eq!(present(&next), [0, 2, 3]);
    assert_eq!(next.stats().corrupt_chunks, 1);
}

#[test]
fn a_removal_that_was_not_recorded_costs_a_miss() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    SAMPLE.put(&store);
    let copy = snapshot(dir.path());
    fs::remove_file(&data_files(copy.path())[0]).unwrap();
    let next = Store::open(config(copy.path())).unwrap();
    assert_eq!(next.cached_bytes(SAMPLE.id()), 0);
    assert_eq!(next.stats().torn_chunks, 4);
    SAMPLE.put(&next);
    assert_eq!(present(&next).len(), 4);
}

#[test]
fn a_file_without_records_is_removed() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let before = fs::read(dir.path().join("journal")).unwrap();
    SAMPLE.put(&store);
    let copy = snapshot(dir.path());
    fs::write(copy.path().join("journal"), before).unwrap();
    let next = Store::open(config(copy.path())).unwrap();
    assert_eq!(next.stats().orphans, 1);
    assert_eq!(data_files(copy.path()).len(), 0);
    SAMPLE.put(&next);
    assert_eq!(present(&next).len(), 4);
}

#[test]
fn a_draft_of_the_journal_that_was_not_finished_is_ignored() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    SAMPLE.put(&store);
    fs::write(dir.path().join("journal.new"), b"half a draft").unwrap();
    let (copy, next) = after_kill(dir.path());
    assert_eq!(present(&next).len(), 4);
    assert!(!copy.path().join("journal.new").exists());
}

#[test]
fn a_cache_survives_many_restarts_of_either_kind() {
    let dir = scratch();
    let mut copies = vec![snapshot(dir.path())];
    for round in 0..6 {
        let dir = copies.last().unwrap().path();
        let boot = if round % 2 == 0 {
            this_boot()
        } else {
            [round; 16]
        };
        let store = Store::open_under(config(dir), boot).unwrap();
        for number in 0..u64::from(round) {
            let sample = Sample::new(number, 5_000 + number);
            assert_eq!(sample.present(&sample.lease(&store)), [0], "round {round}");
        }
        Sample::new(u64::from(round), 5_000 + u64::from(round)).put(&store);
        store.flush().unwrap();
        copies.push(snapshot(dir));
    }
}

#[test]
fn a_long_journal_is_rewritten_and_says_the_same() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let kept = Sample::new(7, 2 * CHUNK_SIZE);
    kept.put(&store);
    let sample = Sample::new(1, CHUNK_SIZE + 10);
    let lease = sample.lease(&store);
    for _ in 0..9_000 {
        sample.write(&lease, 1).unwrap();
        lease.discard(1);
    }
    assert!(fs::metadata(dir.path().join("journal")).unwrap().len() > 1 << 20);
    sample.write(&lease, 1).unwrap();
    store.flush().unwrap();
    assert_eq!(store.stats().compactions, 1);
    let after = Sample::new(2, CHUNK_SIZE);
    after.put(&store);
    assert!(fs::metadata(dir.path().join("journal")).unwrap().len() < 1 << 10);
    for power_failed in [false, true] {
        let (_copy, next) = match power_failed {
            false => after_kill(dir.path()),
            true => after_power_failure(dir.path()),
        };
        assert_eq!(kept.present(&kept.lease(&next)), [0, 1]);
        assert_eq!(sample.present(&sample.lease(&next)), [1]);
        assert_eq!(after.present(&after.lease(&next)).is_empty(), power_failed);
        assert_eq!(next.stats().damaged_records, 0);
    }
}
