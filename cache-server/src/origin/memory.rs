//! An origin in memory, for tests: what every other origin is compared with.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use forebay_core::{ByteRange, ETag};
use futures::StreamExt;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use super::{
    Body, Depth, Error, ListedObject, Origin, Page, PageRequest, PageToken, PinnedObject, printable,
};

/// Bytes of one piece of a body, so that even small objects have several.
const PIECE: usize = 16 << 10;

/// Objects in memory. Every change of one gives it a new ETag.
#[derive(Debug)]
pub struct MemoryOrigin {
    identity: String,
    page_entries: usize,
    // Held for the length of a look-up, never over an await.
    objects: Mutex<Objects>,
}

#[derive(Debug, Default)]
struct Objects {
    by_key: BTreeMap<Vec<u8>, Stored>,
    puts: u64,
}

#[derive(Clone, Debug)]
struct Stored {
    bytes: Bytes,
    put: u64,
}

impl Stored {
    fn etag(&self) -> ETag {
        ETag::new(format!("\"{:016x}\"", self.put))
    }

    fn listed(&self, key: &[u8]) -> ListedObject {
        ListedObject {
            key: key.to_vec(),
            size: self.bytes.len() as u64,
            modified: UNIX_EPOCH + Duration::from_secs(self.put),
            etag: self.etag(),
        }
    }
}

impl Default for MemoryOrigin {
    fn default() -> Self {
        Self::new("memory://test")
    }
}

impl MemoryOrigin {
    /// An empty origin called `identity`.
    pub fn new(identity: impl Into<String>) -> Self {
        Self {
            identity: identity.into(),
            page_entries: 1000,
            objects: Mutex::default(),
        }
    }

    /// Makes pages of a listing hold this many entries; 1,000 unless told.
    pub fn page_entries(mut self, entries: usize) -> Self {
        self.page_entries = entries;
        self
    }

    /// Writes an object, as a new version if it exists, and returns it as listed.
    pub fn put(&self, key: impl AsRef<[u8]>, bytes: impl Into<Bytes>) -> ListedObject {
        let mut objects = self.lock();
        objects.puts += 1;
        let stored = Stored {
            bytes: bytes.into(),
            put: objects.puts,
        };
        let listed = stored.listed(key.as_ref());
        objects.by_key.insert(key.as_ref().to_vec(), stored);
        listed
    }

    /// Removes an object; says whether there was one.
    pub fn remove(&self, key: impl AsRef<[u8]>) -> bool {
        self.lock().by_key.remove(key.as_ref()).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Origin for MemoryOrigin {
    fn identity(&self) -> &str {
        &self.identity
    }

    async fn list(&self, request: PageRequest<'_>) -> Result<Page, Error> {
        let objects = self.lock();
        let mut page = Page::default();
        // The least key that may come next.
        let mut from = match request.after {
            Some(token) => percent_decode_str(&token.0).collect(),
            None => request.prefix.to_vec(),
        };
        while let Some((key, stored)) = objects.by_key.range(from.clone()..).next() {
            let Some(rest) = key.strip_prefix(request.prefix) else {
                break;
            };
            if page.objects.len() + page.prefixes.len() == self.page_entries {
                page.next = Some(PageToken(
                    percent_encode(&from, NON_ALPHANUMERIC).to_string(),
                ));
                break;
            }
            let slash = rest.iter().position(|&byte| byte == b'/');
            from = match slash.filter(|_| request.depth == Depth::One) {
                Some(slash) => {
                    let dir = &key[..key.len() - rest.len() + slash];
                    page.prefixes.push([dir, b"/"].concat());
                    // "0" is what follows "/".
                    [dir, b"0"].concat()
                }
                None => {
                    page.objects.push(stored.listed(key));
                    [key, &b"\0"[..]].concat()
                }
            };
        }
        Ok(page)
    }

    async fn read(&self, object: PinnedObject<'_>, range: ByteRange) -> Result<Body, Error> {
        let what = format!("{}/{}", self.identity, printable(object.key));
        let Some(stored) = self.lock().by_key.get(object.key).cloned() else {
            return Err(Error::NotFound { what });
        };
        if !object.etag.as_str().is_empty() && stored.etag() != *object.etag {
            return Err(Error::Changed { what });
        }
        let len = stored.bytes.len() as u64;
        if range.end() > len {
            return Err(Error::OutOfRange { what });
        }
        let (start, end) = (range.start() as usize, range.end() as usize);
        let bytes = stored.bytes.slice(start..end);
        let pieces = (0..bytes.len())
            .step_by(PIECE)
            .map(move |at| Ok(bytes.slice(at..bytes.len().min(at + PIECE))));
        Ok(futures::stream::iter(pieces).boxed())
    }
}
