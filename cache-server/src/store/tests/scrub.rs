//! The scrub finds what nobody reads.

use super::*;

fn samples() -> Vec<Sample> {
    let large = (0..3).map(|number| Sample::new(number, 2 * CHUNK_SIZE + number * 5000 + 7));
    let small = (10..20).map(|number| Sample::new(number, 20_000 + number));
    large.chain(small).collect()
}

fn overwrite(path: &Path, at: u64) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(&[0], at).unwrap();
}

fn pack(dir: &Path) -> std::path::PathBuf {
    let mut packs = fs::read_dir(dir.join("packs")).unwrap();
    packs.next().unwrap().unwrap().path()
}

#[test]
fn what_is_right_is_read_once_and_verified_by_the_way() {
    let dir = scratch();
    let samples = samples();
    let bytes: u64 = samples.iter().map(|sample| sample.size).sum();
    let store = Store::open(config(dir.path())).unwrap();
    samples.iter().for_each(|sample| sample.put(&store));
    store.close();
    let store = Store::open(config(dir.path())).unwrap();
    store.scrub();
    let stats = store.stats();
    assert_eq!((stats.scrubbed_bytes, stats.scrub_passes), (bytes, 1));
    assert_eq!((stats.corrupt_chunks, stats.changed_files), (0, 0));
    for sample in &samples {
        let lease = sample.lease(&store);
        assert!(lease.is_complete(), "{sample:?} is not verified");
        assert_eq!(sample.present(&lease).len() as u64, sample.chunks());
    }
}

#[test]
fn every_kind_of_damage_is_found_counted_and_nothing_else_is_lost() {
    let dir = scratch();
    let samples = samples();
    let store = Store::open(config(dir.path())).unwrap();
    samples.iter().for_each(|sample| sample.put(&store));
    let files = data_files(dir.path());
    overwrite(&files[0], CHUNK_SIZE + 1);
    fs::remove_file(&files[1]).unwrap();
    let cut = fs::File::options().write(true).open(&files[2]).unwrap();
    cut.set_len(9).unwrap();
    overwrite(&pack(dir.path()), crate::store::pack::DATA_START + 5);
    store.scrub();
    let stats = store.stats();
    assert_eq!(
        (
            stats.changed_files,
            stats.missing_files,
            stats.wrong_lengths
        ),
        (1, 1, 1)
    );
    assert_eq!((stats.wrong_checksums, stats.corrupt_chunks), (2, 2));
    let right: u64 = samples
        .iter()
        .map(|sample| sample.present(&sample.lease(&store)).len() as u64)
        .sum();
    assert_eq!(
        right,
        2 + 9,
        "two chunks of the first file, nine small objects"
    );
    audit(&store, &samples);
}

#[test]
fn pages_of_partial_chunks_are_compared_too() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let sample = Sample::new(1, 2 * CHUNK_SIZE);
    let lease = sample.lease(&store);
    let pages = |at: u64| ByteRange::at(at * PAGE_SIZE, 3 * PAGE_SIZE);
    for range in [pages(7), pages(300)] {
        let from = (range.start() % CHUNK_SIZE) as usize;
        let bytes = Bytes::from(sample.bytes(range.start() / CHUNK_SIZE));
        let bytes = bytes.slice(from..from + range.len() as usize);
        lease
            .write_pages(range, &Pieces::from_iter([bytes]))
            .unwrap();
    }
    overwrite(&data_files(dir.path())[0], pages(300).start() + 100);
    store.scrub();
    assert_eq!(lease.first_absent(pages(7)), None);
    assert_eq!(lease.first_absent(pages(300)), Some(pages(300).start()));
    assert_eq!(store.stats().wrong_checksums, 1);
}

#[test]
fn a_store_that_is_closed_does_not_wait_for_its_scrub() {
    let dir = scratch();
    let config = StoreConfig {
        scrub_rate: 1,
        ..config(dir.path())
    };
    let store = Store::open(config).unwrap();
    samples()[0].put(&store);
    store.close();
}
