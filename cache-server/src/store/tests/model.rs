//! Random operations against a plain set of what must be there.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const SAMPLES: [Sample; 5] = [
    Sample { number: 0, size: 1 },
    Sample {
        number: 1,
        size: 4_000,
    },
    Sample {
        number: 2,
        size: 40_000,
    },
    Sample {
        number: 3,
        size: CHUNK_SIZE,
    },
    Sample {
        number: 4,
        size: 2 * CHUNK_SIZE + 17,
    },
];

const PAGES: u64 = CHUNK_SIZE / PAGE_SIZE;

#[derive(Clone, Copy, Debug)]
enum Op {
    Write(usize, u64),
    /// What is missing of so many pages from this one on.
    WritePages(usize, u64, u64),
    Discard(usize, u64),
    Verify(usize, u64),
    Lease(usize),
    Release(usize),
    Flush,
    Restart,
    Kill,
    PowerFailure,
}

fn op() -> impl Strategy<Value = Op> {
    let chunk = || (0..SAMPLES.len()).prop_flat_map(|n| (Just(n), 0..SAMPLES[n].chunks()));
    let sample = || 0..SAMPLES.len();
    prop_oneof![
        8 => chunk().prop_map(|(n, index)| Op::Write(n, index)),
        20 => (chunk(), 0..256_u64, 1..200_u64).prop_map(|((n, index), page, count)| {
            Op::WritePages(n, index * PAGES + page, count)
        }),
        2 => chunk().prop_map(|(n, index)| Op::Discard(n, index)),
        2 => chunk().prop_map(|(n, index)| Op::Verify(n, index)),
        2 => sample().prop_map(Op::Lease),
        2 => sample().prop_map(Op::Release),
        2 => Just(Op::Flush),
        1 => Just(Op::Restart),
        1 => Just(Op::Kill),
        1 => Just(Op::PowerFailure),
    ]
}

/// A store, and what is known of it.
struct Harness {
    quota: u64,
    dir: TempDir,
    store: Arc<Store>,
    boot: u8,
    leases: BTreeMap<usize, ObjectLease>,
    // Pages that were written, and those of them that a flush has covered.
    written: BTreeSet<(usize, u64)>,
    durable: BTreeSet<(usize, u64)>,
}

impl Harness {
    fn new(quota: u64) -> Self {
        let dir = scratch();
        let store = Store::open_under(config_with_quota(dir.path(), quota), [1; 16]).unwrap();
        let (leases, written, durable) = Default::default();
        Self {
            quota,
            dir,
            store,
            boot: 1,
            leases,
            written,
            durable,
        }
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Write(n, index) => {
                if SAMPLES[n]
                    .write(&SAMPLES[n].lease(&self.store), index)
                    .is_ok()
                {
                    self.written.extend(pages_of(n, index));
                }
            }
            Op::WritePages(n, page, count) => self.write_pages(n, page, count),
            Op::Discard(n, index) => {
                SAMPLES[n].lease(&self.store).discard(index);
                for page in pages_of(n, index) {
                    self.written.remove(&page);
                    self.durable.remove(&page);
                }
            }
            Op::Verify(n, index) => {
                SAMPLES[n].lease(&self.store).verify(index);
            }
            Op::Lease(n) => {
                self.leases
                    .entry(n)
                    .or_insert_with(|| SAMPLES[n].lease(&self.store));
            }
            Op::Release(n) => {
                self.leases.remove(&n);
            }
            Op::Flush => {
                self.store.flush().unwrap();
                self.durable = self.written.clone();
            }
            Op::Restart => {
                self.store.close();
                self.durable = self.written.clone();
                self.reopen(false);
            }
            Op::Kill => self.reopen(true),
            Op::PowerFailure => {
                self.boot += 1;
                self.written = self.durable.clone();
                self.reopen(true);
            }
        }
    }

    fn write_pages(&mut self, n: usize, page: u64, count: u64) {
        let sample = SAMPLES[n];
        let lease = sample.lease(&self.store);
        let wanted = ByteRange::at(page * PAGE_SIZE, count * PAGE_SIZE).clamp_to(sample.size);
        for index in chunk::covering(wanted) {
            let mut rest = wanted.intersect(chunk::range(index, sample.size));
            for held in lease.held(index) {
                let gap = rest.intersect(ByteRange::new(0, held.start()));
                self.write_range(n, &lease, gap);
                rest = rest.intersect(ByteRange::new(held.end(), u64::MAX));
            }
            self.write_range(n, &lease, rest);
        }
    }

    fn write_range(&mut self, n: usize, lease: &ObjectLease, range: ByteRange) {
        let index = range.start() / CHUNK_SIZE;
        let bytes = Bytes::from(SAMPLES[n].bytes(index));
        let within = |at: u64| (at - index * CHUNK_SIZE) as usize;
        if !range.is_empty() {
            let bytes = bytes.slice(within(range.start())..within(range.end()));
            if lease
                .write_pages(range, &Pieces::from_iter([bytes]))
                .is_ok()
            {
                let pages = range.start() / PAGE_SIZE..range.end().div_ceil(PAGE_SIZE);
                self.written.extend(pages.map(|page| (n, page)));
            }
        }
    }

    fn reopen(&mut self, from_copy: bool) {
        self.leases.clear();
        if from_copy {
            self.dir = snapshot(self.dir.path());
        }
        let config = config_with_quota(self.dir.path(), self.quota);
        self.store = Store::open_under(config, [self.boot; 16]).unwrap();
        let stats = self.store.stats();
        assert_eq!((stats.damaged_records, stats.corrupt_chunks), (0, 0));
    }

    /// Every present chunk is right, none is there that must not be, and unless there was
    /// eviction none is missing.
    fn check(&self) {
        audit(&self.store, &SAMPLES);
        assert!(self.store.usage().used_bytes <= self.quota);
        let roomy = self.quota > SAMPLES.iter().map(|sample| sample.size).sum::<u64>() * 2;
        for (n, sample) in SAMPLES.iter().enumerate() {
            let lease = sample.lease(&self.store);
            for index in 0..sample.chunks() {
                let held = lease.held(index);
                for page in pages_of(n, index) {
                    let range = ByteRange::at(page.1 * PAGE_SIZE, PAGE_SIZE).clamp_to(sample.size);
                    let is_here = held.iter().any(|held| held.intersect(range) == range);
                    let expected = self.written.contains(&page);
                    assert!(expected || !is_here, "{page:?} is here");
                    assert!(!roomy || !expected || is_here, "{page:?} is lost");
                }
                for held in held {
                    if lease.first_absent(held).is_none() {
                        assert!(sample.is_right(&lease, held));
                    }
                }
            }
        }
    }

    fn check_all_verified(&self) {
        for sample in SAMPLES {
            let lease = sample.lease(&self.store);
            let before = lease.present_bytes();
            for index in 0..sample.chunks() {
                lease.verify(index);
                for held in lease.held(index) {
                    assert_eq!(lease.first_absent(held), None);
                    assert!(sample.is_right(&lease, held));
                }
            }
            assert_eq!(lease.present_bytes(), before);
        }
    }
}

/// The pages of a chunk, as the harness notes them.
fn pages_of(n: usize, index: u64) -> impl Iterator<Item = (usize, u64)> {
    let range = chunk::range(index, SAMPLES[n].size);
    let pages = range.start() / PAGE_SIZE..range.end().div_ceil(PAGE_SIZE);
    pages.map(move |page| (n, page))
}

fn run(quota: u64, ops: &[Op]) {
    let mut harness = Harness::new(quota);
    for &op in ops {
        harness.run(op);
        harness.check();
    }
    harness.reopen(true);
    harness.check();
    harness.check_all_verified();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn with_room_for_all_nothing_is_lost(ops in prop::collection::vec(op(), 1..60)) {
        run(1 << 30, &ops);
    }

    #[test]
    fn with_little_room_nothing_is_wrong(ops in prop::collection::vec(op(), 1..60)) {
        run(2 * CHUNK_SIZE + CHUNK_SIZE / 2, &ops);
    }
}
