//! What holds for every listing.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::model::{Expected, expected};
use super::*;

/// Parts of keys that meet each other often, in every way that the rules speak of.
fn part() -> impl Strategy<Value = Vec<u8>> {
    let odd: Vec<&[u8]> = vec![
        b"",
        b"a",
        b"a-",
        b"a.",
        b"a.forebay",
        b"a.forebay-object",
        b"a.forebay-object.forebay-object",
        b"b",
        b".forebay-empty",
        b".forebay-empty.forebay-object",
        b".forebay-empty\x01",
        b".",
        b"..",
        b"\\",
        b"\n",
        b"\xff",
        b"n\0",
    ];
    prop_oneof![
        12 => select(odd).prop_map(<[u8]>::to_vec),
        2 => vec(1_u8.., 0..4),
        1 => (239_usize..258).prop_map(|len| vec![b'l'; len]),
    ]
}

fn object(sources: u16) -> impl Strategy<Value = Object> {
    let key = vec(part(), 1..5).prop_map(|parts| parts.join(&b'/'));
    let size = prop_oneof![4 => 0..3_u64, 1 => any::<u64>()];
    let etag = prop_oneof![8 => "[a-c]", 1 => (1_020_usize..1_027).prop_map(|n| "e".repeat(n))];
    (0..sources, key, size, -2..3_i64, etag).prop_map(|(source, key, size, modified, etag)| {
        Object {
            source,
            key,
            size,
            modified,
            etag,
        }
    })
}

/// Names of sources, and objects of them.
fn listing() -> impl Strategy<Value = (Vec<&'static str>, Vec<Object>)> {
    prop_oneof![
        Just(vec![""]),
        Just(vec!["a"]),
        Just(vec!["b", "a", ".forebay-empty"])
    ]
    .prop_flat_map(|names| {
        let objects = vec(object(names.len() as u16), 0..60);
        (Just(names), objects)
    })
}

/// Asserts that the ways through the tree agree with each other.
fn assert_consistent(manifest: &Manifest) {
    let mut next_child = 1;
    for id in (0..manifest.len()).map(EntryId) {
        let path = manifest.path(id);
        assert_eq!(manifest.resolve(&path), Some(id), "{path:?}");
        if id != EntryId::ROOT {
            let parent = manifest.parent(id);
            assert!(manifest.children(parent).unwrap().contains(&id.0));
            assert_eq!(manifest.lookup(parent, manifest.name(id)), Some(id));
            assert!((1..=255).contains(&manifest.name(id).len()));
        }
        if let Some(children) = manifest.children(id) {
            assert_eq!(children.start, next_child);
            next_child = children.end;
            let names = children.clone().map(|child| manifest.name(EntryId(child)));
            assert!(
                names.is_sorted_by(|a, b| a < b),
                "siblings are sorted, each name once"
            );
            assert_eq!(manifest.lookup(id, b"no such name"), None);
        }
    }
    assert_eq!(
        next_child,
        manifest.len(),
        "each entry is the child of one directory"
    );
}

fn assert_shows(built: &Built, expected: &Expected, pushed: usize) {
    let manifest = &built.manifest;
    assert_eq!(built.files(), expected.files);
    assert_eq!(built.skipped_counts(), expected.skipped);
    let mut directories = built.directories();
    directories.sort();
    assert_eq!(directories, expected.directories);

    let totals = manifest.totals();
    assert_eq!(totals.files, expected.files.len() as u64);
    assert_eq!(totals.directories, expected.directories.len() as u64);
    assert_eq!(totals.files + totals.directories, u64::from(manifest.len()));
    let sizes = expected.files.values().map(|object| object.size);
    assert_eq!(totals.bytes, sizes.fold(0, u64::saturating_add));
    assert_eq!(totals.skipped, expected.skipped.values().sum::<u64>());
    assert_eq!(totals.skipped, manifest.skipped().count() as u64);
    assert_eq!(
        totals.files + totals.skipped + expected.markers,
        pushed as u64,
        "none is lost"
    );
}

proptest! {
    #[test]
    fn every_object_is_shown_once_or_counted((names, objects) in listing()) {
        let built = Built::new(&names, &objects, 1 << 20);
        let expected = expected(&names, &objects);
        assert_consistent(&built.manifest);
        assert_shows(&built, &expected, objects.len());
    }

    #[test]
    fn the_file_depends_on_the_set_of_objects_alone(
        (names, objects) in listing(),
        swaps in vec((any::<Index>(), any::<Index>()), 60),
        buffer_bytes in 1_usize..2_000,
    ) {
        let built = Built::new(&names, &objects, 1 << 20);
        let mut shuffled = objects;
        for (a, b) in swaps.iter().filter(|_| !shuffled.is_empty()).collect::<Vec<_>>() {
            let (a, b) = (a.index(shuffled.len()), b.index(shuffled.len()));
            shuffled.swap(a, b);
        }
        let again = Built::new(&names, &shuffled, buffer_bytes);
        assert_eq!(again.version, built.version);
        assert!(std::fs::read(again.path()).unwrap() == std::fs::read(built.path()).unwrap());
    }
}

#[test]
fn many_generations_of_runs_give_the_same_version() {
    let objects: Vec<_> = (0..6_000_u64)
        .map(|n| Object::new(format!("{}/{}", n * 7_919 % 71, n * 104_729 % 6_000), n))
        .collect();
    // One record a run: 6,000 runs, 93 of the second generation, one of the third.
    let many_runs = Built::new(&[""], &objects, 1);
    assert_eq!(many_runs.version, Built::whole_tree(&objects).version);
    assert_eq!(many_runs.files().len(), 6_000);
}
