//! Which files a warm-up was asked for.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use forebay_core::manifest::{EntryId, Manifest};
use globset::{Candidate, GlobBuilder, GlobMatcher};

use crate::exit::{Exit, Failure};

/// The files that `patterns` name: files, directories (all below them) or globs, below
/// the mount point or, if absolute, with the mount point in front. No pattern names
/// everything. In the order of the manifest, each file once.
pub(crate) fn files(
    manifest: &Manifest,
    mountpoint: &Path,
    patterns: &[String],
) -> Result<Vec<EntryId>, Failure> {
    if patterns.is_empty() {
        return Ok(manifest.files().collect());
    }
    let mut files = Vec::new();
    let mut globs = Vec::new();
    for pattern in patterns {
        let inside = below(pattern, mountpoint)?;
        match manifest.resolve(inside) {
            Some(entry) => files_below(manifest, entry, &mut files),
            None => globs.push((pattern, glob(pattern, inside)?)),
        }
    }
    match_globs(manifest, &globs, &mut files)?;
    files.sort_unstable();
    files.dedup();
    Ok(files)
}

/// The pattern as seen from the mount point, without slashes around it.
fn below<'p>(pattern: &'p str, mountpoint: &Path) -> Result<&'p [u8], Failure> {
    let mut inside = pattern.as_bytes();
    if inside.starts_with(b"/") {
        let prefix = mountpoint.as_os_str().as_bytes();
        inside = inside
            .strip_prefix(prefix)
            .filter(|rest| rest.is_empty() || rest.starts_with(b"/"))
            .ok_or_else(|| {
                let text = format!("{pattern} is not below {}", mountpoint.display());
                Failure::new(Exit::Usage, text).next("name paths as seen from the mount point")
            })?;
    }
    while let Some(rest) = inside
        .strip_prefix(b"/")
        .or_else(|| inside.strip_prefix(b"./"))
    {
        inside = rest;
    }
    while let Some(rest) = inside.strip_suffix(b"/") {
        inside = rest;
    }
    Ok(if inside == b"." { b"" } else { inside })
}

fn glob(pattern: &str, inside: &[u8]) -> Result<GlobMatcher, Failure> {
    let no_match = || nothing_matches(pattern);
    if !inside.iter().any(|byte| b"*?[{".contains(byte)) {
        return Err(no_match());
    }
    let text = std::str::from_utf8(inside).map_err(|_| no_match())?;
    let glob = GlobBuilder::new(text).literal_separator(true).build();
    let glob = glob.map_err(|error| {
        let text = format!("{pattern} is no glob: {}", error.kind());
        Failure::new(Exit::Usage, text)
    })?;
    Ok(glob.compile_matcher())
}

fn nothing_matches(pattern: &str) -> Failure {
    Failure::new(
        Exit::Usage,
        format!("nothing in the dataset matches {pattern}"),
    )
    .next("paths and globs are as seen from the mount point, such as 'train/**'")
}

fn match_globs(
    manifest: &Manifest,
    globs: &[(&String, GlobMatcher)],
    files: &mut Vec<EntryId>,
) -> Result<(), Failure> {
    if globs.is_empty() {
        return Ok(());
    }
    let mut matched = vec![false; globs.len()];
    for file in manifest.files() {
        let path = manifest.path(file);
        let path = Candidate::from_bytes(&path);
        let mut taken = false;
        for ((_, glob), matched) in globs.iter().zip(&mut matched) {
            if glob.is_match_candidate(&path) {
                (*matched, taken) = (true, true);
            }
        }
        if taken {
            files.push(file);
        }
    }
    match globs.iter().zip(&matched).find(|(_, matched)| !**matched) {
        Some(((pattern, _), _)) => Err(nothing_matches(pattern)),
        None => Ok(()),
    }
}

fn files_below(manifest: &Manifest, entry: EntryId, files: &mut Vec<EntryId>) {
    let mut open = vec![entry];
    while let Some(entry) = open.pop() {
        match manifest.children(entry) {
            Some(children) => open.extend(children.map(EntryId)),
            None => files.push(entry),
        }
    }
}

#[cfg(test)]
mod tests {
    use forebay_core::manifest::{Builder, Listed, Source};

    use super::*;

    fn selected(patterns: &[&str]) -> Result<Vec<String>, Failure> {
        let dir = tempfile::tempdir().unwrap();
        let source = Source {
            name: String::new(),
            url: "s3://b".into(),
        };
        let mut builder = Builder::new(dir.path(), vec![source]).unwrap();
        for key in [
            "readme",
            "train/a.jpg",
            "train/b.txt",
            "train/x/c.jpg",
            "val/d.jpg",
            "w[1]",
        ] {
            let listed = Listed {
                key: key.as_bytes(),
                size: 1,
                modified: 0,
                etag: "e",
            };
            builder.push(0, listed).unwrap();
        }
        let version = builder.finish().unwrap();
        let manifest =
            Manifest::open(&crate::dataset::versions::path(dir.path(), version)).unwrap();
        let patterns: Vec<_> = patterns.iter().map(|&text| text.to_owned()).collect();
        let found = files(&manifest, Path::new("/mnt/d"), &patterns)?;
        let mut paths: Vec<_> = found
            .iter()
            .map(|&file| String::from_utf8(manifest.path(file)).unwrap())
            .collect();
        paths.sort();
        Ok(paths)
    }

    #[test]
    fn without_a_pattern_everything_is_selected() {
        assert_eq!(selected(&[]).unwrap().len(), 6);
        assert_eq!(selected(&["."]).unwrap().len(), 6);
        assert_eq!(selected(&["/mnt/d"]).unwrap().len(), 6);
    }

    #[test]
    fn a_directory_selects_what_is_below_and_a_file_itself() {
        let train = ["train/a.jpg", "train/b.txt", "train/x/c.jpg"];
        for pattern in ["train", "train/", "./train", "/mnt/d/train/"] {
            assert_eq!(selected(&[pattern]).unwrap(), train, "{pattern}");
        }
        assert_eq!(selected(&["train/x/c.jpg"]).unwrap(), ["train/x/c.jpg"]);
    }

    #[test]
    fn a_glob_stays_within_a_directory_unless_it_says_otherwise() {
        assert_eq!(selected(&["train/*.jpg"]).unwrap(), ["train/a.jpg"]);
        assert_eq!(selected(&["**/*.jpg"]).unwrap().len(), 3);
        assert_eq!(selected(&["*/*.jpg", "train"]).unwrap().len(), 4);
    }

    #[test]
    fn a_name_that_looks_like_a_glob_is_taken_as_a_name_first() {
        assert_eq!(selected(&["w[1]"]).unwrap(), ["w[1]"]);
    }

    #[test]
    fn what_matches_nothing_is_named() {
        for pattern in ["tarin", "nothing/*", "/elsewhere", "/mnt/dx", "a{"] {
            let failure = selected(&["train", pattern]).unwrap_err();
            assert_eq!(failure.exit(), Exit::Usage);
            assert!(failure.to_string().contains(pattern), "{failure}");
        }
    }
}
