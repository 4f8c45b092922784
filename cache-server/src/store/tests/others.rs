//! Somebody else is at the files of a store that is in use.

use std::time::SystemTime;

use super::*;

const SAMPLE: Sample = Sample {
    number: 1,
    size: 3 * CHUNK_SIZE + 100,
};

fn path(dir: &Path) -> std::path::PathBuf {
    data_files(dir).pop().unwrap()
}

fn damage(store: &Store) -> (u64, u64) {
    let stats = store.stats();
    (stats.changed_files, stats.wrong_checksums)
}

/// A store with the sample, complete, of which nobody holds a lease.
fn filled(dir: &Path) -> Arc<Store> {
    let store = Store::open(config(dir)).unwrap();
    SAMPLE.put(&store);
    store
}

fn overwrite(path: &Path, at: u64) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(&[0; 10], at).unwrap();
}

#[test]
fn a_file_that_others_have_written_to_is_verified_anew_and_keeps_what_is_right() {
    let dir = scratch();
    let store = filled(dir.path());
    overwrite(&path(dir.path()), CHUNK_SIZE + 5);
    let lease = SAMPLE.lease(&store);
    assert!(
        lease.backing().is_none(),
        "handed out without being verified"
    );
    assert_eq!(SAMPLE.present(&lease), [0, 2, 3]);
    assert_eq!(damage(&store), (1, 1));
    SAMPLE.write(&lease, 1).unwrap();
    drop(lease);
    let lease = SAMPLE.lease(&store);
    assert_eq!(SAMPLE.present(&lease), [0, 1, 2, 3]);
    assert_eq!(damage(&store), (1, 1));
}

#[test]
fn a_touched_file_is_verified_and_kept() {
    let dir = scratch();
    let store = filled(dir.path());
    let file = fs::File::options()
        .write(true)
        .open(path(dir.path()))
        .unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let lease = SAMPLE.lease(&store);
    lease.look_at_file();
    assert_eq!(lease.state(0), ChunkState::Unverified);
    assert_eq!(SAMPLE.present(&lease).len(), 4);
    assert_eq!(damage(&store), (1, 0));
}

#[test]
fn another_file_in_the_place_of_one_gives_no_wrong_byte() {
    let dir = scratch();
    let store = filled(dir.path());
    let path = path(dir.path());
    let other = dir.path().join("objects/other");
    fs::copy(&path, &other).unwrap();
    overwrite(&other, 2 * CHUNK_SIZE);
    fs::rename(&other, &path).unwrap();
    let lease = SAMPLE.lease(&store);
    assert!(lease.backing().is_none());
    assert_eq!(SAMPLE.present(&lease), [0, 1, 3]);
    assert_eq!(damage(&store), (1, 1));
}

#[test]
fn a_directory_or_a_link_in_the_place_of_a_file_costs_the_file() {
    for link in [false, true] {
        let dir = scratch();
        let store = filled(dir.path());
        let path = path(dir.path());
        fs::remove_file(&path).unwrap();
        if link {
            std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        } else {
            fs::create_dir(&path).unwrap();
        }
        let lease = SAMPLE.lease(&store);
        assert!(lease.backing().is_none());
        assert_eq!(lease.first_not_present(0..4), Some(0));
        drop(lease);
        SAMPLE.put(&store);
        assert_eq!(SAMPLE.present(&SAMPLE.lease(&store)).len(), 4);
        assert_eq!(store.stats().failed_tiers, 0);
    }
}

#[test]
fn a_file_that_is_removed_under_a_lease_is_given_up_when_it_is_looked_at() {
    let dir = scratch();
    let store = filled(dir.path());
    let lease = SAMPLE.lease(&store);
    assert!(lease.backing().is_some());
    fs::remove_file(path(dir.path())).unwrap();
    lease.look_at_file();
    assert!(!lease.is_complete());
    assert_eq!(store.stats().missing_files, 1);
}

#[test]
fn what_a_reader_distrusts_is_compared_and_only_what_is_wrong_goes() {
    let dir = scratch();
    let store = filled(dir.path());
    let lease = SAMPLE.lease(&store);
    assert!(lease.backing().is_some());
    overwrite(&path(dir.path()), CHUNK_SIZE);
    lease.distrust(0);
    assert!(lease.verify(0), "it was right all the time");
    lease.distrust(1);
    assert_eq!(lease.state(1), ChunkState::Missing);
    assert_eq!(store.stats().corrupt_chunks, 1);
    assert!(lease.verify(2) && lease.verify(3));
}

#[test]
fn own_writes_are_not_taken_for_those_of_others() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let sample = Sample::new(7, 40 * CHUNK_SIZE);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for index in (thread..sample.chunks()).step_by(4) {
                    let lease = sample.lease(store);
                    sample.write(&lease, index).unwrap();
                    lease.look_at_file();
                    assert!(lease.verify(index));
                }
            });
        }
    });
    assert_eq!(damage(&store), (0, 0));
    assert!(sample.lease(&store).is_complete());
}
