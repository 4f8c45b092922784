//! Random operations on many small objects: what is read is right, and what is missing was
//! evicted, found wrong or not durable.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const COUNT: u64 = 60;

#[derive(Clone, Copy, Debug)]
enum Op {
    /// Puts a run of neighbours.
    Put(u64, u64),
    Read(u64),
    Discard(u64),
    Flush,
    Restart,
    Kill,
    PowerFailure,
    /// Flips a bit somewhere in a pack.
    Flip(u64, u64),
    Truncate(u64, u64),
}

fn op() -> impl Strategy<Value = Op> {
    let any_place = || (any::<u64>(), any::<u64>());
    prop_oneof![
        10 => (0..COUNT, 1..20_u64).prop_map(|(first, count)| Op::Put(first, count)),
        4 => (0..COUNT).prop_map(Op::Read),
        2 => (0..COUNT).prop_map(Op::Discard),
        2 => Just(Op::Flush),
        1 => Just(Op::Restart),
        1 => Just(Op::Kill),
        1 => Just(Op::PowerFailure),
        1 => any_place().prop_map(|(pack, bit)| Op::Flip(pack, bit)),
        1 => any_place().prop_map(|(pack, len)| Op::Truncate(pack, len)),
    ]
}

struct Harness {
    quota: u64,
    dir: TempDir,
    store: Arc<Store>,
    boot: u8,
    samples: Vec<Sample>,
    // What was put since the cache began; what is not here must be missing.
    written: BTreeSet<u64>,
    durable: BTreeSet<u64>,
    damaged: bool,
}

impl Harness {
    fn new(quota: u64) -> Self {
        let dir = scratch();
        let store = Store::open_under(config_with_quota(dir.path(), quota), [1; 16]).unwrap();
        Self {
            quota,
            dir,
            store,
            boot: 1,
            samples: samples(COUNT),
            written: BTreeSet::new(),
            durable: BTreeSet::new(),
            damaged: false,
        }
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Put(first, count) => {
                for number in first..(first + count).min(COUNT) {
                    self.samples[number as usize].put(&self.store);
                    self.written.insert(number);
                }
            }
            Op::Read(number) => {
                let sample = self.samples[number as usize];
                sample.present(&sample.lease(&self.store));
            }
            Op::Discard(number) => {
                self.samples[number as usize].lease(&self.store).discard(0);
                self.written.remove(&number);
                self.durable.remove(&number);
            }
            Op::Flush => {
                self.store.flush().unwrap();
                self.durable = self.written.clone();
            }
            Op::Restart => {
                self.store.close();
                self.durable = self.written.clone();
                self.reopen();
            }
            Op::Kill => self.reopen(),
            Op::PowerFailure => {
                self.boot += 1;
                self.written = self.durable.clone();
                self.reopen();
            }
            Op::Flip(pack, bit) => self.damage(pack, |file, len| {
                let mut byte = [0];
                let bit = bit % (len * 8);
                file.read_exact_at(&mut byte, bit / 8).unwrap();
                byte[0] ^= 1 << (bit % 8);
                file.write_all_at(&byte, bit / 8).unwrap();
            }),
            Op::Truncate(pack, len) => self.damage(pack, |file, before| {
                file.set_len(len % before).unwrap();
            }),
        }
    }

    /// Damages a pack while no store has it open: what is in the page cache of a running
    /// one is believed once it was verified.
    fn damage(&mut self, pack: u64, damage: impl FnOnce(&fs::File, u64)) {
        self.store.close();
        let packs = pack_files(self.dir.path());
        if let Some(path) = packs.get(pack as usize % packs.len().max(1)) {
            let file = fs::File::options()
                .read(true)
                .write(true)
                .open(path)
                .unwrap();
            let len = file.metadata().unwrap().len();
            if len > 0 {
                damage(&file, len);
            }
            self.damaged = true;
        }
        self.reopen();
    }

    fn reopen(&mut self) {
        self.dir = snapshot(self.dir.path());
        let config = config_with_quota(self.dir.path(), self.quota);
        self.store = Store::open_under(config, [self.boot; 16]).unwrap();
    }

    fn check(&self) {
        assert!(self.store.usage().used_bytes <= self.quota);
        audit(&self.store, &self.samples);
        let found: BTreeSet<_> = right(&self.store, &self.samples).into_iter().collect();
        assert!(self.damaged || found.is_subset(&self.written));
        if self.quota > 1 << 28 && !self.damaged {
            assert_eq!(found, self.written);
            let stats = self.store.stats();
            assert_eq!((stats.damaged_records, stats.full_writes), (0, 0));
        }
        audit(&self.store, &self.samples);
    }
}

fn run(quota: u64, ops: &[Op]) {
    let mut harness = Harness::new(quota);
    for &op in ops {
        harness.run(op);
        harness.check();
    }
}

fn is_harmless(op: &Op) -> bool {
    !matches!(op, Op::Flip(..) | Op::Truncate(..))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn with_room_for_all_no_packed_object_is_lost(ops in prop::collection::vec(op(), 1..30)) {
        let ops: Vec<_> = ops.into_iter().filter(is_harmless).collect();
        run(1 << 30, &ops);
    }

    #[test]
    fn with_little_room_no_packed_object_is_wrong(ops in prop::collection::vec(op(), 1..30)) {
        run(3 * CHUNK_SIZE, &ops);
    }

    #[test]
    fn whatever_happens_to_packs_no_object_is_wrong(ops in prop::collection::vec(op(), 1..30)) {
        run(1 << 30, &ops);
    }
}
