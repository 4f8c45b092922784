//! Each workload on a few MiB.

use std::fs;

use forebay_tests::Scratch;

use super::{Check, Load, Workload};
use crate::data::{Data, Scale, Set};

fn written(name: &str) -> (Scratch, Data) {
    let scratch = Scratch::new(name, 64 << 20);
    let data = Data::new(Scale::TINY, &Set::ALL);
    data.write_to(scratch.path()).unwrap();
    (scratch, data)
}

#[test]
fn every_workload_reads_its_set_on_any_number_of_threads() {
    let (scratch, data) = written("workloads");
    for workload in Workload::ALL {
        for threads in [1, 4] {
            let load = Load {
                threads,
                check: Check::Bytes,
                ..Load::new(workload, &data)
            };
            let pass = load.run(scratch.path()).unwrap();
            let all: u64 = load.files().iter().map(|file| file.size).sum();
            match workload {
                Workload::Walk => {
                    assert_eq!(
                        (pass.bytes, pass.operations),
                        (0, load.files().len() as u64)
                    );
                }
                Workload::Sequential | Workload::Epoch => assert_eq!(pass.bytes, all),
                _ => assert!(pass.bytes > 0 && pass.bytes <= all, "{workload:?}"),
            }
            assert!(pass.rate() > 0.0 && pass.volume() > 0.0);
        }
    }
}

#[test]
fn a_wrong_page_fails_every_workload_that_reads_it() {
    let (scratch, data) = written("wrong-page");
    for file in data.all() {
        let path = scratch.path().join(&file.path);
        fs::write(path, vec![0; file.size as usize]).unwrap();
    }
    for workload in Workload::ALL {
        let outcome = Load::new(workload, &data).run(scratch.path());
        assert_eq!(outcome.is_err(), workload != Workload::Walk, "{workload:?}");
    }
}

#[test]
fn a_missing_file_fails_the_walk() {
    let (scratch, data) = written("missing");
    fs::remove_file(scratch.path().join(&data.files(Set::Small)[5].path)).unwrap();
    let load = Load::new(Workload::Walk, &data);
    assert!(load.run(scratch.path()).is_err());
}

#[test]
fn an_order_is_a_permutation_that_follows_from_the_seed() {
    let data = Data::new(Scale::TINY, &Set::ALL);
    let order = |seed| {
        let load = Load {
            seed,
            ..Load::new(Workload::Epoch, &data)
        };
        load.order(60)
    };
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
    let mut sorted = order(1);
    assert_ne!(sorted, (0..60).collect::<Vec<_>>());
    sorted.sort_unstable();
    assert_eq!(sorted, (0..60).collect::<Vec<_>>());
}
