//! Neighbours and plans over a cache in memory, which notes what it is advised of.

use super::*;
use crate::fs::tests::{inode, open};
use crate::memory_cache::Fixture;
use crate::options::MountOptions;

fn fs_with_files(count: usize) -> (Fixture, Arc<DatasetFs>) {
    let names: Vec<_> = (0..count).map(|n| format!("f{n:04}")).collect();
    let files: Vec<(&str, &[u8])> = names
        .iter()
        .map(|name| (name.as_str(), name.as_bytes()))
        .collect();
    let fixture = Fixture::new();
    let manifest = fixture.version(&files);
    let fs = DatasetFs::new(manifest, fixture.cache(), &MountOptions::default());
    (fixture, Arc::new(fs))
}

fn touch(fs: &DatasetFs, number: usize) {
    let file = inode(fs, &format!("f{number:04}"));
    let handle = open(fs, file);
    fs.release(file, handle);
}

#[tokio::test]
async fn files_read_in_order_bring_their_neighbours() {
    let (fixture, fs) = fs_with_files(100);
    for number in 0..20 {
        touch(&fs, number);
        assert!(!fs.advise_all().await);
    }
    let advised = fixture.advised_files();
    assert!(advised.contains(&"f0020".to_owned()), "{advised:?}");
    assert!(advised.is_sorted(), "{advised:?}");
    let distinct: std::collections::BTreeSet<_> = advised.iter().collect();
    assert_eq!(distinct.len(), advised.len(), "each once: {advised:?}");
}

#[tokio::test]
async fn files_read_at_random_bring_nothing() {
    let (fixture, fs) = fs_with_files(1000);
    for number in 0..500 {
        touch(&fs, number * 379 % 1000);
        fs.advise_all().await;
    }
    assert_eq!(fixture.advised_files(), [""; 0]);
}

#[tokio::test]
async fn a_plan_is_advised_in_its_order_before_anybody_reads() {
    let (fixture, fs) = fs_with_files(10);
    let order = fs
        .set_plan(&Spec::parse(br#"{"seed": 0}"#).unwrap())
        .unwrap();
    assert_eq!((order.len(), order.bytes), (10, 50));
    fs.advise_all().await;
    let shuffled = [4, 1, 7, 5, 3, 9, 0, 8, 6, 2].map(|n| format!("f{n:04}"));
    assert_eq!(fixture.advised_files(), shuffled);
    touch(&fs, 4);
    touch(&fs, 1);
    let [progress] = &fs.plans()[..] else {
        panic!("one plan")
    };
    assert_eq!((progress.entries, progress.position), (10, 2));
    assert_eq!(progress.ahead_bytes, 8 * 5);
    for number in [7, 5, 3, 9, 0, 8, 6, 2] {
        touch(&fs, number);
    }
    assert!(fs.plans().is_empty(), "read to its end");
}

#[tokio::test]
async fn a_plan_of_the_same_name_is_replaced_and_another_is_followed_beside() {
    let (_fixture, fs) = fs_with_files(10);
    let set = |spec: &str| fs.set_plan(&Spec::parse(spec.as_bytes()).unwrap());
    set(r#"{"seed": 0, "rank": 0, "world": 2}"#).unwrap();
    set(r#"{"seed": 0, "rank": 1, "world": 2}"#).unwrap();
    set(r#"{"seed": 0, "rank": 0, "world": 2, "epoch": 1}"#).unwrap();
    let names: Vec<_> = fs.plans().into_iter().map(|plan| plan.name).collect();
    assert_eq!(names, ["rank 1 of 2", "rank 0 of 2"]);
    assert!(set(r#"{"paths": ["nope"]}"#).is_err());
    assert_eq!(fs.plans().len(), 2, "a wrong plan changes nothing");
    assert_eq!(fs.drop_plans(), 2);
    assert!(fs.plans().is_empty());
}

#[tokio::test]
async fn a_refresh_drops_the_plans_of_the_old_version() {
    let (fixture, fs) = fs_with_files(10);
    fs.set_plan(&Spec::parse(br#"{"seed": 0}"#).unwrap())
        .unwrap();
    fs.refresh(fixture.version(&[("other", b"1")]))
        .expect("new");
    assert!(fs.plans().is_empty());
}

#[tokio::test]
async fn a_cache_without_room_is_asked_again_and_misses_nothing() {
    let (fixture, fs) = fs_with_files(40);
    fs.set_plan(&Spec::parse(br#"{"order": "sequential"}"#).unwrap())
        .unwrap();
    fixture.refuse_advice(true);
    assert!(fs.advise_all().await, "there is more to be advised");
    fixture.refuse_advice(false);
    assert!(!fs.advise_all().await);
    let all: Vec<_> = (0..40).map(|n| format!("f{n:04}")).collect();
    assert_eq!(fixture.advised_files(), all);
}

#[tokio::test]
async fn readers_that_begin_in_the_middle_of_a_plan_are_found() {
    let (fixture, fs) = fs_with_files(9000);
    let options = MountOptions {
        prefetch_budget: 400,
        ..MountOptions::default()
    };
    let fs = Arc::try_unwrap(fs).expect("ours alone");
    let fs = DatasetFs::new(
        Arc::clone(&fs.epochs.root().manifest),
        fixture.cache(),
        &options,
    );
    fs.set_plan(&Spec::parse(br#"{"order": "sequential"}"#).unwrap())
        .unwrap();
    fs.advise_all().await;
    for number in 6000..6008 {
        touch(&fs, number);
    }
    fs.advise_all().await;
    assert_eq!(fs.plans()[0].position, 6008);
    assert!(fixture.advised_files().contains(&"f6008".to_owned()));
}

#[tokio::test]
async fn without_a_budget_nothing_is_advised() {
    let (fixture, fs) = fs_with_files(100);
    let options = MountOptions {
        prefetch_budget: 0,
        ..MountOptions::default()
    };
    let fs = DatasetFs::new(
        Arc::clone(&fs.epochs.root().manifest),
        fixture.cache(),
        &options,
    );
    for number in 0..50 {
        touch(&fs, number);
    }
    assert!(lock(&fs.ahead.waiting).is_empty());
    fs.look_ahead().await;
}
