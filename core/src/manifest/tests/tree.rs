//! Sources, attributes, ids from outside, and size.

use std::time::{Duration, Instant};

use super::*;

#[test]
fn an_empty_listing_is_a_root() {
    let built = Built::whole_tree(&[]);
    let manifest = &built.manifest;
    assert_eq!((manifest.len(), manifest.is_empty()), (1, false));
    assert_eq!(manifest.children(EntryId::ROOT), Some(1..1));
    assert_eq!(manifest.attr(EntryId::ROOT).unwrap().modified, 0);
    assert_eq!(manifest.resolve(b""), Some(EntryId::ROOT));
    assert_eq!(manifest.totals().directories, 1);
}

#[test]
fn each_named_source_is_a_top_level_directory_even_if_it_is_empty() {
    let of_source = |source, key: &str| Object {
        source,
        ..Object::new(key, 1)
    };
    let objects = [of_source(0, "a/x"), of_source(2, "a/x"), of_source(2, "/y")];
    let built = Built::new(&["zoo", "empty", "ant"], &objects, 1 << 20);
    assert_eq!(
        built.files().into_iter().collect::<Vec<_>>(),
        [
            (b"ant/.forebay-empty/y".to_vec(), objects[2].clone()),
            (b"ant/a/x".to_vec(), objects[1].clone()),
            (b"zoo/a/x".to_vec(), objects[0].clone()),
        ]
    );
    assert_eq!(built.kind("empty"), Some(Kind::Directory));
    let sources: Vec<_> = built.manifest.sources().map(|s| (s.name, s.url)).collect();
    assert_eq!(
        sources,
        [
            ("zoo", "s3://bucket/zoo"),
            ("empty", "s3://bucket/empty"),
            ("ant", "s3://bucket/ant")
        ]
    );
}

#[test]
fn a_marker_of_the_top_of_a_named_source_is_no_duplicate() {
    let built = Built::new(
        &["s"],
        &[Object::new("", 0), Object::new("../x", 0)],
        1 << 20,
    );
    assert_eq!(
        built.skipped_counts(),
        [(SkipReason::DotComponent, 1)].into()
    );
    assert_eq!(built.directories(), [&b""[..], b"s"]);
}

#[test]
fn a_directory_is_as_new_as_the_newest_object_below_it() {
    let at = |key: &str, modified| Object {
        modified,
        ..Object::new(key, 0)
    };
    let objects = [
        at("a/b/x", 5),
        at("a/y", 3),
        at("c/", 9),
        at("d/z", -7),
        at("e/f/../g", 100),
    ];
    let built = Built::whole_tree(&objects);
    let modified = |path: &str| {
        let id = built.manifest.resolve(path.as_bytes()).unwrap();
        built.manifest.attr(id).unwrap().modified
    };
    assert_eq!(["", "a", "a/b", "c", "d"].map(modified), [9, 5, 5, 9, -7]);
}

#[test]
fn ids_out_of_range_are_no_entries() {
    let built = Built::whole_tree(&[Object::new("a/b", 1)]);
    let manifest = &built.manifest;
    for id in [manifest.len(), manifest.len() + 1, u32::MAX - 1, u32::MAX].map(EntryId) {
        assert_eq!(manifest.attr(id), None);
        assert_eq!(manifest.children(id), None);
        assert_eq!(manifest.lookup(id, b"a"), None);
        assert_eq!(manifest.object(id), None);
        assert_eq!(manifest.name(id), b"");
        assert_eq!(manifest.path(id), b"");
        assert_eq!(manifest.parent(id), EntryId::ROOT);
    }
}

#[test]
fn a_file_has_no_children_and_a_directory_no_object() {
    let built = Built::whole_tree(&[Object::new("a/b", 1)]);
    let (a, b) = (EntryId(1), EntryId(2));
    assert_eq!(built.manifest.children(b), None);
    assert_eq!(built.manifest.lookup(b, b"x"), None);
    assert_eq!(built.manifest.object(a), None);
    assert_eq!(built.manifest.resolve(b"a/b/c"), None);
    assert_eq!(built.manifest.resolve(b"/a//b/"), Some(b));
}

#[test]
fn the_same_version_is_published_again_over_itself() {
    let objects = [Object::new("a", 1)];
    let built = Built::whole_tree(&objects);
    let sources = vec![Source {
        name: String::new(),
        url: "s3://bucket/".into(),
    }];
    let mut builder = Builder::new(built.dir.path(), sources).unwrap();
    let Object {
        key,
        size,
        modified,
        etag,
        ..
    } = &objects[0];
    builder
        .push(
            0,
            Listed {
                key,
                size: *size,
                modified: *modified,
                etag,
            },
        )
        .unwrap();
    assert_eq!(builder.finish().unwrap(), built.version);
    let files: Vec<_> = std::fs::read_dir(built.dir.path()).unwrap().collect();
    assert_eq!(files.len(), 1, "nothing temporary is left: {files:?}");
    assert_eq!(built.files().len(), 1);
}

#[test]
fn every_part_of_an_object_and_of_a_source_takes_part_in_the_version() {
    let base = Object::new("k", 1);
    let version = |object: Object| Built::whole_tree(&[object]).version;
    let mut versions = vec![
        version(base.clone()),
        version(Object {
            key: b"l".to_vec(),
            ..base.clone()
        }),
        version(Object {
            size: 2,
            ..base.clone()
        }),
        version(Object {
            modified: 2,
            ..base.clone()
        }),
        version(Object {
            etag: "other".into(),
            ..base.clone()
        }),
        Built::new(&["s"], &[base], 1 << 20).version,
        Built::whole_tree(&[]).version,
    ];
    versions.sort();
    versions.dedup();
    assert_eq!(versions.len(), 7);
}

#[test]
fn a_million_files_in_one_directory_are_listed_and_found() {
    const FILES: u32 = 1_000_000;
    let dir = tempfile::tempdir().unwrap();
    let sources = vec![Source {
        name: String::new(),
        url: "s3://bucket/".into(),
    }];
    let mut builder = Builder::new(dir.path(), sources)
        .unwrap()
        .buffer_bytes(16 << 20);
    for n in 0..FILES {
        // Not in order: 7,919 has no factor in common with the number of files.
        let n = u64::from(n) * 7_919 % u64::from(FILES);
        let (key, size) = (format!("train/{n:09}.jpg"), n);
        let object = Listed {
            key: key.as_bytes(),
            size,
            modified: 1,
            etag: "\"e\"",
        };
        builder.push(0, object).unwrap();
    }
    let version = builder.finish().unwrap();
    let manifest = Manifest::open(&dir.path().join(format!("{version}.manifest"))).unwrap();
    let train = manifest.lookup(EntryId::ROOT, b"train").unwrap();
    assert_eq!(manifest.children(train), Some(2..FILES + 2));
    assert_eq!(manifest.totals().bytes, (0..u64::from(FILES)).sum::<u64>());

    let started = Instant::now();
    for n in (0..FILES).step_by(997) {
        let id = manifest
            .lookup(train, format!("{n:09}.jpg").as_bytes())
            .unwrap();
        assert_eq!(id, EntryId(n + 2));
        assert_eq!(manifest.attr(id).unwrap().size, n.into());
    }
    // 1,003 searches of 20 steps; a scan would take hours.
    assert!(started.elapsed() < Duration::from_secs(5));
}
