//! How two versions of a dataset differ.

use forebay_core::manifest::{EntryId, Kind, Manifest};
use forebay_proto::mount::v1::Drift;

/// Counts the files that are only in one of the versions, or in both and not the same.
///
/// Walks both trees side by side: the entries of a directory are in the order of their
/// names, so the time grows with the number of entries and the memory does not.
pub(super) fn between(from: &Manifest, to: &Manifest) -> Drift {
    let mut drift = Drift {
        from_version: from.version().to_string(),
        to_version: to.version().to_string(),
        ..Drift::default()
    };
    if from.version() == to.version() {
        return drift;
    }
    let mut open = vec![(EntryId::ROOT, EntryId::ROOT)];
    while let Some((old, new)) = open.pop() {
        let mut olds = entries(from, old).peekable();
        let mut news = entries(to, new).peekable();
        loop {
            match (olds.peek().copied(), news.peek().copied()) {
                (Some(a), Some(b)) if from.name(a) == to.name(b) => {
                    both(from, a, to, b, &mut drift, &mut open);
                    olds.next();
                    news.next();
                }
                (Some(a), b) if b.is_none_or(|b| from.name(a) < to.name(b)) => {
                    drift.removed += files_below(from, a);
                    olds.next();
                }
                (_, Some(b)) => {
                    drift.added += files_below(to, b);
                    news.next();
                }
                // The guard above takes every old entry without a new one.
                (_, None) => break,
            }
        }
    }
    drift
}

fn both(
    from: &Manifest,
    old: EntryId,
    to: &Manifest,
    new: EntryId,
    drift: &mut Drift,
    open: &mut Vec<(EntryId, EntryId)>,
) {
    match (from.object(old), to.object(new)) {
        (None, None) => open.push((old, new)),
        (Some(a), Some(b)) => {
            drift.changed += u64::from(a.etag != b.etag || a.size != b.size || a.key != b.key);
        }
        // A file has become a directory, or a directory a file.
        (Some(_), None) | (None, Some(_)) => {
            drift.removed += files_below(from, old);
            drift.added += files_below(to, new);
        }
    }
}

fn entries(manifest: &Manifest, dir: EntryId) -> impl Iterator<Item = EntryId> + use<'_> {
    manifest.children(dir).into_iter().flatten().map(EntryId)
}

fn files_below(manifest: &Manifest, entry: EntryId) -> u64 {
    let mut files = 0;
    let mut open = vec![entry];
    while let Some(entry) = open.pop() {
        match manifest.attr(entry).map(|attr| attr.kind) {
            Some(Kind::Directory) => open.extend(entries(manifest, entry)),
            Some(Kind::File) => files += 1,
            None => {}
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use forebay_core::manifest::{Builder, Listed, Source};

    use super::*;

    fn manifest(objects: &[(&str, &str)]) -> Manifest {
        let dir = tempfile::tempdir().unwrap();
        let source = Source {
            name: String::new(),
            url: "s3://b".into(),
        };
        let mut builder = Builder::new(dir.path(), vec![source]).unwrap();
        for (key, etag) in objects {
            let listed = Listed {
                key: key.as_bytes(),
                size: 1,
                modified: 0,
                etag,
            };
            builder.push(0, listed).unwrap();
        }
        let version = builder.finish().unwrap();
        Manifest::open(&crate::dataset::versions::path(dir.path(), version)).unwrap()
    }

    fn counts(from: &[(&str, &str)], to: &[(&str, &str)]) -> (u64, u64, u64) {
        let drift = between(&manifest(from), &manifest(to));
        (drift.added, drift.removed, drift.changed)
    }

    #[test]
    fn a_version_does_not_differ_from_itself() {
        let objects = [("a", "1"), ("d/b", "2")];
        assert_eq!(counts(&objects, &objects), (0, 0, 0));
    }

    #[test]
    fn files_are_added_removed_and_changed_at_any_depth() {
        let from = [("a", "1"), ("d/b", "2"), ("d/c", "3"), ("z", "9")];
        let to = [
            ("0", "5"),
            ("a", "1"),
            ("d/b", "x"),
            ("d/e/f", "4"),
            ("z", "9"),
        ];
        assert_eq!(counts(&from, &to), (2, 1, 1));
        assert_eq!(counts(&to, &from), (1, 2, 1));
    }

    #[test]
    fn a_directory_that_comes_or_goes_counts_its_files() {
        let from = [("a", "1")];
        let to = [("a", "1"), ("new/x", "2"), ("new/y/z", "3")];
        assert_eq!(counts(&from, &to), (2, 0, 0));
        assert_eq!(counts(&to, &from), (0, 2, 0));
    }

    #[test]
    fn a_file_that_becomes_a_directory_is_removed_and_its_files_added() {
        assert_eq!(
            counts(&[("a", "1")], &[("a/b", "1"), ("a/c", "2")]),
            (2, 1, 0)
        );
    }
}
