use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use forebay_core::manifest::{Manifest, SkipReason};
use proptest::prelude::*;

use super::*;
use crate::origin::{Fault, Faulty, MemoryOrigin};
use crate::source::{Connection, OriginConfig};

fn source(name: &str, origin: Arc<dyn Origin>) -> (SourceSpec, Arc<dyn Origin>) {
    let (name, url) = (name.to_owned(), "s3://unused".to_owned());
    (
        SourceSpec {
            name,
            url,
            connection: Connection::default(),
        },
        origin,
    )
}

fn bucket(keys: impl IntoIterator<Item = impl AsRef<[u8]>>, page: usize) -> Arc<MemoryOrigin> {
    let origin = MemoryOrigin::default().page_entries(page);
    for key in keys {
        origin.put(key, "x");
    }
    Arc::new(origin)
}

struct Listed {
    manifest: Manifest,
    progress: Progress,
}

impl Listed {
    fn paths(&self) -> BTreeSet<Vec<u8>> {
        self.manifest
            .files()
            .map(|id| self.manifest.path(id))
            .collect()
    }

    fn count(&self, counter: impl Fn(&Progress) -> &std::sync::atomic::AtomicU64) -> u64 {
        counter(&self.progress).load(Ordering::Relaxed)
    }
}

async fn listed(sources: &[(SourceSpec, Arc<dyn Origin>)], filter: &Filter) -> Listed {
    let dir = tempfile::tempdir().unwrap();
    let progress = Progress::default();
    let cancel = CancellationToken::new();
    let version = list(sources, filter, dir.path(), &progress, &cancel)
        .await
        .unwrap();
    let path = dir.path().join(format!("{version}.manifest"));
    Listed {
        manifest: Manifest::open(&path).unwrap(),
        progress,
    }
}

fn paths(texts: &[&str]) -> BTreeSet<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[tokio::test]
async fn each_source_is_listed_below_its_name() {
    let train = source("train", bucket(["a/1", "a/2", "b"], 1000));
    let val = source("val", bucket(["a/1"], 1000));
    let listed = listed(&[train, val], &Filter::default()).await;
    assert_eq!(
        listed.paths(),
        paths(&["train/a/1", "train/a/2", "train/b", "val/a/1"])
    );
    assert_eq!(
        (listed.count(|p| &p.objects), listed.count(|p| &p.bytes)),
        (4, 4)
    );
}

#[tokio::test]
async fn globs_see_the_path_in_the_tree_and_what_they_leave_out_is_counted() {
    let filter = Filter::new(&["train/**/*.jpg".into()], &["**/bad/**".into()]).unwrap();
    let keys = ["a/1.jpg", "a/1.txt", "a/bad.txt", "bad/2.jpg", "3.jpg"];
    let listed = listed(&[source("train", bucket(keys, 1000))], &filter).await;
    assert_eq!(listed.paths(), paths(&["train/3.jpg", "train/a/1.jpg"]));
    assert_eq!(listed.count(|p| &p.filtered), 2);
    assert_eq!(listed.manifest.totals().skipped, 0);
}

#[tokio::test]
async fn directories_that_the_globs_leave_out_are_not_listed() {
    let keys = (0..40).flat_map(|dir| (0..40).map(move |file| format!("{dir:02}/{file:02}")));
    let sources = [source("train", bucket(keys, 10))];
    let one = Filter::new(&["train/07/**".into()], &[]).unwrap();
    let listed_one = listed(&sources, &one).await;
    assert_eq!(listed_one.paths().len(), 40);
    // Four pages of the level, and four of the one directory.
    assert_eq!(listed_one.count(|p| &p.pages), 8);
    let few = Filter::new(&[], &["train/[0-2]*/**".into()]).unwrap();
    let listed_few = listed(&sources, &few).await;
    assert_eq!(listed_few.paths().len(), 400);
    assert_eq!(listed_few.count(|p| &p.pages), 4 + 10 * 4);
    assert_eq!(listed_few.count(|p| &p.filtered), 0);
}

#[tokio::test]
async fn what_a_directory_has_besides_files_is_skipped_with_its_reason() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("file"), "x").unwrap();
    std::os::unix::fs::symlink("nowhere", root.path().join("link")).unwrap();
    let url = format!("file://{}", root.path().display());
    let spec = SourceSpec::parse(&url, Connection::default()).unwrap();
    let origin = spec.open(&OriginConfig::default()).unwrap();
    let listed = listed(&[(spec, origin)], &Filter::default()).await;
    assert_eq!(listed.paths(), paths(&["file"]));
    let skipped = listed.manifest.skipped().next().unwrap();
    assert_eq!(
        (skipped.key, skipped.reason),
        (&b"link"[..], SkipReason::BrokenLink)
    );
    assert_eq!(listed.count(|p| &p.unservable), 1);
}

#[tokio::test]
async fn few_large_directories_are_listed_side_by_side() {
    let keys = (0..4).flat_map(|dir| (0..50).map(move |file| format!("{dir}/{file}")));
    let listed = listed(&[source("", bucket(keys, 10))], &Filter::default()).await;
    assert_eq!(listed.paths().len(), 200);
    // One page of the root, and five of each directory.
    assert_eq!(listed.count(|p| &p.pages), 21);
}

#[tokio::test]
async fn many_tiny_directories_are_listed_flat() {
    let keys = (0..1000).map(|dir| format!("{dir:04}/only"));
    let listed = listed(&[source("", bucket(keys, 100))], &Filter::default()).await;
    assert_eq!(listed.paths().len(), 1000);
    // One page to see that the level is wide, and ten flat ones.
    assert_eq!(listed.count(|p| &p.pages), 11);
}

#[tokio::test]
async fn a_wide_level_of_large_directories_is_explored_to_its_end() {
    let keys = (0..60).flat_map(|dir| (0..40).map(move |file| format!("{dir:02}/{file:02}")));
    let listed = listed(&[source("", bucket(keys, 40))], &Filter::default()).await;
    assert_eq!(listed.paths().len(), 2400);
    // Two pages of the level, one flat one between, and one of each directory.
    assert_eq!(listed.count(|p| &p.pages), 63);
}

#[tokio::test]
async fn a_failing_source_is_named_and_leaves_no_manifest() {
    let faulty = Faulty::new(bucket(["a/1", "b/2"], 1000));
    let error = origin::Error::Forbidden {
        what: "s3://b".into(),
        reason: "403".into(),
    };
    faulty.on_pages([Fault::Pass, Fault::Fail(error.clone())]);
    let dir = tempfile::tempdir().unwrap();
    let sources = [source("", Arc::new(faulty))];
    let (filter, progress) = (Filter::default(), Progress::default());
    let cancel = CancellationToken::new();
    let failed = list(&sources, &filter, dir.path(), &progress, &cancel).await;
    let Err(Error::Source { url, source }) = failed else {
        panic!("{failed:?}")
    };
    assert_eq!((url.as_str(), source), ("memory://test", error));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_builder_that_fails_is_the_reason() {
    let sources = [source("", bucket(["a"], 1000))];
    let (filter, progress) = (Filter::default(), Progress::default());
    let cancel = CancellationToken::new();
    let failed = list(
        &sources,
        &filter,
        Path::new("/nonexistent"),
        &progress,
        &cancel,
    )
    .await;
    assert!(matches!(failed, Err(Error::Manifest { .. })), "{failed:?}");
}

#[tokio::test]
async fn cancelling_stops_a_listing_that_hangs() {
    let faulty = Faulty::new(bucket(["a"], 1000));
    faulty.on_pages([Fault::Hang]);
    let dir = tempfile::tempdir().unwrap();
    let sources = [source("", Arc::new(faulty))];
    let (filter, progress) = (Filter::default(), Progress::default());
    let cancel = CancellationToken::new();
    let listing = list(&sources, &filter, dir.path(), &progress, &cancel);
    let stop = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        cancel.cancel();
    };
    let (failed, ()) = tokio::join!(listing, stop);
    assert!(matches!(failed, Err(Error::Cancelled)), "{failed:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_object_is_listed_once_in_whatever_way_the_tree_is_laid_out(
        keys in prop::collection::btree_set("[ab]{1,2}(/[a-c]{1,2}){0,3}", 1..120),
        page in 1usize..20,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listed = runtime.block_on(async {
            listed(&[source("", bucket(&keys, page))], &Filter::default()).await
        });
        // A key that is also a directory is shown beside it.
        let totals = listed.manifest.totals();
        prop_assert_eq!(totals.files + totals.skipped, keys.len() as u64);
        prop_assert_eq!(totals.skipped, 0);
        prop_assert_eq!(listed.count(|p| &p.objects), keys.len() as u64);
        let mut objects: Vec<_> = listed
            .manifest
            .files()
            .map(|id| listed.manifest.object(id).unwrap().key.into_owned())
            .collect();
        objects.sort();
        let wanted: Vec<_> = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
        prop_assert_eq!(objects, wanted);
    }
}
