//! Everything at once: the accounts must agree in the end, and no byte may be wrong on
//! the way.

use super::*;
use crate::eviction::PolicyKind;

const THREADS: u64 = 4;
const TURNS: u64 = 400;

fn samples() -> Vec<Sample> {
    let size = |number| match number % 4 {
        0 => 2 * CHUNK_SIZE + 1,
        1 => CHUNK_SIZE,
        _ => 1_000 * number,
    };
    (1..30)
        .map(|number| Sample::new(number, size(number)))
        .collect()
}

fn turn(store: &Arc<Store>, sample: Sample, dice: u64) {
    let lease = sample.lease(store);
    let index = dice / 64 % sample.chunks();
    match dice % 16 {
        0 => lease.discard(index),
        1 => drop(sample.present(&lease)),
        2..8 => {
            // Refused is fine; wrong is not.
            let _ = sample.write(&lease, index);
        }
        _ => {
            let again = sample.lease(store);
            let _ = sample.write(&again, index);
            drop(lease);
            if again.state(index) == ChunkState::Present {
                assert!(sample.is_right(&again, chunk::range(index, sample.size)));
            }
        }
    }
}

#[test]
fn threads_that_do_everything_at_once_leave_consistent_accounts() {
    let dir = scratch();
    let quota = 6 * CHUNK_SIZE;
    let config = StoreConfig {
        policy: PolicyKind::Lru,
        ..config_with_quota(dir.path(), quota)
    };
    let store = Store::open(config).unwrap();
    let samples = samples();
    let done = Done::default();
    std::thread::scope(|scope| {
        let (store, samples, done) = (&store, &samples, &done);
        let workers: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || {
                    let mut dice = thread + 1;
                    for _ in 0..TURNS {
                        // Knuth's MMIX generator; the upper bits are the good ones.
                        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        let sample = samples[(dice >> 40) as usize % samples.len()];
                        turn(store, sample, dice >> 20);
                    }
                })
            })
            .collect();
        scope.spawn(move || {
            while !done.is_set() {
                store.flush().unwrap();
                assert!(store.usage().used_bytes <= quota);
            }
        });
        let _done = done.on_drop();
        workers
            .into_iter()
            .for_each(|worker| worker.join().unwrap());
    });
    audit(&store, &samples);
    killed_and_reopened(&dir, &store, &samples);
    everything_can_be_evicted(&store, &samples, quota);
}

fn killed_and_reopened(dir: &TempDir, store: &Arc<Store>, samples: &[Sample]) {
    let copy = snapshot(dir.path());
    let next = Store::open(config(copy.path())).unwrap();
    for sample in samples {
        let (lease, before) = (sample.lease(&next), sample.lease(store));
        assert_eq!(lease.present_bytes(), before.present_bytes());
        assert_eq!(sample.present(&lease), sample.present(&before));
    }
    let stats = next.stats();
    assert_eq!(
        (
            stats.corrupt_chunks,
            stats.torn_chunks,
            stats.damaged_records
        ),
        (0, 0, 0)
    );
}

fn everything_can_be_evicted(store: &Arc<Store>, samples: &[Sample], quota: u64) {
    let fresh: Vec<_> = (100..100 + quota / CHUNK_SIZE * 2)
        .map(|number| Sample::new(number, CHUNK_SIZE))
        .collect();
    fresh.iter().for_each(|sample| sample.put(store));
    assert!(
        samples
            .iter()
            .all(|sample| store.cached_bytes(sample.id()) == 0)
    );
    audit(store, &fresh);
}
