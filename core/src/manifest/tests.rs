//! The manifest from the outside: what is pushed, and what is then read.

mod damage;
mod model;
mod properties;
mod publish;
mod rules;
mod tree;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Builder, EntryId, Kind, Listed, Manifest, SkipReason, Source, VersionId};

/// One pushed object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Object {
    source: u16,
    key: Vec<u8>,
    size: u64,
    modified: i64,
    etag: String,
}

impl Object {
    /// An object of the first source whose ETag and time follow from its key.
    fn new(key: impl AsRef<[u8]>, size: u64) -> Self {
        let key = key.as_ref().to_owned();
        let (modified, etag) = (key.len() as i64, format!("\"{}\"", key.len()));
        Self {
            source: 0,
            key,
            size,
            modified,
            etag,
        }
    }
}

/// A file as a reader finds it, by its path.
type Files = BTreeMap<Vec<u8>, Object>;

/// A built manifest, with the directory it is in.
struct Built {
    dir: TempDir,
    version: VersionId,
    manifest: Manifest,
}

impl Built {
    /// The only source is the whole tree.
    fn whole_tree(objects: &[Object]) -> Self {
        Self::new(&[""], objects, 1 << 20)
    }

    fn new(sources: &[&str], objects: &[Object], buffer_bytes: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let version = Self::build(dir.path(), sources, objects, buffer_bytes);
        let manifest = Manifest::open(&dir.path().join(format!("{version}.manifest"))).unwrap();
        assert_eq!(manifest.version(), version);
        Self {
            dir,
            version,
            manifest,
        }
    }

    /// Lists once more, into the same directory.
    fn again(&self, objects: &[Object]) -> VersionId {
        Self::build(self.dir.path(), &[""], objects, 1 << 20)
    }

    fn build(dir: &Path, sources: &[&str], objects: &[Object], buffer_bytes: usize) -> VersionId {
        let url = |name| format!("s3://bucket/{name}");
        let sources = sources
            .iter()
            .map(|&name| Source {
                name: name.to_owned(),
                url: url(name),
            })
            .collect();
        let mut builder = Builder::new(dir, sources)
            .unwrap()
            .buffer_bytes(buffer_bytes);
        for Object {
            source,
            key,
            size,
            modified,
            etag,
        } in objects
        {
            let listed = Listed {
                key,
                size: *size,
                modified: *modified,
                etag,
            };
            builder.push(*source, listed).unwrap();
        }
        builder.finish().unwrap()
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join(format!("{}.manifest", self.version))
    }

    /// Every file of the manifest.
    fn files(&self) -> Files {
        let manifest = &self.manifest;
        manifest
            .files()
            .map(|id| {
                let object = manifest.object(id).unwrap();
                let modified = manifest.attr(id).unwrap().modified;
                let (key, etag) = (object.key.into_owned(), object.etag.to_owned());
                let (source, size) = (object.source, object.size);
                (
                    manifest.path(id),
                    Object {
                        source,
                        key,
                        size,
                        modified,
                        etag,
                    },
                )
            })
            .collect()
    }

    /// The paths of all directories, the root first.
    fn directories(&self) -> Vec<Vec<u8>> {
        let is_directory = |id: &EntryId| self.manifest.children(*id).is_some();
        let ids = (0..self.manifest.len()).map(EntryId).filter(is_directory);
        ids.map(|id| self.manifest.path(id)).collect()
    }

    fn skipped_counts(&self) -> BTreeMap<SkipReason, u64> {
        self.manifest.skipped_counts().collect()
    }

    fn kind(&self, path: impl AsRef<[u8]>) -> Option<Kind> {
        let id = self.manifest.resolve(path.as_ref())?;
        self.manifest.attr(id).map(|attr| attr.kind)
    }

    /// The key shown at a path.
    fn key_at(&self, path: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        let id = self.manifest.resolve(path.as_ref())?;
        self.manifest
            .object(id)
            .map(|object| object.key.into_owned())
    }
}
