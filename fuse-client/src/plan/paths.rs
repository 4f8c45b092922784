//! The list of files that the indices of a plan refer to.
//!
//! It has every file of the version, sorted by path, part by part, each part by its
//! bytes: what `sorted(pathlib.Path(root).rglob("*"))` gives for files, and what
//! torchvision's `ImageFolder` finds. With a glob, it has those that match.

use forebay_core::manifest::{EntryId, Kind, Manifest};
use globset::{GlobBuilder, GlobMatcher};

use super::spec::PlanError;

/// The files of `manifest` that match `glob`, or all, in the order of indices.
pub(super) fn list(manifest: &Manifest, glob: Option<&str>) -> Result<Vec<u32>, PlanError> {
    let matcher = glob.map(compile).transpose()?;
    let mut files = Vec::new();
    let mut path = Vec::new();
    // What is left of each directory on the way down, and how long its path is.
    let mut open = vec![(manifest.children(EntryId(0)).unwrap_or(0..0), 0)];
    while let Some((left, below)) = open.last_mut() {
        let (next, below) = (left.next(), *below);
        path.truncate(below);
        let Some(position) = next else {
            open.pop();
            continue;
        };
        let entry = EntryId(position);
        path.extend_from_slice(manifest.name(entry));
        match manifest.attr(entry).map(|attr| attr.kind) {
            Some(Kind::File) if matcher.as_ref().is_none_or(|glob| matches(glob, &path)) => {
                files.push(position);
            }
            Some(Kind::Directory) => {
                path.push(b'/');
                open.push((manifest.children(entry).unwrap_or(0..0), path.len()));
            }
            Some(Kind::File) | None => {}
        }
    }
    Ok(files)
}

fn compile(glob: &str) -> Result<GlobMatcher, PlanError> {
    let built = GlobBuilder::new(glob).literal_separator(true).build();
    let compiled = built.map_err(|error| PlanError::Glob {
        glob: glob.to_owned(),
        reason: error.kind().to_string(),
    })?;
    Ok(compiled.compile_matcher())
}

fn matches(glob: &GlobMatcher, path: &[u8]) -> bool {
    glob.is_match_candidate(&globset::Candidate::from_bytes(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_cache::Fixture;

    fn listed(glob: Option<&str>) -> Vec<String> {
        let files: [(&str, &[u8]); 7] = [
            ("b.txt", b"1"),
            ("a/z", b"2"),
            ("a-b/x", b"3"),
            ("a/b/c.txt", b"4"),
            ("a/b/a", b"5"),
            ("a/a.txt", b"6"),
            ("B", b"7"),
        ];
        let manifest = Fixture::new().version(&files);
        let files = list(&manifest, glob).expect("a good glob");
        let path = |&position: &u32| String::from_utf8(manifest.path(EntryId(position)));
        files.iter().map(|file| path(file).expect("text")).collect()
    }

    #[test]
    fn files_are_sorted_by_the_parts_of_their_paths() {
        // As Python prints sorted(pathlib.Path(root).rglob("*")), directories left out.
        let expected = [
            "B",
            "a/a.txt",
            "a/b/a",
            "a/b/c.txt",
            "a/z",
            "a-b/x",
            "b.txt",
        ];
        assert_eq!(listed(None), expected);
    }

    #[test]
    fn a_glob_leaves_the_order_alone() {
        assert_eq!(listed(Some("**/*.txt")), ["a/a.txt", "a/b/c.txt", "b.txt"]);
        assert_eq!(listed(Some("*.txt")), ["b.txt"]);
        assert!(listed(Some("x")).is_empty());
    }

    #[test]
    fn a_bad_glob_is_named() {
        let manifest = Fixture::new().version(&[("a", b"")]);
        let error = list(&manifest, Some("a{")).expect_err("no glob");
        assert!(error.to_string().starts_with("glob \"a{\": "), "{error}");
    }
}
