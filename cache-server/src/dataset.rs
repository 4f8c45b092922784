//! One dataset version as the node reads it: its manifest and the origins behind it.

use std::sync::Arc;

use forebay_core::manifest::{EntryId, Manifest};
use forebay_core::{ETag, ObjectId};

use crate::origin::{Origin, PinnedObject};

/// A dataset version with its way to the bytes.
#[derive(Debug)]
pub struct Dataset {
    manifest: Arc<Manifest>,
    origins: Vec<Arc<dyn Origin>>,
}

/// One object of a dataset: what it is called, and where it is fetched from.
#[derive(Clone, Debug)]
pub struct Target {
    /// The identity under which its bytes are cached.
    pub id: ObjectId,
    /// The object's size in bytes.
    pub size: u64,
    key: Arc<[u8]>,
    etag: ETag,
    origin: Arc<dyn Origin>,
}

impl Dataset {
    /// Joins a manifest and the origins of its sources, in the order of the sources.
    pub fn new(manifest: Arc<Manifest>, origins: Vec<Arc<dyn Origin>>) -> Self {
        Self { manifest, origins }
    }

    /// The dataset's manifest.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// The object of a file; `None` if `entry` is no file of this version or its source
    /// has no origin.
    pub fn target(&self, entry: EntryId) -> Option<Target> {
        let object = self.manifest.object(entry)?;
        let origin = Arc::clone(self.origins.get(usize::from(object.source))?);
        let etag = ETag::new(object.etag);
        Some(Target {
            id: ObjectId::derive(origin.identity(), &object.key, &etag, object.size),
            size: object.size,
            key: object.key.as_ref().into(),
            etag,
            origin,
        })
    }
}

impl Target {
    /// The object `key` of `origin`.
    pub(crate) fn new(origin: Arc<dyn Origin>, key: Arc<[u8]>, etag: ETag, size: u64) -> Self {
        Self {
            id: ObjectId::derive(origin.identity(), &key, &etag, size),
            size,
            key,
            etag,
            origin,
        }
    }

    /// The origin that has the object.
    pub fn origin(&self) -> &Arc<dyn Origin> {
        &self.origin
    }

    /// Whether a byte at an offset is a copy of what another node keeps; `None` if the
    /// origin knows of no other nodes.
    pub(crate) fn is_copy(&self) -> Option<impl Fn(u64) -> bool> {
        let placement = self.origin.placement()?;
        Some(|offset| !placement.is_kept_here(self.id, offset))
    }

    /// The object as an origin is asked for it.
    pub fn pinned(&self) -> PinnedObject<'_> {
        PinnedObject {
            key: &self.key,
            size: self.size,
            etag: &self.etag,
        }
    }

    /// The object's name for logs and messages: origin and key, lossily as text.
    pub fn name(&self) -> String {
        format!(
            "{}/{}",
            self.origin.identity(),
            String::from_utf8_lossy(&self.key)
        )
    }
}
