//! One test for each row of the rules for odd keys.

use super::*;

/// The keys, all of one byte and more, as one tree.
fn tree(keys: &[&[u8]]) -> Built {
    let objects: Vec<_> = keys.iter().map(|key| Object::new(key, 1)).collect();
    Built::whole_tree(&objects)
}

/// Asserts which key is shown at which path, and that nothing else is.
fn assert_shows(built: &Built, expected: &[(&[u8], &[u8])]) {
    let shown: Vec<_> = built
        .files()
        .into_iter()
        .map(|(path, object)| (path, object.key))
        .collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|(path, key)| (path.to_vec(), key.to_vec()))
        .collect();
    assert_eq!(shown, expected);
}

fn assert_skips(built: &Built, expected: &[(&[u8], SkipReason)]) {
    let listed: Vec<_> = built
        .manifest
        .skipped()
        .map(|skipped| (skipped.key, skipped.reason))
        .collect();
    assert_eq!(listed, expected);
    assert_eq!(built.manifest.totals().skipped, expected.len() as u64);
}

#[test]
fn an_empty_part_is_a_directory_with_a_made_up_name() {
    let built = tree(&[b"a//b", b"/c", b"///d"]);
    assert_shows(
        &built,
        &[
            (b".forebay-empty/.forebay-empty/.forebay-empty/d", b"///d"),
            (b".forebay-empty/c", b"/c"),
            (b"a/.forebay-empty/b", b"a//b"),
        ],
    );
}

#[test]
fn a_directory_marker_makes_a_directory_and_no_file() {
    let built = Built::whole_tree(&[Object::new("a/", 0), Object::new("b//", 0)]);
    assert_shows(&built, &[]);
    assert_eq!(
        built.directories(),
        [&b""[..], b"a", b"b", b"b/.forebay-empty"]
    );
    assert_eq!(built.manifest.children(EntryId(1)), Some(3..3));
    assert_skips(&built, &[]);
}

#[test]
fn a_marker_with_content_is_a_file_in_its_directory() {
    let built = tree(&[b"a/", b"a/x"]);
    assert_shows(&built, &[(b"a/.forebay-empty", b"a/"), (b"a/x", b"a/x")]);
}

#[test]
fn the_empty_key_is_a_marker_or_a_file_of_the_top() {
    let marker = Built::whole_tree(&[Object::new("", 0)]);
    assert_eq!(marker.manifest.len(), 1);
    assert_skips(&marker, &[]);
    assert_shows(&tree(&[b""]), &[(b".forebay-empty", b"")]);
}

#[test]
fn an_object_beside_a_directory_of_its_name_stays_reachable() {
    let built = tree(&[b"a", b"a/b", b"a-c", b"a.d", b"a.g"]);
    assert_shows(
        &built,
        &[
            (b"a-c", b"a-c"),
            (b"a.d", b"a.d"),
            (b"a.forebay-object", b"a"),
            (b"a.g", b"a.g"),
            (b"a/b", b"a/b"),
        ],
    );
    assert_eq!(built.kind("a"), Some(Kind::Directory));
}

#[test]
fn an_empty_object_beside_a_directory_is_shown_like_any_other() {
    let with_child = Built::whole_tree(&[Object::new("a", 0), Object::new("a/b", 1)]);
    assert_eq!(with_child.key_at("a.forebay-object").unwrap(), b"a");
    let with_marker = Built::whole_tree(&[Object::new("a", 0), Object::new("a/", 0)]);
    assert_eq!(with_marker.key_at("a.forebay-object").unwrap(), b"a");
    assert_eq!(with_marker.kind("a"), Some(Kind::Directory));
}

#[test]
fn objects_that_give_way_find_their_places_among_each_other() {
    // `a.forebay.forebay-object` comes after `a.forebay-object`, the others before it.
    let names = ["a", "a-", "a--", "a.", "a.f", "a.forebay", "ab"];
    let objects: Vec<_> = names
        .iter()
        .flat_map(|name| [Object::new(name, 1), Object::new(format!("{name}/x"), 1)])
        .collect();
    let built = Built::whole_tree(&objects);
    for name in names {
        assert_eq!(
            built.key_at(format!("{name}.forebay-object")).unwrap(),
            name.as_bytes()
        );
        assert_eq!(
            built.key_at(format!("{name}/x")).unwrap(),
            format!("{name}/x").as_bytes()
        );
    }
}

#[test]
fn a_made_up_object_name_yields_to_a_real_key() {
    let file = tree(&[b"a", b"a/b", b"a.forebay-object"]);
    assert_shows(
        &file,
        &[(b"a.forebay-object", b"a.forebay-object"), (b"a/b", b"a/b")],
    );
    assert_skips(&file, &[(b"a", SkipReason::NameTaken)]);

    let directory = tree(&[b"a", b"a/b", b"a.forebay-object/c"]);
    assert_eq!(directory.kind("a.forebay-object"), Some(Kind::Directory));
    assert_skips(&directory, &[(b"a", SkipReason::NameTaken)]);

    let both = tree(&[b"a", b"a/b", b"a.forebay-object", b"a.forebay-object/c"]);
    assert_eq!(
        both.key_at("a.forebay-object.forebay-object").unwrap(),
        b"a.forebay-object"
    );
    assert_skips(&both, &[(b"a", SkipReason::NameTaken)]);
}

#[test]
fn a_made_up_directory_yields_to_a_real_key_with_all_below() {
    let built = tree(&[b"a//b", b"a//c/d", b"a/.forebay-empty/e", b"a/", b"f"]);
    assert_shows(
        &built,
        &[(b"a/.forebay-empty/e", b"a/.forebay-empty/e"), (b"f", b"f")],
    );
    assert_skips(
        &built,
        &[
            (b"a/", SkipReason::NameTaken),
            (b"a//b", SkipReason::NameTaken),
            (b"a//c/d", SkipReason::NameTaken),
        ],
    );
}

#[test]
fn a_marker_needs_no_name_and_yields_to_none() {
    let built = Built::whole_tree(&[Object::new("a/", 0), Object::new("a/.forebay-empty", 1)]);
    assert_shows(&built, &[(b"a/.forebay-empty", b"a/.forebay-empty")]);
    assert_skips(&built, &[]);
}

#[test]
fn a_made_up_file_beside_a_made_up_directory_gives_way() {
    let built = tree(&[b"a/", b"a//b"]);
    assert_shows(
        &built,
        &[
            (b"a/.forebay-empty.forebay-object", b"a/"),
            (b"a/.forebay-empty/b", b"a//b"),
        ],
    );
}

#[test]
fn dot_parts_are_skipped() {
    let keys: [&[u8]; 6] = [b".", b"..", b"../a", b"b/../c", b"d/.", b"e/./"];
    let built = tree(&keys);
    assert_eq!(
        built.manifest.len(),
        1,
        "no directory is made for a skipped key"
    );
    assert_skips(&built, &keys.map(|key| (key, SkipReason::DotComponent)));
    assert_eq!(tree(&[b"...", b".a", b"a."]).files().len(), 3);
}

#[test]
fn a_name_over_255_bytes_is_skipped() {
    let (fits, long) = ([b'n'; 255], [b'n'; 256]);
    let below = [&long[..], b"/x"].concat();
    let built = tree(&[&fits, &long, &below]);
    assert_shows(&built, &[(&fits, &fits)]);
    let reason = SkipReason::NameTooLong;
    assert_skips(&built, &[(&long, reason), (&below, reason)]);
}

#[test]
fn a_made_up_name_over_255_bytes_is_skipped() {
    let fits = [b'a'; 255 - b".forebay-object".len()];
    let long = [b'b'; 255 - b".forebay-object".len() + 1];
    let below = |name: &[u8]| [name, b"/x"].concat();
    let built = tree(&[&fits, &below(&fits), &long, &below(&long)]);
    assert_eq!(built.files().len(), 3);
    assert_skips(&built, &[(&long, SkipReason::NameTooLong)]);
}

#[test]
fn a_key_over_65535_bytes_is_skipped() {
    let (fits, long) = ([b'/'; 65_535], [b'/'; 65_536]);
    let built = tree(&[&fits, &long]);
    assert_eq!(built.files().len(), 1);
    assert_eq!(built.skipped_counts(), [(SkipReason::KeyTooLong, 1)].into());
    let deepest = EntryId(built.manifest.len() - 1);
    assert_eq!(built.manifest.object(deepest).unwrap().key, &fits[..]);
}

#[test]
fn a_nul_byte_is_skipped() {
    assert_skips(&tree(&[b"a\0b"]), &[(b"a\0b", SkipReason::NulByte)]);
}

#[test]
fn other_bytes_are_shown_as_they_are() {
    let keys: [&[u8]; 7] = [
        b"\x01",
        b"\x7f",
        b"\\",
        b"a\\b/c",
        b"line\nfeed",
        b"\xff\xfe",
        b" ",
    ];
    let built = tree(&keys);
    for key in keys {
        assert_eq!(built.key_at(key).as_deref(), Some(key));
    }
    assert_eq!(built.files().len(), keys.len());
}

#[test]
fn an_empty_object_is_an_empty_file() {
    let built = Built::whole_tree(&[Object::new("a", 0)]);
    assert_eq!(built.files()[&b"a"[..]].size, 0);
}

#[test]
fn a_size_of_2_to_the_62_is_skipped_and_5_tb_are_shown() {
    let (five_tb, largest) = (5_u64 << 40, (1 << 62) - 1);
    let built = Built::whole_tree(&[
        Object::new("a", five_tb),
        Object::new("b", largest),
        Object::new("c", largest + 1),
        Object::new("d", u64::MAX),
    ]);
    assert_eq!(built.files()[&b"a"[..]].size, five_tb);
    assert_eq!(built.files()[&b"b"[..]].size, largest);
    assert_eq!(built.manifest.totals().bytes, five_tb + largest);
    assert_skips(
        &built,
        &[
            (b"c", SkipReason::SizeTooLarge),
            (b"d", SkipReason::SizeTooLarge),
        ],
    );
}

#[test]
fn an_etag_over_1023_bytes_is_skipped() {
    let with_etag = |key: &str, len| Object {
        etag: "e".repeat(len),
        ..Object::new(key, 1)
    };
    let built = Built::whole_tree(&[with_etag("a", 1_023), with_etag("b", 1_024)]);
    assert_eq!(built.files()[&b"a"[..]].etag.len(), 1_023);
    assert_skips(&built, &[(b"b", SkipReason::EtagTooLong)]);
}

#[test]
fn of_a_key_listed_again_the_newest_state_is_shown() {
    let state = |modified, etag: &str, size| {
        let (source, key, etag) = (0, b"k".to_vec(), etag.to_owned());
        Object {
            source,
            key,
            size,
            modified,
            etag,
        }
    };
    for newest_at in 0..4 {
        let mut states = vec![state(1, "z", 9), state(2, "a", 9), state(2, "b", 3)];
        states.insert(newest_at, state(2, "b", 4));
        let built = Built::whole_tree(&states);
        assert_eq!(built.files()[&b"k"[..]], state(2, "b", 4));
        assert_skips(&built, &[(b"k".as_slice(), SkipReason::Duplicate); 3]);
    }
}

#[test]
fn a_marker_listed_again_with_content_is_one_object() {
    let older = Object {
        modified: 1,
        ..Object::new("a/", 5)
    };
    let newer = Object {
        modified: 2,
        ..Object::new("a/", 0)
    };
    let built = Built::whole_tree(&[older, newer]);
    assert_shows(&built, &[]);
    assert_eq!(built.kind("a"), Some(Kind::Directory));
    assert_skips(&built, &[(b"a/", SkipReason::Duplicate)]);
}

#[test]
fn a_path_over_4096_bytes_is_reachable_step_by_step() {
    let key = vec!["d".repeat(200); 30].join("/");
    let built = Built::whole_tree(&[Object::new(&key, 1)]);
    assert_eq!(built.key_at(&key).unwrap(), key.as_bytes());
}
