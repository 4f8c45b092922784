//! Packs change under a store, or between two runs of one.

use super::*;

const COUNT: u64 = 20;

/// A closed cache of small objects in one pack.
fn cache() -> TempDir {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    samples(COUNT).iter().for_each(|sample| sample.put(&store));
    store.close();
    assert_eq!(pack_files(dir.path()).len(), 1);
    dir
}

fn pack(dir: &TempDir) -> fs::File {
    let mut options = fs::File::options();
    let path = &pack_files(dir.path())[0];
    options.read(true).write(true).open(path).unwrap()
}

fn flip(file: &fs::File, bit: u64) {
    let mut byte = [0];
    file.read_exact_at(&mut byte, bit / 8).unwrap();
    byte[0] ^= 1 << (bit % 8);
    file.write_all_at(&byte, bit / 8).unwrap();
}

/// Reads all objects, then fetches what is missing and reads again; returns how many were
/// missing.
fn read_and_mend(store: &Arc<Store>) -> u64 {
    let samples = samples(COUNT);
    let found = right(store, &samples).len() as u64;
    samples.iter().for_each(|sample| sample.put(store));
    assert_eq!(right(store, &samples), all(&samples));
    audit(store, &samples);
    COUNT - found
}

#[test]
fn a_flipped_bit_in_a_packed_object_is_one_missing_object() {
    let first = samples(1)[0].lease(&Store::open(config(cache().path())).unwrap());
    drop(first);
    let data = crate::store::pack::DATA_START * 8;
    for bit in [data, data + 8 * 100_000, data + 8 * 400_001 + 3] {
        let dir = cache();
        flip(&pack(&dir), bit);
        let store = Store::open(config(dir.path())).unwrap();
        assert_eq!(read_and_mend(&store), 1);
        assert_eq!(store.stats().corrupt_chunks, 1);
    }
}

#[test]
fn any_flipped_bit_in_the_records_costs_at_most_an_object() {
    for slot in 1..COUNT + 2 {
        let dir = cache();
        flip(&pack(&dir), slot * 256 + slot * 37 % 256);
        let store = Store::open(config(dir.path())).unwrap();
        assert_eq!(store.stats().damaged_records, 1);
        assert!(read_and_mend(&store) <= 1, "slot {slot}");
    }
}

#[test]
fn a_pack_without_a_readable_header_is_removed() {
    let dir = cache();
    flip(&pack(&dir), 100);
    let store = Store::open(config(dir.path())).unwrap();
    assert_eq!(
        (store.stats().orphans, pack_files(dir.path()).len()),
        (1, 0)
    );
    assert_eq!(read_and_mend(&store), COUNT);
}

#[test]
fn a_pack_that_was_cut_short_keeps_what_is_left_of_it() {
    let dir = cache();
    let samples = samples(COUNT);
    let file = pack(&dir);
    file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    assert_eq!(right(&store, &samples), all(&samples[..COUNT as usize - 1]));
    assert_eq!(store.stats().torn_chunks, 1);
    assert_eq!(read_and_mend(&store), 1);
}

#[test]
fn a_pack_that_vanishes_under_the_store_is_fetched_again() {
    let dir = cache();
    let store = Store::open(config(dir.path())).unwrap();
    fs::remove_file(&pack_files(dir.path())[0]).unwrap();
    assert_eq!(read_and_mend(&store), COUNT);
    assert_eq!((store.stats().torn_chunks, store.stats().packs), (COUNT, 1));
    store.close();
    let store = Store::open(config(dir.path())).unwrap();
    assert_eq!(read_and_mend(&store), 0);
}

#[test]
fn a_pack_that_is_cut_short_while_it_is_written_is_never_filled_up_with_zeros() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let samples = samples(COUNT);
    samples[..10].iter().for_each(|sample| sample.put(&store));
    pack(&dir)
        .set_len(crate::store::pack::DATA_START + 1000)
        .unwrap();
    samples[10..].iter().for_each(|sample| sample.put(&store));
    // The whole pack was given up when it was to be written on.
    assert_eq!(right(&store, &samples), all(&samples[10..]));
    assert_eq!(store.stats().torn_chunks, 10);
    audit(&store, &samples);
}

#[test]
fn a_pack_that_is_unlinked_while_it_is_written_is_not_written_on() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let samples = samples(COUNT);
    samples[..10].iter().for_each(|sample| sample.put(&store));
    fs::remove_file(&pack_files(dir.path())[0]).unwrap();
    samples[10..].iter().for_each(|sample| sample.put(&store));
    let copy = snapshot(dir.path());
    let next = Store::open(config(copy.path())).unwrap();
    assert_eq!(right(&next, &samples), all(&samples[10..]));
}

#[test]
fn foreign_files_among_the_packs_are_left_alone() {
    let dir = cache();
    let foreign = ["notes.txt", "00", "+1"].map(|name| dir.path().join("packs").join(name));
    for path in &foreign {
        fs::write(path, "mine").unwrap();
    }
    let store = Store::open(config(dir.path())).unwrap();
    assert_eq!(read_and_mend(&store), 0);
    for path in &foreign {
        assert_eq!(fs::read_to_string(path).unwrap(), "mine");
    }
}

#[test]
fn a_file_of_noise_by_the_name_of_a_pack_is_removed() {
    let dir = cache();
    let noise: Vec<u8> = (0..10_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    fs::write(dir.path().join("packs/7777"), noise).unwrap();
    fs::write(dir.path().join("packs/7778"), "").unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    assert_eq!((store.stats().orphans, read_and_mend(&store)), (2, 0));
}

#[test]
fn packs_without_a_journal_are_found_all_the_same() {
    let dir = cache();
    fs::remove_file(dir.path().join("journal")).unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    assert_eq!(read_and_mend(&store), 0);
}
