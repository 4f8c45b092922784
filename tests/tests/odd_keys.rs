//! Every odd key has a place in a mount, or is counted with the reason why not: the rules
//! of `core::manifest::key_rules`, on servers that keep every key.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use forebay_tests::{Ceph, Endpoint, Mount, MountCommand, S3Client, Scratch, odd_keys};

const BUCKET: &str = "odd";
const EMPTY: &str = ".forebay-empty";

/// Where an odd key is shown, or the reason why it is not.
type Place = Result<String, &'static str>;

/// The place of each of [`odd_keys`], by the words that stand there.
fn place(oddity: &str, key: &str) -> Place {
    let shown = |path: &str| Ok(path.to_owned());
    match oddity {
        "a file where there is a directory" => shown("a.forebay-object"),
        "an empty part" => Ok(format!("empty/{EMPTY}/part")),
        "a slash in front" => Ok(format!("{EMPTY}/leading")),
        "only a slash" => Ok(format!("{EMPTY}/{EMPTY}")),
        "a slash at the end" | "the longest key" => Ok(format!("{key}{EMPTY}")),
        "a part that is a dot" | "a part that is two dots" => Err("dot-component"),
        "two dots in front" | "only a dot" => Err("dot-component"),
        "a name of more than 255 bytes" => Err("name-too-long"),
        "a file in a directory of a file's name" => shown(key),
        "a backslash" | "a line feed" | "a carriage return" | "a tab" => shown(key),
        "a control character" | "a space at both ends" | "XML's own" => shown(key),
        "plus, percent and friends" | "several scripts" | "a combining accent" => shown(key),
        other => panic!("{other}: no rule is stated here"),
    }
}

/// An object, and where it is shown.
struct Odd {
    key: String,
    content: Vec<u8>,
    place: Place,
}

fn objects() -> Vec<Odd> {
    let content = |key: &str| format!("the content of {key:?}").into_bytes();
    let odd = |key: &str, content: Vec<u8>, place: Place| Odd {
        key: key.to_owned(),
        content,
        place,
    };
    let mut objects: Vec<_> = odd_keys()
        .iter()
        .map(|(oddity, key)| odd(key, content(key), place(oddity, key)))
        .collect();
    // Names that are made up give way to real ones.
    for key in ["taken/below", "taken.forebay-object"] {
        objects.push(odd(key, content(key), Ok(key.to_owned())));
    }
    objects.push(odd("taken", content("taken"), Err("name-taken")));
    objects.push(odd("no content", Vec::new(), Ok("no content".into())));
    objects
}

/// Keys that end in a slash and have no content: directories, and no files.
const MARKERS: [&str; 2] = ["marker/", "deep/marker/"];

/// Every file below `root`, by its path in bytes, with its content; and every directory.
fn walk(root: &Path) -> (BTreeMap<OsString, Vec<u8>>, BTreeSet<OsString>) {
    let (mut files, mut directories) = (BTreeMap::new(), BTreeSet::new());
    let mut open = vec![OsString::new()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(root.join(&dir)).unwrap() {
            let entry = entry.unwrap();
            let parts = [dir.as_bytes(), entry.file_name().as_bytes()].concat();
            if entry.file_type().unwrap().is_dir() {
                directories.insert(OsString::from_vec(parts.clone()));
                open.push(OsString::from_vec([&parts[..], b"/"].concat()));
            } else {
                let content = fs::read(entry.path()).unwrap();
                files.insert(OsString::from_vec(parts), content);
            }
        }
    }
    (files, directories)
}

fn assert_shown(mount: &Mount, objects: &[Odd]) {
    let (files, directories) = walk(&mount.path());
    let shown = |odd: &Odd| Some((odd.place.clone().ok()?.into(), odd.content.clone()));
    let expected: BTreeMap<OsString, Vec<u8>> = objects.iter().filter_map(shown).collect();
    let difference = |a: &BTreeMap<OsString, Vec<u8>>, b: &BTreeMap<OsString, Vec<u8>>| {
        let not_in_b = a
            .iter()
            .filter(|(path, content)| b.get(*path) != Some(*content));
        not_in_b.map(|(path, _)| path.clone()).collect::<Vec<_>>()
    };
    assert_eq!(difference(&expected, &files), [""; 0], "missing or wrong");
    assert_eq!(difference(&files, &expected), [""; 0], "never put");
    for marker in MARKERS {
        assert!(directories.contains(Path::new(marker.trim_end_matches('/')).as_os_str()));
    }
    // And each by its path in one call.
    for (path, content) in expected {
        assert!(
            fs::read(mount.path().join(&path)).unwrap() == content,
            "{path:?}"
        );
    }
}

fn assert_counted(mount: &Mount, objects: &[Odd]) {
    // promise S-04: An object that cannot be shown is left out, counted, and listed by `forebay status` with its reason.
    let mut by_reason: BTreeMap<&str, u64> = BTreeMap::new();
    let mut sample = BTreeSet::new();
    for Odd { key, place, .. } in objects {
        if let Err(reason) = place {
            *by_reason.entry(*reason).or_default() += 1;
            sample.insert((key.as_bytes().escape_ascii().to_string(), *reason));
        }
    }
    let status = mount.status();
    let skipped = &status["skipped"];
    assert_eq!(skipped["total"], sample.len(), "{skipped:#}");
    assert_eq!(skipped["by_reason"], serde_json::json!(by_reason));
    let listed = skipped["sample"].as_array().unwrap().iter();
    let listed: BTreeSet<_> = listed
        .map(|object| {
            let text = |field: &str| object[field].as_str().unwrap();
            (text("key").to_owned(), text("reason"))
        })
        .collect();
    assert_eq!(listed, sample);
    assert_eq!(status["files"], objects.len() - sample.len());
}

fn every_odd_key_has_its_place(endpoint: &Endpoint) {
    let client = S3Client::new(endpoint);
    client.create_bucket(BUCKET);
    let objects = objects();
    for Odd { key, content, .. } in &objects {
        client.put(BUCKET, key, content);
    }
    for marker in MARKERS {
        client.put(BUCKET, marker, b"");
    }
    let scratch = Scratch::new("odd", 100 << 20);
    let mount = MountCommand::new(&format!("s3://{BUCKET}"), scratch.path());
    let mount = mount.endpoint(endpoint).start();
    assert_shown(&mount, &objects);
    assert_counted(&mount, &objects);
    // Each of them can be asked for again, and warmed up.
    let path = mount.path();
    let warmup = mount.run(&["warmup", path.to_str().unwrap()]);
    assert!(warmup.status.success(), "{warmup:?}");
    mount.assert_quiet();
    mount.unmount();
}

#[test]
fn every_odd_key_has_its_place_on_the_loopback_server() {
    let (_server, endpoint) = Endpoint::loopback();
    every_odd_key_has_its_place(&endpoint);
}

#[test]
fn every_odd_key_has_its_place_on_ceph() {
    let ceph = Ceph::start(64 << 20);
    every_odd_key_has_its_place(ceph.endpoint());
}

#[test]
fn a_prefix_is_a_directory_and_odd_keys_below_it_have_their_places() {
    let (server, endpoint) = Endpoint::loopback();
    let prefix = "größe & (more)/+/";
    let objects: Vec<_> = objects()
        .into_iter()
        .filter(|odd| odd.key.len() < 900)
        .collect();
    for Odd { key, content, .. } in &objects {
        server.put(BUCKET, &format!("{prefix}{key}"), content.clone());
    }
    for marker in MARKERS {
        server.put(BUCKET, &format!("{prefix}{marker}"), "");
    }
    // The prefix itself, and what only begins like it.
    server.put(BUCKET, prefix, "");
    server.put(BUCKET, "größe & (more)/+", "a file beside it");
    server.put(BUCKET, "größe & (more)/+beside", "another");
    let scratch = Scratch::new("odd", 100 << 20);
    let source = format!("s3://{BUCKET}/{}", prefix.trim_end_matches('/'));
    let mount = MountCommand::new(&source, scratch.path());
    let mount = mount.endpoint(&endpoint).start();
    assert_shown(&mount, &objects);
    assert_counted(&mount, &objects);
    mount.assert_quiet();
    mount.unmount();
}
