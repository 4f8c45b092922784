//! Google Cloud Storage, Azure Blob Storage and WebDAV, through `object_store`.
//!
//! Keys go through that library's normal form: one that it cannot represent (`a//b`, a
//! leading slash, a `..` part) fails the page that lists it, and two keys that differ
//! only by a trailing slash are one. S3 has a client of its own for this reason.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use forebay_core::ByteRange;
use futures::{StreamExt, TryStreamExt};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore};

use super::validator::{self, Validator};
use super::{
    Body, Depth, Error, ListedObject, Origin, Page, PageRequest, PageToken, PinnedObject, printable,
};

mod failure;

use failure::failed;

/// How a store is listed.
pub(crate) enum Lister {
    /// Page by page, at any prefix.
    Paged(Arc<dyn PaginatedListStore>),
    /// One directory after the other: all that WebDAV has.
    ByDirectory,
}

/// A prefix of a bucket, container or server.
pub(crate) struct Remote {
    pub(crate) identity: String,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) lister: Lister,
    /// The source's prefix: empty or ending in `/`.
    pub(crate) prefix: String,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The store's own output may show how it was configured.
        f.debug_struct("Remote")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl Remote {
    fn what(&self, key: &[u8]) -> String {
        format!("{}/{}", self.identity, printable(key))
    }

    /// The key below the source's prefix; `None` for the prefix itself.
    fn relative(&self, path: &Path) -> Option<Vec<u8>> {
        let key = path.as_ref().strip_prefix(&self.prefix)?;
        (!key.is_empty()).then(|| key.as_bytes().to_vec())
    }

    fn object(&self, meta: ObjectMeta) -> Option<ListedObject> {
        let modified = SystemTime::from(meta.last_modified);
        Some(ListedObject {
            key: self.relative(&meta.location)?,
            size: meta.size,
            modified,
            etag: validator::listed(meta.e_tag.as_deref(), modified),
        })
    }

    /// The objects and prefixes of a listing, and where it goes on.
    async fn listed(
        &self,
        prefix: &str,
        request: PageRequest<'_>,
    ) -> object_store::Result<(object_store::ListResult, Option<String>)> {
        match &self.lister {
            Lister::Paged(store) => {
                let options = PaginatedListOptions {
                    delimiter: (request.depth == Depth::One).then_some("/".into()),
                    page_token: request.after.map(|token| token.0.clone()),
                    ..Default::default()
                };
                let wanted = (!prefix.is_empty()).then_some(prefix);
                let page = store.list_paginated(wanted, options).await?;
                Ok((page.result, page.page_token))
            }
            Lister::ByDirectory => {
                let path = Path::parse(prefix)?;
                Ok((self.store.list_with_delimiter(Some(&path)).await?, None))
            }
        }
    }

    /// The path that reads `key`, if the library can name it.
    fn path(&self, key: &[u8]) -> Option<Path> {
        let key = format!("{}{}", self.prefix, std::str::from_utf8(key).ok()?);
        let path = Path::parse(&key).ok()?;
        (path.as_ref() == key).then_some(path)
    }
}

#[async_trait]
impl Origin for Remote {
    fn identity(&self) -> &str {
        &self.identity
    }

    async fn list(&self, request: PageRequest<'_>) -> Result<Page, Error> {
        let what = self.what(request.prefix);
        let wrong = |reason: &str| Error::Protocol {
            what: what.clone(),
            reason: reason.into(),
        };
        let prefix = std::str::from_utf8(request.prefix)
            .map_err(|_| wrong("a prefix that is not UTF-8 cannot be listed"))?;
        let prefix = format!("{}{prefix}", self.prefix);
        let (listed, next) = self
            .listed(&prefix, request)
            .await
            .map_err(|error| failed(&what, &error))?;
        let slashed = |mut key: Vec<u8>| {
            key.push(b'/');
            key
        };
        Ok(Page {
            objects: listed
                .objects
                .into_iter()
                .filter_map(|meta| self.object(meta))
                .collect(),
            prefixes: listed
                .common_prefixes
                .iter()
                .filter_map(|path| self.relative(path).map(slashed))
                .collect(),
            unservable: Vec::new(),
            next: next.map(PageToken),
        })
    }

    async fn read(&self, object: PinnedObject<'_>, range: ByteRange) -> Result<Body, Error> {
        let what = self.what(object.key);
        if range.is_empty() {
            return Ok(futures::stream::empty().boxed());
        }
        let Some(path) = self.path(object.key) else {
            let reason = "this key cannot be asked for".to_owned();
            return Err(Error::Protocol { what, reason });
        };
        let options = GetOptions {
            range: Some(GetRange::Bounded(range.start()..range.end())),
            if_match: Validator::of(object.etag).if_match().map(str::to_owned),
            ..Default::default()
        };
        let answer = self
            .store
            .get_opts(&path, options)
            .await
            .map_err(|error| failed(&what, &error))?;
        check(&answer, object, range, &what)?;
        Ok(answer
            .into_stream()
            .map_err(move |error| failed(&what, &error))
            .boxed())
    }
}

/// Checks that the answer is this range of an object of this size in this version.
fn check(
    answer: &GetResult,
    object: PinnedObject<'_>,
    range: ByteRange,
    what: &str,
) -> Result<(), Error> {
    let meta = &answer.meta;
    let modified = SystemTime::from(meta.last_modified);
    let same = Validator::of(object.etag).accepts(meta.e_tag.as_deref(), Some(modified));
    if !same || meta.size != object.size {
        return Err(Error::Changed {
            what: what.to_owned(),
        });
    }
    let sent = ByteRange::new(answer.range.start, answer.range.end);
    if sent != range {
        let reason = format!("the origin sent bytes {sent} for {range}");
        return Err(Error::Protocol {
            what: what.to_owned(),
            reason,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
