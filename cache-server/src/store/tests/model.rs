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

#[derive(Clone, Copy, Debug)]
enum Op {
    Write(usize, u64),
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
        10 => chunk().prop_map(|(n, index)| Op::Write(n, index)),
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
    // Chunks that were written, and those of them that a flush has covered.
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
                    self.written.insert((n, index));
                }
            }
            Op::Discard(n, index) => {
                SAMPLES[n].lease(&self.store).discard(index);
                self.written.remove(&(n, index));
                self.durable.remove(&(n, index));
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
                let state = lease.state(index);
                let expected = self.written.contains(&(n, index));
                assert!(
                    expected || state == ChunkState::Missing,
                    "{n}, {index}: {state:?}"
                );
                assert!(
                    !roomy || !expected || state != ChunkState::Missing,
                    "{n}, {index} lost"
                );
                if state == ChunkState::Present {
                    assert!(sample.is_right(&lease, index));
                }
            }
        }
    }

    fn check_all_verified(&self) {
        for sample in SAMPLES {
            let lease = sample.lease(&self.store);
            let held = lease.present_bytes();
            let right = sample.present(&lease);
            let bytes: u64 = right
                .iter()
                .map(|&i| chunk::range(i, sample.size).len())
                .sum();
            assert_eq!(bytes, held);
        }
    }
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
