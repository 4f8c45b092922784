//! Writing, reading, forgetting: nothing goes wrong here.

use super::*;

const MIB: u64 = CHUNK_SIZE;

#[test]
fn a_written_chunk_is_present_and_reads_back() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let sample = Sample::new(1, 2 * MIB + 5);
    let lease = sample.lease(&store);
    assert_eq!(lease.first_not_present(0..3), Some(0));
    assert!(lease.backing().is_none());
    sample.write(&lease, 2).unwrap();
    assert_eq!(lease.state(2), ChunkState::Present);
    assert_eq!((lease.present_bytes(), lease.is_complete()), (5, false));
    sample.write(&lease, 0).unwrap();
    assert_eq!(lease.first_not_present(0..3), Some(1));
    sample.write(&lease, 1).unwrap();
    assert!(lease.is_complete());
    assert_eq!(sample.present(&lease), [0, 1, 2]);
    assert_eq!(store.cached_bytes(sample.id()), sample.size);
    audit(&store, &[sample]);
}

#[test]
fn the_file_has_the_size_of_the_object_from_the_first_chunk_on() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let sample = Sample::new(1, 3 * MIB + 5);
    let lease = sample.lease(&store);
    sample.write(&lease, 0).unwrap();
    assert_eq!(
        lease.backing().unwrap().file.metadata().unwrap().len(),
        sample.size
    );
}

#[test]
fn a_chunk_of_the_wrong_length_is_refused() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let lease = Sample::new(1, MIB + 5).lease(&store);
    let short = [Bytes::from_static(b"abcd")];
    let error = lease.write(1, &short).unwrap_err();
    assert_eq!(
        error,
        WriteError::Length {
            range: ByteRange::at(MIB, 5),
            got: 4
        }
    );
    let error = lease.write(2, &short).unwrap_err();
    assert_eq!(
        error,
        WriteError::Pages {
            range: ByteRange::at(2 * MIB, 0)
        }
    );
    assert!(lease.write(u64::MAX, &[]).is_err());
    assert_eq!(lease.present_bytes(), 0);
}

#[test]
fn an_empty_object_is_complete_without_a_file() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let lease = store.lease(ObjectId::from_bytes([1; 16]), 0);
    assert!(lease.is_complete());
    assert!(lease.backing().is_none());
    drop(lease);
    assert_eq!(data_files(dir.path()).len(), 0);
}

#[test]
fn leases_on_one_object_share_it() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let sample = Sample::new(1, MIB);
    let (first, second) = (sample.lease(&store), sample.lease(&store));
    sample.fill(&first);
    drop(first);
    assert_eq!(sample.present(&second), [0]);
    drop(second);
    assert_eq!(sample.present(&sample.lease(&store)), [0]);
}

#[test]
fn a_size_that_contradicts_the_id_gets_nothing_stored() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let sample = Sample::new(1, 10);
    sample.put(&store);
    let other = store.lease(sample.id(), 11);
    assert_eq!(other.state(0), ChunkState::Missing);
    assert_eq!(
        other.write(0, &[Bytes::from_static(b"12345678901")]),
        Err(WriteError::Full)
    );
    drop(other);
    assert_eq!(sample.present(&sample.lease(&store)), [0]);
    audit(&store, &[sample]);
}

#[test]
fn a_discarded_chunk_is_missing_until_it_is_written_again() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let sample = Sample::new(1, 2 * MIB);
    let lease = sample.lease(&store);
    sample.fill(&lease);
    lease.discard(1);
    lease.discard(1);
    lease.discard(7);
    assert_eq!(sample.present(&lease), [0]);
    assert_eq!(store.stats().corrupt_chunks, 1);
    sample.write(&lease, 1).unwrap();
    assert!(lease.is_complete());
    audit(&store, &[sample]);
}

#[test]
fn an_object_that_was_never_filled_leaves_nothing_behind() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let sample = Sample::new(1, MIB);
    drop(sample.lease(&store));
    let lease = sample.lease(&store);
    sample.fill(&lease);
    lease.discard(0);
    drop(lease);
    assert_eq!(data_files(dir.path()).len(), 0);
    assert_eq!(sample.present(&sample.lease(&store)), [0; 0]);
    audit(&store, &[sample]);
}

#[test]
fn a_closed_store_is_read_but_not_written() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let sample = Sample::new(1, 2 * MIB);
    let lease = sample.lease(&store);
    sample.write(&lease, 0).unwrap();
    store.close();
    store.close();
    assert_eq!(sample.write(&lease, 1), Err(WriteError::Full));
    assert_eq!(sample.present(&lease), [0]);
    store.flush().unwrap();
}

#[test]
fn what_a_closed_store_forgets_stays_with_the_next_owner() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let sample = Sample::new(1, MIB);
    sample.put(&store);
    let lease = sample.lease(&store);
    store.close();
    let next = Store::open(config(dir.path())).unwrap();
    lease.discard(0);
    drop((lease, store));
    assert_eq!(sample.present(&sample.lease(&next)), [0]);
}

#[test]
fn many_threads_may_write_one_chunk_and_all_chunks_of_one_object() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let sample = Sample::new(1, 8 * MIB + 9);
    let lease = sample.lease(&store);
    std::thread::scope(|scope| {
        for offset in 0..6 {
            let lease = &lease;
            scope.spawn(move || {
                for index in 0..9 {
                    sample.write(lease, (index + offset) % 9).unwrap();
                }
            });
        }
    });
    assert_eq!(sample.present(&lease).len(), 9);
    audit(&store, &[sample]);
}
