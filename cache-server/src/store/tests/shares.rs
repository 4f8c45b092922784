//! Quotas, pins and priorities of datasets, and copies of what other nodes keep.

use forebay_core::placement::SEGMENT_SIZE;

use super::*;

const MIB: u64 = CHUNK_SIZE;

/// A store of a tier of `quota` bytes that knows these datasets.
fn config_for(dir: &Path, quota: u64, datasets: &[Terms]) -> StoreConfig {
    StoreConfig {
        datasets: datasets.to_vec(),
        ..config_with_quota(dir, quota)
    }
}

fn terms(name: &str, quota: Option<u64>, pin: bool, priority: i8) -> Terms {
    Terms {
        name: name.into(),
        quota,
        pin,
        priority,
    }
}

/// Objects of a dataset, told from those of others by their numbers.
#[derive(Clone, Copy)]
struct Tenant<'a> {
    name: &'a str,
    first: u64,
    size: u64,
}

impl Tenant<'_> {
    fn samples(self, count: u64) -> Vec<Sample> {
        let numbers = self.first..self.first + count;
        numbers
            .map(|number| Sample::new(number, self.size))
            .collect()
    }

    fn lease(self, store: &Arc<Store>, sample: Sample) -> ObjectLease {
        let share = store.share(self.name).unwrap_or_default();
        store.lease_for(share, sample.id(), sample.size)
    }

    /// Writes objects as long as there is room; how many were written.
    fn put(self, store: &Arc<Store>, count: u64) -> usize {
        let written = self.samples(count).into_iter().filter(|&sample| {
            let lease = self.lease(store, sample);
            sample.write(&lease, 0).is_ok()
        });
        written.count()
    }

    fn put_copies(self, store: &Arc<Store>, count: u64) {
        for sample in self.samples(count) {
            let bytes = Pieces::from_iter([Bytes::from(sample.bytes(0))]);
            let lease = self.lease(store, sample);
            let range = ByteRange::at(0, sample.size);
            lease.write_copied(range, &bytes).unwrap();
        }
    }

    /// How many of the first `count` are here.
    fn cached(self, store: &Arc<Store>, count: u64) -> usize {
        let samples = self.samples(count);
        let is_here = |sample: &&Sample| store.cached_bytes(sample.id()) > 0;
        samples.iter().filter(is_here).count()
    }
}

const A: Tenant<'static> = Tenant {
    name: "a",
    first: 1_000,
    size: MIB,
};
const B: Tenant<'static> = Tenant {
    name: "b",
    first: 2_000,
    size: MIB,
};
/// Of no dataset.
const OTHERS: Tenant<'static> = Tenant {
    name: "",
    first: 9_000,
    size: MIB,
};
/// Small objects of the first.
const SMALL: Tenant<'static> = Tenant {
    name: "a",
    first: 5_000,
    size: 100 << 10,
};

fn bytes_of(store: &Arc<Store>, name: &str) -> u64 {
    let shares = store.shares();
    let share = shares.iter().find(|share| share.terms.name == name);
    share.unwrap().bytes
}

#[test]
fn a_dataset_with_a_quota_evicts_its_own_and_never_exceeds_it() {
    let dir = scratch();
    let list = [terms("a", Some(5 * MIB), false, 0), Terms::new("b")];
    let store = Store::open(config_for(dir.path(), 40 * MIB, &list)).unwrap();
    assert_eq!(B.put(&store, 8), 8);
    for count in 1..=12 {
        A.put(&store, count);
        assert!(bytes_of(&store, "a") <= 5 * MIB);
    }
    assert_eq!(A.cached(&store, 12), 5);
    assert_eq!(B.cached(&store, 8), 8, "nobody else gives way");
    assert_eq!(bytes_of(&store, "b"), 8 * MIB);
    let everything: Vec<_> = [A.samples(12), B.samples(8)].concat();
    audit(&store, &everything);
}

#[test]
fn small_objects_and_large_ones_share_one_quota() {
    let dir = scratch();
    let list = [terms("a", Some(6 * MIB), false, 0)];
    let store = Store::open(config_for(dir.path(), 200 * MIB, &list)).unwrap();
    assert_eq!(OTHERS.put(&store, 3), 3);
    assert_eq!(SMALL.put(&store, 200), 200);
    assert!(bytes_of(&store, "a") > 4 * MIB, "{}", bytes_of(&store, "a"));
    assert_eq!(A.put(&store, 4), 4);
    assert!(bytes_of(&store, "a") <= 6 * MIB);
    assert_eq!(A.cached(&store, 4), 4);
    assert_eq!(OTHERS.cached(&store, 3), 3);
}

#[test]
fn what_can_never_fit_the_quota_pushes_nothing_out() {
    let dir = scratch();
    let list = [terms("a", Some(4 * MIB), false, 0)];
    let store = Store::open(config_for(dir.path(), 40 * MIB, &list)).unwrap();
    assert_eq!(A.put(&store, 4), 4);
    let large = Sample::new(1, 6 * MIB);
    let lease = A.lease(&store, large);
    assert_eq!(large.write(&lease, 0), Err(WriteError::Full));
    assert_eq!(A.cached(&store, 4), 4);
}

#[test]
fn a_quota_full_of_leased_objects_refuses_until_a_lease_ends() {
    let dir = scratch();
    let list = [terms("a", Some(2 * MIB), false, 0)];
    let store = Store::open(config_for(dir.path(), 40 * MIB, &list)).unwrap();
    let samples = A.samples(3);
    let mut leases: Vec<_> = samples.iter().map(|&s| A.lease(&store, s)).collect();
    samples[0].fill(&leases[0]);
    samples[1].fill(&leases[1]);
    assert_eq!(samples[2].write(&leases[2], 0), Err(WriteError::Full));
    drop(leases.remove(0));
    samples[2].write(&leases[1], 0).unwrap();
    assert_eq!(store.cached_bytes(samples[0].id()), 0);
    assert_eq!(bytes_of(&store, "a"), 2 * MIB);
}

#[test]
fn a_pinned_dataset_stays_whatever_others_read() {
    let dir = scratch();
    let list = [terms("a", None, true, 0)];
    let store = Store::open(config_for(dir.path(), 20 * MIB, &list)).unwrap();
    assert_eq!(A.put(&store, 8), 8);
    assert_eq!(SMALL.put(&store, 40), 40);
    assert_eq!(OTHERS.put(&store, 100), 100);
    assert_eq!((A.cached(&store, 8), SMALL.cached(&store, 40)), (8, 40));
}

#[test]
fn a_pinned_dataset_that_is_larger_than_the_cache_evicts_its_own_and_others_read_through() {
    let dir = scratch();
    let list = [terms("a", None, true, 0)];
    let store = Store::open(config_for(dir.path(), 10 * MIB, &list)).unwrap();
    assert_eq!(OTHERS.put(&store, 5), 5);
    assert_eq!(A.put(&store, 40), 40);
    assert_eq!(OTHERS.cached(&store, 5), 0, "they went first");
    let used = store.usage().used_bytes;
    assert!(used >= 8 * MIB && used == bytes_of(&store, "a"), "{used}");
    // The room between what is in use and the end is all that there is.
    assert!(OTHERS.put(&store, 20) >= 20 - 10);
    assert!(bytes_of(&store, "a") >= 8 * MIB);
}

#[test]
fn the_lower_priority_goes_first() {
    let dir = scratch();
    let list = [terms("a", None, false, 1), terms("b", None, false, -1)];
    let store = Store::open(config_for(dir.path(), 20 * MIB, &list)).unwrap();
    assert_eq!(A.put(&store, 6), 6);
    assert_eq!(B.put(&store, 6), 6);
    assert_eq!(OTHERS.put(&store, 12), 12);
    assert_eq!(B.cached(&store, 6), 0);
    assert_eq!(A.cached(&store, 6), 6);
    // Among themselves they compete by the policy, and A is still safe.
    OTHERS.put(&store, 40);
    assert_eq!(A.cached(&store, 6), 6);
}

#[test]
fn copies_go_before_what_only_this_node_keeps() {
    let dir = scratch();
    let store = Store::open(config_for(dir.path(), 20 * MIB, &[])).unwrap();
    assert_eq!(A.put(&store, 8), 8);
    B.put_copies(&store, 30);
    assert_eq!(A.cached(&store, 8), 8);
    assert_eq!(store.copied_bytes(), store.usage().used_bytes - 8 * MIB);
    assert_eq!(OTHERS.put(&store, 9), 9);
    assert_eq!((A.cached(&store, 8), OTHERS.cached(&store, 9)), (8, 9));
}

#[test]
fn a_copy_that_this_node_comes_to_keep_is_one_no_more() {
    let dir = scratch();
    let store = Store::open(config_for(dir.path(), 20 * MIB, &[])).unwrap();
    A.put_copies(&store, 4);
    B.put_copies(&store, 4);
    assert_eq!(store.copied_bytes(), 8 * MIB);
    for sample in A.samples(4) {
        A.lease(&store, sample).revise(&|_| true);
    }
    assert_eq!(store.copied_bytes(), 4 * MIB);
    assert_eq!(OTHERS.put(&store, 14), 14);
    assert_eq!((A.cached(&store, 4), B.cached(&store, 4)), (4, 0));
}

/// An object of three segments, of which another node keeps the second; some chunks of
/// each are here.
fn put_in_segments(store: &Arc<Store>) -> Sample {
    let sample = Sample::new(77, 2 * SEGMENT_SIZE + 2 * MIB);
    let lease = sample.lease(store);
    for index in [0, 1, 4, 5, 6, 9] {
        let bytes = Pieces::from_iter([Bytes::from(sample.bytes(index))]);
        let range = chunk::range(index, sample.size);
        match range.start() / SEGMENT_SIZE {
            1 => lease.write_copied(range, &bytes).unwrap(),
            _ => lease.write_pages(range, &bytes).unwrap(),
        }
    }
    sample
}

#[test]
fn copied_segments_of_a_large_object_go_and_the_others_stay() {
    let dir = scratch();
    // The object must be able to be complete here.
    let quota = 200 * MIB;
    let store = Store::open(config_for(dir.path(), quota, &[])).unwrap();
    let sample = put_in_segments(&store);
    assert_eq!(store.copied_bytes(), 3 * MIB);
    // Whoever has the file open sees all of it as it was, whatever becomes of it.
    let open = fs::File::open(&data_files(dir.path())[0]).unwrap();
    assert_eq!(A.put(&store, 183), 183);
    assert_eq!(store.cached_bytes(sample.id()), 6 * MIB);
    assert_eq!(B.put(&store, 4), 4);
    assert_eq!(store.cached_bytes(sample.id()), 3 * MIB);
    assert_eq!(store.copied_bytes(), 0);
    let lease = sample.lease(&store);
    assert_eq!(sample.present(&lease), [0, 1, 9]);
    let mut there = vec![0; MIB as usize];
    for index in [0, 4, 5, 6, 9] {
        open.read_exact_at(&mut there, index * MIB).unwrap();
        assert!(there == sample.bytes(index), "chunk {index} has changed");
    }
    // What has gone can come again.
    sample.write(&lease, 5).unwrap();
    assert_eq!(sample.present(&lease), [0, 1, 5, 9]);
    drop(lease);
    let everything: Vec<_> = [vec![sample], A.samples(183), B.samples(4)].concat();
    audit(&store, &everything);
    assert_eq!(store.stats().corrupt_chunks, 0);
    // The next process believes the same.
    let copy = snapshot(dir.path());
    let next = Store::open(config_for(copy.path(), quota, &[])).unwrap();
    assert_eq!(sample.present(&sample.lease(&next)), [0, 1, 5, 9]);
    assert_eq!(next.stats().wrong_checksums, 0);
}

#[test]
fn which_segments_are_copies_outlasts_the_process() {
    let dir = scratch();
    let store = Store::open(config_for(dir.path(), 200 * MIB, &[])).unwrap();
    let sample = put_in_segments(&store);
    let copy = snapshot(dir.path());
    for _ in 0..2 {
        let next = Store::open(config_for(copy.path(), 200 * MIB, &[])).unwrap();
        assert_eq!(next.copied_bytes(), 3 * MIB);
        assert_eq!(next.cached_bytes(sample.id()), 6 * MIB);
    }
    // Who leaves the cluster leaves its segments to this node.
    sample.lease(&store).revise(&|_| true);
    assert_eq!(store.copied_bytes(), 0);
    sample.lease(&store).revise(&|offset| offset > 0);
    assert_eq!(store.copied_bytes(), 2 * MIB);
}

#[test]
fn whose_it_is_outlasts_the_process() {
    let dir = scratch();
    let list = [terms("a", Some(30 * MIB), true, 0), Terms::new("b")];
    let store = Store::open(config_for(dir.path(), 40 * MIB, &list)).unwrap();
    assert_eq!(A.put(&store, 6), 6);
    assert_eq!(SMALL.put(&store, 30), 30);
    B.put_copies(&store, 5);
    let before = store.shares();
    // From the journal as it was written, and as the next process writes it anew.
    for _ in 0..2 {
        let copy = snapshot(dir.path());
        let next = Store::open(config_for(copy.path(), 40 * MIB, &list)).unwrap();
        assert_eq!(next.shares(), before);
        assert_eq!(next.copied_bytes(), 5 * MIB);
        drop(next);
        let next = Store::open(config_for(copy.path(), 20 * MIB, &list)).unwrap();
        assert_eq!(OTHERS.put(&next, 60), 60);
        assert_eq!((A.cached(&next, 6), SMALL.cached(&next, 30)), (6, 30));
        assert_eq!(B.cached(&next, 5), 0);
        store.flush().unwrap();
    }
}

#[test]
fn a_lower_quota_is_enforced_when_the_store_is_opened() {
    let dir = scratch();
    let store = Store::open(config_for(dir.path(), 40 * MIB, &[Terms::new("a")])).unwrap();
    assert_eq!(A.put(&store, 10), 10);
    assert_eq!(OTHERS.put(&store, 4), 4);
    drop(store);
    let lower = [terms("a", Some(3 * MIB), true, 0)];
    let store = Store::open(config_for(dir.path(), 40 * MIB, &lower)).unwrap();
    assert_eq!(bytes_of(&store, "a"), 3 * MIB);
    assert_eq!(A.cached(&store, 10), 3);
    assert_eq!(OTHERS.cached(&store, 4), 4);
    drop(store);
    // Nobody knows the dataset any more: its bytes are as good as any.
    let store = Store::open(config_for(dir.path(), 40 * MIB, &[])).unwrap();
    assert_eq!((store.shares(), A.cached(&store, 10)), (Vec::new(), 3));
}

#[test]
fn an_object_of_two_datasets_belongs_to_the_one_that_brought_it() {
    let dir = scratch();
    let list = [Terms::new("a"), Terms::new("b")];
    let store = Store::open(config_for(dir.path(), 40 * MIB, &list)).unwrap();
    let sample = A.samples(1)[0];
    // Looked at first by somebody without a dataset, who keeps his lease.
    let look = sample.lease(&store);
    let lease = A.lease(&store, sample);
    let other = B.lease(&store, sample);
    sample.fill(&other);
    drop((look, lease, other));
    assert_eq!((bytes_of(&store, "a"), bytes_of(&store, "b")), (MIB, 0));
}

#[test]
fn datasets_that_cannot_be_told_apart_are_refused() {
    let dir = scratch();
    let list = [Terms::new("a"), Terms::new("a")];
    let error = Store::open(config_for(dir.path(), MIB, &list)).unwrap_err();
    assert!(error.to_string().contains("rename one"), "{error}");
}
