//! The stored versions of a dataset: the manifests in its directory.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use forebay_core::manifest::{self, Manifest, VersionId};
use forebay_proto::local::StoredVersion;

use crate::exit::{Exit, Failure};
use crate::options::VersionPrefix;

const EXTENSION: &str = "manifest";

/// How many versions are kept. A dataset that is listed every hour can be gone back to for
/// more than a day.
const KEPT: usize = 32;

/// One stored version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// The version.
    pub version: VersionId,
    /// Its manifest.
    pub path: PathBuf,
    /// When it was last listed.
    pub listed: SystemTime,
}

/// Why there is no such version.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("read the stored versions in {dir}", dir = dir.display())]
    Read { dir: PathBuf, source: io::Error },
    #[error("neither a stored version nor what the sources hold begins with {prefix}; {stored}")]
    NoSuchVersion { prefix: String, stored: String },
    #[error("{count} stored versions begin with {prefix}; give more digits")]
    Ambiguous { prefix: String, count: usize },
    #[error("open stored version {version}")]
    Open {
        version: VersionId,
        source: manifest::Error,
    },
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::NoSuchVersion { .. } | Error::Ambiguous { .. } => Self::new(Exit::Usage, error),
            Error::Read { .. } => Self::new(Exit::CacheDir, error),
            Error::Open { .. } => {
                Self::new(Exit::CacheDir, error).next("mount without --version to list again")
            }
        }
    }
}

/// The versions stored in `dir`, the one listed last first.
pub(crate) fn all(dir: &Path) -> Result<Vec<Stored>, Error> {
    let read = |source| Error::Read {
        dir: dir.to_owned(),
        source,
    };
    let mut versions = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(read)? {
        let entry = entry.map_err(read)?;
        let path = entry.path();
        let version = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .map(str::parse);
        if let Some(Ok(version)) = version
            && path
                .extension()
                .is_some_and(|extension| extension == EXTENSION)
        {
            let listed = entry.metadata().and_then(|found| found.modified());
            versions.push(Stored {
                version,
                path,
                listed: listed.unwrap_or(UNIX_EPOCH),
            });
        }
    }
    versions.sort_by(|a, b| b.listed.cmp(&a.listed).then(a.version.cmp(&b.version)));
    Ok(versions)
}

/// Removes the versions in `dir` that were listed before the last [`KEPT`], but for those
/// that somebody has open.
pub(crate) fn prune(dir: &Path) -> Result<(), Error> {
    for Stored { version, path, .. } in all(dir)?.into_iter().skip(KEPT) {
        if Manifest::is_open(&path) {
            continue;
        }
        match std::fs::remove_file(&path) {
            Ok(()) => tracing::info!(%version, "an old version was removed"),
            Err(error) => tracing::warn!(%version, %error, "an old version cannot be removed"),
        }
    }
    Ok(())
}

/// The one stored version that begins with `prefix`.
pub(crate) fn matching(dir: &Path, prefix: &VersionPrefix) -> Result<Stored, Error> {
    let versions = all(dir)?;
    let begins = |stored: &&Stored| stored.version.to_string().starts_with(prefix.as_str());
    let found: Vec<_> = versions.iter().filter(begins).collect();
    let prefix = prefix.as_str().to_owned();
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(Error::NoSuchVersion {
            prefix,
            stored: listing(&versions),
        }),
        several => Err(Error::Ambiguous {
            prefix,
            count: several.len(),
        }),
    }
}

fn listing(versions: &[Stored]) -> String {
    let first: Vec<_> = versions
        .iter()
        .take(3)
        .map(|stored| stored.version.to_string())
        .collect();
    match first.as_slice() {
        [] => "none is stored, mount without --version".to_owned(),
        some if some.len() < versions.len() => format!("stored are {}, …", some.join(", ")),
        all => format!("stored: {}", all.join(", ")),
    }
}

/// Opens a stored version. Reads all of its manifest to check it.
pub(crate) fn open(stored: &Stored) -> Result<Arc<Manifest>, Error> {
    let version = stored.version;
    Manifest::open(&stored.path)
        .map(Arc::new)
        .map_err(|source| Error::Open { version, source })
}

/// Opens the manifest of `version` in `dir`. Reads all of it to check it.
pub(crate) fn open_version(dir: &Path, version: VersionId) -> Result<Arc<Manifest>, Error> {
    Manifest::open(&path(dir, version))
        .map(Arc::new)
        .map_err(|source| Error::Open { version, source })
}

/// What is in each of the versions stored in `dir`, the one listed last first. Reads all of
/// their manifests.
pub(crate) fn described(dir: &Path) -> Result<Vec<StoredVersion>, Error> {
    let mut described = Vec::new();
    for stored in all(dir)? {
        // A damaged one cannot be mounted; mounting it says why.
        let Ok(manifest) = open(&stored) else {
            continue;
        };
        let listed = stored.listed.duration_since(UNIX_EPOCH);
        described.push(StoredVersion {
            version: stored.version,
            listed_unix_seconds: listed.unwrap_or_default().as_secs(),
            files: manifest.totals().files,
            bytes: manifest.totals().bytes,
        });
    }
    Ok(described)
}

/// The path of the manifest of `version`.
pub(crate) fn path(dir: &Path, version: VersionId) -> PathBuf {
    dir.join(format!("{version}.{EXTENSION}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn store(dir: &Path, first_byte: u8, age: u64) -> VersionId {
        let mut bytes = [7; 16];
        bytes[0] = first_byte;
        let version = VersionId::from_bytes(bytes);
        let file = std::fs::File::create(path(dir, version)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age))
            .unwrap();
        version
    }

    fn prefix(text: &str) -> VersionPrefix {
        text.parse().unwrap()
    }

    #[test]
    fn versions_are_found_newest_first_and_other_files_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let old = store(dir.path(), 1, 100);
        let new = store(dir.path(), 2, 0);
        std::fs::write(dir.path().join("notes.txt"), "").unwrap();
        std::fs::write(dir.path().join("x.manifest"), "").unwrap();
        let found: Vec<_> = all(dir.path()).unwrap().iter().map(|s| s.version).collect();
        assert_eq!(found, [new, old]);
    }

    #[test]
    fn old_versions_are_removed_unless_somebody_has_them_open() {
        let dir = tempfile::tempdir().unwrap();
        let versions: Vec<_> = (0..KEPT as u8 + 3)
            .map(|age| store(dir.path(), age, u64::from(age)))
            .collect();
        let in_use = std::fs::File::open(path(dir.path(), versions[KEPT + 1])).unwrap();
        in_use.try_lock_shared().unwrap();
        prune(dir.path()).unwrap();
        let left: Vec<_> = all(dir.path()).unwrap().iter().map(|s| s.version).collect();
        let (last, old) = versions.split_at(KEPT);
        assert_eq!(left, [last, &old[1..2]].concat());
        drop(in_use);
        prune(dir.path()).unwrap();
        assert_eq!(all(dir.path()).unwrap().len(), KEPT);
    }

    #[test]
    fn a_version_is_found_by_the_digits_that_tell_it_apart() {
        let dir = tempfile::tempdir().unwrap();
        let one = store(dir.path(), 0x10, 0);
        store(dir.path(), 0x20, 0);
        assert_eq!(matching(dir.path(), &prefix("1007")).unwrap().version, one);
        let full: VersionPrefix = one.to_string().parse().unwrap();
        assert_eq!(matching(dir.path(), &full).unwrap().version, one);
        let error = matching(dir.path(), &prefix("3007")).unwrap_err();
        assert!(error.to_string().contains(&one.to_string()), "{error}");
    }

    #[test]
    fn digits_that_begin_several_versions_are_too_few() {
        let dir = tempfile::tempdir().unwrap();
        for last in [1, 2] {
            let mut bytes = [7; 16];
            bytes[15] = last;
            std::fs::write(path(dir.path(), VersionId::from_bytes(bytes)), "").unwrap();
        }
        let error = matching(dir.path(), &prefix("0707")).unwrap_err();
        assert!(
            matches!(error, Error::Ambiguous { count: 2, .. }),
            "{error}"
        );
    }
}
