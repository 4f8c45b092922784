//! Files of the cache change under a store, or between two runs of one.

use super::*;

const SAMPLES: [Sample; 3] = [
    Sample {
        number: 1,
        size: 2 * CHUNK_SIZE + 100,
    },
    Sample {
        number: 2,
        size: CHUNK_SIZE,
    },
    Sample {
        number: 3,
        size: CHUNK_SIZE,
    },
];

/// A closed cache of the samples, all complete.
fn cache() -> TempDir {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    SAMPLES.iter().for_each(|sample| sample.put(&store));
    store.close();
    dir
}

/// Reads every sample, then fetches what is missing and reads again; returns the number
/// of chunks that were missing.
fn read_and_mend(store: &Arc<Store>) -> u64 {
    let mut missing = 0;
    for sample in SAMPLES {
        let lease = sample.lease(store);
        missing += sample.chunks() - sample.present(&lease).len() as u64;
        // A lease on a file that was found damaged stays without one.
        drop(lease);
        let lease = sample.lease(store);
        sample.fill(&lease);
        assert_eq!(sample.present(&lease).len() as u64, sample.chunks());
    }
    audit(store, &SAMPLES);
    missing
}

fn file_of(dir: &Path, sample: Sample) -> std::path::PathBuf {
    let name = sample.id().to_string();
    let is_its = |path: &std::path::PathBuf| path.to_string_lossy().contains(&name);
    data_files(dir).into_iter().find(is_its).unwrap()
}

fn flip(path: &Path, bit: u64) {
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, bit / 8).unwrap();
    byte[0] ^= 1 << (bit % 8);
    file.write_all_at(&byte, bit / 8).unwrap();
}

#[test]
fn a_flipped_bit_in_the_data_is_one_missing_chunk() {
    for (sample, at) in [
        (0, 0),
        (0, CHUNK_SIZE * 8 - 1),
        (0, 2 * CHUNK_SIZE * 8),
        (1, 13),
        (2, 9),
    ] {
        let dir = cache();
        flip(&file_of(dir.path(), SAMPLES[sample]), at);
        let store = Store::open(config(dir.path())).unwrap();
        assert_eq!(read_and_mend(&store), 1);
        assert_eq!(store.stats().corrupt_chunks, 1);
    }
}

#[test]
fn a_flipped_bit_in_pages_takes_the_pages_of_their_chunk() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let lease = SAMPLES[0].lease(&store);
    let pages = |from: u64, count: u64| ByteRange::at(from * PAGE_SIZE, count * PAGE_SIZE);
    for range in [pages(3, 2), pages(9, 1), pages(256, 4)] {
        let from = (range.start() % CHUNK_SIZE) as usize;
        let bytes = Bytes::from(SAMPLES[0].bytes(range.start() / CHUNK_SIZE));
        let bytes = bytes.slice(from..from + range.len() as usize);
        lease
            .write_pages(range, &Pieces::from_iter([bytes]))
            .unwrap();
    }
    drop(lease);
    store.close();
    flip(
        &file_of(dir.path(), SAMPLES[0]),
        pages(9, 1).start() * 8 + 77,
    );
    let store = Store::open(config(dir.path())).unwrap();
    let lease = SAMPLES[0].lease(&store);
    assert_eq!(lease.first_absent(pages(3, 2)), Some(3 * PAGE_SIZE));
    assert!(!lease.verify(0));
    assert!(!lease.verify(1));
    assert!(lease.held(0).is_empty());
    assert_eq!(lease.first_absent(pages(256, 4)), None);
    assert_eq!(store.stats().corrupt_chunks, 1);
    drop(lease);
    assert_eq!(read_and_mend(&store), 5);
}

#[test]
fn a_dropped_chunk_stays_dropped_after_a_restart() {
    let dir = cache();
    flip(&file_of(dir.path(), SAMPLES[0]), 5);
    let store = Store::open(config(dir.path())).unwrap();
    assert!(!SAMPLES[0].lease(&store).verify(0));
    store.close();
    let store = Store::open(config(dir.path())).unwrap();
    assert_eq!(SAMPLES[0].lease(&store).state(0), ChunkState::Missing);
    assert_eq!(read_and_mend(&store), 1);
    assert_eq!(store.stats().corrupt_chunks, 0);
}

#[test]
fn any_flipped_bit_of_the_journal_costs_at_most_a_chunk() {
    let slots = fs::metadata(cache().path().join("journal")).unwrap().len() / 64;
    for slot in 0..slots {
        let dir = cache();
        flip(&dir.path().join("journal"), slot * 512 + slot * 37 % 512);
        let store = Store::open(config(dir.path())).unwrap();
        assert_eq!(store.stats().damaged_records, 1);
        assert!(read_and_mend(&store) <= 1, "slot {slot}");
    }
}

#[test]
fn a_torn_tail_of_the_journal_costs_at_most_a_chunk() {
    for cut in [1, 63, 64, 65, 100] {
        let dir = cache();
        let journal = fs::File::options()
            .write(true)
            .open(dir.path().join("journal"))
            .unwrap();
        // The last slot says what was synced; the one before it is the last chunk.
        journal
            .set_len(journal.metadata().unwrap().len() - cut)
            .unwrap();
        let store = Store::open(config(dir.path())).unwrap();
        assert!(read_and_mend(&store) <= 1, "cut {cut}");
    }
}

#[test]
fn without_its_journal_a_cache_starts_empty() {
    let dir = cache();
    fs::remove_file(dir.path().join("journal")).unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    assert_eq!(store.stats().orphans, 3);
    assert_eq!(read_and_mend(&store), 5);
}

#[test]
fn a_journal_of_noise_is_an_empty_one() {
    let dir = cache();
    let noise: Vec<u8> = (0..10_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    fs::write(dir.path().join("journal"), noise).unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    assert_eq!(store.stats().damaged_records, 157);
    assert_eq!(read_and_mend(&store), 5);
}

#[test]
fn a_file_of_the_wrong_length_is_dropped_at_the_start() {
    for len in [0, CHUNK_SIZE, 2 * CHUNK_SIZE + 99, 2 * CHUNK_SIZE + 101] {
        let dir = cache();
        let path = file_of(dir.path(), SAMPLES[0]);
        fs::File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_len(len)
            .unwrap();
        let store = Store::open(config(dir.path())).unwrap();
        assert_eq!(store.stats().torn_chunks, 3);
        assert_eq!(read_and_mend(&store), 3);
    }
}

#[test]
fn a_file_that_vanishes_under_the_store_is_fetched_again() {
    let dir = cache();
    let store = Store::open(config(dir.path())).unwrap();
    let lease = SAMPLES[0].lease(&store);
    assert_eq!(SAMPLES[0].present(&lease).len(), 3);
    let open = lease.backing().unwrap();
    drop(lease);
    fs::remove_file(file_of(dir.path(), SAMPLES[0])).unwrap();
    let lease = SAMPLES[0].lease(&store);
    assert!(lease.backing().is_none());
    assert_eq!(lease.first_not_present(0..3), Some(0));
    assert_eq!(store.stats().torn_chunks, 3);
    drop(lease);
    assert_eq!(read_and_mend(&store), 3);
    assert_eq!(open.file.metadata().unwrap().len(), SAMPLES[0].size);
}

#[test]
fn a_file_that_is_cut_short_under_a_reader_is_never_filled_up_with_zeros() {
    let dir = cache();
    let store = Store::open(config(dir.path())).unwrap();
    let lease = SAMPLES[0].lease(&store);
    assert_eq!(SAMPLES[0].present(&lease).len(), 3);
    let path = file_of(dir.path(), SAMPLES[0]);
    fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(0)
        .unwrap();
    // The reader of the last chunk meets the end of the file, and says so.
    lease.discard(2);
    assert_eq!(lease.first_not_present(0..3), Some(0));
    assert_eq!(SAMPLES[0].write(&lease, 2), Err(WriteError::Full));
    drop(lease);
    assert_eq!(read_and_mend(&store), 3);
}

#[test]
fn a_write_into_a_file_that_was_cut_short_is_noticed() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let lease = SAMPLES[0].lease(&store);
    SAMPLES[0].write(&lease, 0).unwrap();
    let path = file_of(dir.path(), SAMPLES[0]);
    fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(9)
        .unwrap();
    assert_eq!(SAMPLES[0].write(&lease, 1), Err(WriteError::Full));
    assert_eq!(lease.state(0), ChunkState::Missing);
}

#[test]
fn foreign_files_among_the_objects_are_left_alone() {
    let dir = cache();
    let shard = file_of(dir.path(), SAMPLES[0])
        .parent()
        .unwrap()
        .to_path_buf();
    let elsewhere = Sample::new(99, 5).id();
    let foreign = [
        dir.path().join("objects/notes.txt"),
        shard.join("notes.txt"),
        // Named like ours, but not where ours would be.
        dir.path().join(format!("objects/{elsewhere}-1")),
    ];
    for path in &foreign {
        fs::write(path, "mine").unwrap();
    }
    let store = Store::open(config(dir.path())).unwrap();
    assert_eq!((read_and_mend(&store), store.stats().orphans), (0, 0));
    for path in &foreign {
        assert_eq!(fs::read(path).unwrap(), b"mine");
    }
}

#[test]
fn a_damaged_format_file_is_forgiven_where_the_journal_is_a_cache_s() {
    let dir = cache();
    fs::write(dir.path().join("FORMAT"), [0xff, 0, 7]).unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    assert_eq!(read_and_mend(&store), 0);
}
