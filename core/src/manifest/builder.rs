//! From a listing in any order to a manifest file.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::record::{Origin, Record};
use super::resolve::resolve;
use super::skipped::SkipLedger;
use super::sort::Sorter;
use super::{Error, Result, SkipReason, VersionId, key_rules, layout, path, publish};

/// The sort buffer that a builder has unless told.
const DEFAULT_BUFFER_BYTES: usize = 64 << 20;

/// The most sources a manifest can have; the index above stands for none.
const MAX_SOURCES: usize = u16::MAX as usize;

/// The most entries a manifest can have.
const MAX_ENTRIES: u32 = u32::MAX - 1;

/// One source of the tree to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The top-level directory that shows it; empty if it is the only source and is
    /// the whole tree.
    pub name: String,
    /// The identity of the place, without credentials.
    pub url: String,
}

/// One object, as a listing tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// The key below the source's prefix.
    pub key: &'a [u8],
    /// The size in bytes.
    pub size: u64,
    /// When it was modified, in nanoseconds since the epoch.
    pub modified: i64,
    /// The validator, exactly as the origin gave it.
    pub etag: &'a str,
}

/// Builds a manifest from a listing, in bounded memory.
///
/// The result depends on the sources, their order included, and on the set of objects,
/// not on the order in which they are pushed. [`key_rules`] says what
/// becomes of each key; what cannot be shown is counted, and is no error.
///
/// Temporary data (up to three times the manifest's size, for a listing that does not fit
/// in memory) lies in files without a name, which vanish with the process. Only the
/// last step, writing the result, can leave a `manifest-*.partial` behind if it is killed.
#[derive(Debug)]
pub struct Builder {
    dir: PathBuf,
    sources: Vec<Source>,
    sorter: Sorter,
    skips: SkipLedger,
    path: Vec<u8>,
}

impl Builder {
    /// A builder that keeps its temporary data and its result in the directory `dir`.
    ///
    /// # Errors
    /// [`Error::SourceCount`] and [`Error::SourceName`].
    pub fn new(dir: &Path, sources: Vec<Source>) -> Result<Self> {
        check_sources(&sources)?;
        let sorter = Sorter::new(dir, DEFAULT_BUFFER_BYTES);
        let (dir, skips) = (dir.to_owned(), SkipLedger::default());
        Ok(Self {
            dir,
            sources,
            sorter,
            skips,
            path: Vec::new(),
        })
    }

    /// Sets the size of the sort buffer: 64 MiB unless told, 1 GiB at most. A smaller
    /// buffer makes more temporary files, which take longer to merge.
    #[must_use]
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.sorter.set_limit(bytes);
        self
    }

    /// Adds one object of the source with this index.
    ///
    /// # Errors
    /// [`Error::UnknownSource`], and [`Error::Spill`], after which the builder is of no
    /// further use.
    pub fn push(&mut self, source: u16, object: Listed<'_>) -> Result<()> {
        let Source { name, .. } = Self::source_of(&self.sources, source)?;
        if let Err(reason) = key_rules::check(&object) {
            self.skips.add(source, object.key, reason);
            return Ok(());
        }
        self.path.clear();
        if !name.is_empty() {
            path::push(&mut self.path, name.as_bytes(), false);
        }
        path::push_key(&mut self.path, object.key);
        self.push_record(
            Origin::Object(source),
            object.size,
            object.modified,
            object.etag,
        )
    }

    /// Counts something of the source with this index that its listing cannot hand out
    /// as an object, a socket in a directory for instance.
    ///
    /// # Errors
    /// [`Error::UnknownSource`].
    pub fn skip(&mut self, source: u16, key: &[u8], reason: SkipReason) -> Result<()> {
        Self::source_of(&self.sources, source)?;
        self.skips.add(source, key, reason);
        Ok(())
    }

    /// Writes the manifest to `<version>.manifest` in the builder's directory, durably.
    ///
    /// # Errors
    /// [`Error::Spill`], [`Error::Publish`] and [`Error::TooManyEntries`].
    pub fn finish(mut self) -> Result<VersionId> {
        self.push_source_directories()?;
        let Self {
            dir,
            sources,
            sorter,
            mut skips,
            ..
        } = self;
        let spilling = |source| Error::Spill {
            dir: dir.clone(),
            source,
        };
        let named_sources = has_names(&sources);
        let sorted = sorter.into_sorted().map_err(spilling)?;
        let levels = resolve(sorted, named_sources, &mut skips, &dir).map_err(spilling)?;
        if levels.counts().iter().sum::<u64>() > MAX_ENTRIES.into() {
            return Err(Error::TooManyEntries { max: MAX_ENTRIES });
        }
        let sections = layout::lay_out(&levels, &sources, skips, &dir).map_err(spilling)?;
        drop(levels);
        publish::publish(&sections, &dir)
    }

    fn source_of(sources: &[Source], index: u16) -> Result<&Source> {
        let count = sources.len();
        let unknown = Error::UnknownSource { index, count };
        sources.get(usize::from(index)).ok_or(unknown)
    }

    /// Adds the directories that are there even if no object is in them.
    fn push_source_directories(&mut self) -> Result<()> {
        if !has_names(&self.sources) {
            return Ok(());
        }
        for index in 0..self.sources.len() {
            self.path.clear();
            path::push(&mut self.path, self.sources[index].name.as_bytes(), false);
            self.push_record(Origin::SourceDirectory, 0, 0, "")?;
        }
        Ok(())
    }

    /// Sorts in a record with the current path.
    fn push_record(&mut self, origin: Origin, size: u64, modified: i64, etag: &str) -> Result<()> {
        let etag = etag.as_bytes();
        self.sorter
            .push(&Record {
                path: &self.path,
                origin,
                size,
                modified,
                etag,
            })
            .map_err(|source| Error::Spill {
                dir: self.dir.clone(),
                source,
            })
    }
}

/// Whether each source has a directory of its own.
fn has_names(sources: &[Source]) -> bool {
    sources.iter().any(|source| !source.name.is_empty())
}

fn check_sources(sources: &[Source]) -> Result<()> {
    if !(1..=MAX_SOURCES).contains(&sources.len()) {
        return Err(Error::SourceCount {
            count: sources.len(),
            max: MAX_SOURCES,
        });
    }
    let mut names = HashSet::new();
    for Source { name, .. } in sources {
        let problem = if name.is_empty() && sources.len() > 1 {
            "is empty, which only the source of a whole tree can be"
        } else if name.len() > key_rules::MAX_NAME_BYTES {
            "is longer than 255 bytes"
        } else if name.contains(['/', '\0']) {
            "has a '/' or a NUL byte"
        } else if matches!(name.as_str(), "." | "..") {
            "cannot be shown as a directory"
        } else if !names.insert(name) {
            "is there twice"
        } else {
            continue;
        };
        return Err(Error::SourceName {
            name: name.clone(),
            problem,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str) -> Source {
        Source {
            name: name.into(),
            url: "s3://bucket".into(),
        }
    }

    #[test]
    fn names_that_cannot_be_directories_are_refused() {
        let long = "n".repeat(256);
        for names in [
            &["a/b"][..],
            &["."],
            &[".."],
            &["a\0"],
            &[&long],
            &["a", "a"],
            &["", "a"],
        ] {
            let sources = names.iter().copied().map(source).collect();
            let error = Builder::new(Path::new("/tmp"), sources).unwrap_err();
            assert!(
                matches!(error, Error::SourceName { .. }),
                "{names:?}: {error}"
            );
        }
        let error = Builder::new(Path::new("/tmp"), Vec::new()).unwrap_err();
        assert!(matches!(error, Error::SourceCount { .. }));
    }

    #[test]
    fn an_object_of_an_unknown_source_is_refused() {
        let mut builder = Builder::new(Path::new("/tmp"), vec![source("")]).unwrap();
        let object = Listed {
            key: b"k",
            size: 0,
            modified: 0,
            etag: "",
        };
        let error = builder.push(1, object).unwrap_err();
        assert!(matches!(error, Error::UnknownSource { index: 1, count: 1 }));
    }

    #[test]
    fn what_a_listing_cannot_hand_out_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let mut builder = Builder::new(dir.path(), vec![source("")]).unwrap();
        builder.skip(0, b"socket", SkipReason::NotAFile).unwrap();
        let error = builder
            .skip(1, b"socket", SkipReason::NotAFile)
            .unwrap_err();
        assert!(matches!(error, Error::UnknownSource { index: 1, count: 1 }));
        let version = builder.finish().unwrap();
        let path = dir.path().join(format!("{version}.manifest"));
        let manifest = crate::manifest::Manifest::open(&path).unwrap();
        assert_eq!(manifest.totals().skipped, 1);
        let skipped = manifest.skipped().next().unwrap();
        assert_eq!(
            (skipped.key, skipped.reason),
            (&b"socket"[..], SkipReason::NotAFile)
        );
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let builder = Builder::new(Path::new("/nonexistent"), vec![source("")]).unwrap();
        let error = builder.finish().unwrap_err();
        assert_eq!(error.to_string(), "write manifest /nonexistent");
    }
}
