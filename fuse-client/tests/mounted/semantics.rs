//! `docs/SEMANTICS.md` and the tests say the same.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use forebay_core::ErrorKind;

/// Every class of error. The match in [`name_of`] is what keeps the list complete.
pub(crate) const KINDS: [ErrorKind; 12] = ErrorKind::ALL;

/// A promise, and where its test is.
#[derive(Debug, PartialEq, Eq)]
struct Promise {
    text: String,
    whole_system: bool,
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn document() -> String {
    fs::read_to_string(workspace().join("docs/SEMANTICS.md")).unwrap()
}

/// The promises by their ids: lines `- [S-01] text`, with † for the whole system.
fn promises() -> BTreeMap<String, Promise> {
    let mut promises = BTreeMap::new();
    for line in document().lines() {
        let Some((id, rest)) = line
            .strip_prefix("- [")
            .and_then(|line| line.split_once(']'))
        else {
            continue;
        };
        let (text, whole_system) = rest
            .strip_prefix('†')
            .map_or((rest, false), |marked| (marked, true));
        let promise = Promise {
            text: text.trim().to_owned(),
            whole_system,
        };
        assert_eq!(
            promises.insert(id.to_owned(), promise),
            None,
            "{id} is promised twice"
        );
    }
    assert!(promises.len() > 20, "the document was not understood");
    promises
}

/// The texts that tests below `dir` carry, by the ids: lines `// promise S-01: text`.
fn carried(dir: &Path) -> BTreeMap<String, Vec<String>> {
    let mut carried: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(
                fs::read_dir(path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            for line in fs::read_to_string(path).unwrap().lines() {
                let marker = line.trim().strip_prefix("// promise ");
                if let Some((id, text)) = marker.and_then(|marker| marker.split_once(": ")) {
                    carried
                        .entry(id.to_owned())
                        .or_default()
                        .push(text.to_owned());
                }
            }
        }
    }
    carried
}

fn check(dir: &str, whole_system: bool) {
    let mut carried = carried(&workspace().join(dir));
    for (id, promise) in promises() {
        if promise.whole_system != whole_system {
            continue;
        }
        let texts = carried.remove(&id).unwrap_or_default();
        assert!(
            !texts.is_empty(),
            "no test below {dir} carries {id}: {}",
            promise.text
        );
        assert!(
            texts.iter().all(|text| *text == promise.text),
            "{id} has changed: {texts:?}"
        );
    }
    let known = promises();
    let strangers: Vec<&String> = carried
        .keys()
        .filter(|id| !known.contains_key(*id))
        .collect();
    assert!(
        strangers.is_empty(),
        "tests below {dir} carry unknown promises: {strangers:?}"
    );
}

#[test]
fn every_promise_about_the_mount_is_tested_here() {
    check("fuse-client/tests", false);
}

#[test]
fn every_promise_about_the_whole_system_is_tested_there() {
    check("tests/tests", true);
}

#[test]
fn the_table_of_errors_is_the_one_that_is_compiled() {
    let document = document();
    for kind in KINDS {
        let row = format!("| `{}` | {} |", kind.as_str(), name_of(kind));
        assert!(
            document.lines().any(|line| line.starts_with(&row)),
            "no row {row}"
        );
    }
    let rows = document
        .lines()
        .filter(|line| line.starts_with("| `"))
        .count();
    assert_eq!(rows, KINDS.len());
}

fn name_of(kind: ErrorKind) -> &'static str {
    let (name, number) = match kind {
        ErrorKind::NotFound => ("ENOENT", 2),
        ErrorKind::Cancelled => ("EINTR", 4),
        ErrorKind::PermissionDenied => ("EACCES", 13),
        ErrorKind::Busy => ("EBUSY", 16),
        ErrorKind::InvalidInput => ("EINVAL", 22),
        ErrorKind::Stale => ("ESTALE", 116),
        ErrorKind::Throttled
        | ErrorKind::Unavailable
        | ErrorKind::TimedOut
        | ErrorKind::Corrupt
        | ErrorKind::NoSpace
        | ErrorKind::Internal => ("EIO", 5),
    };
    assert_eq!(kind.errno(), number);
    name
}
