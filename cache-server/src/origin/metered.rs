//! Counting what is asked of an origin.

use std::sync::Arc;

use async_trait::async_trait;
use forebay_core::ByteRange;
use futures::StreamExt;

use super::{Body, Error, Origin, OriginStats, Page, PageRequest, PinnedObject};

/// Counts the requests to the origin within. Innermost of the wrappers, so that a
/// retry is a request of its own.
#[derive(Debug)]
pub struct Metered {
    inner: Arc<dyn Origin>,
    stats: Arc<OriginStats>,
}

impl Metered {
    /// Counts what is asked of `inner` in `stats`.
    pub fn new(inner: Arc<dyn Origin>, stats: Arc<OriginStats>) -> Self {
        Self { inner, stats }
    }
}

/// A request under way; ends when dropped, however that comes about.
struct InFlight(Arc<OriginStats>);

impl InFlight {
    fn begin(stats: &Arc<OriginStats>) -> Self {
        stats.begin();
        Self(Arc::clone(stats))
    }

    fn note<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        result.inspect_err(|error| self.0.failed(error.kind()))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[async_trait]
impl Origin for Metered {
    fn identity(&self) -> &str {
        self.inner.identity()
    }

    async fn list(&self, request: PageRequest<'_>) -> Result<Page, Error> {
        let in_flight = InFlight::begin(&self.stats);
        in_flight.note(self.inner.list(request).await)
    }

    async fn read(&self, object: PinnedObject<'_>, range: ByteRange) -> Result<Body, Error> {
        let in_flight = InFlight::begin(&self.stats);
        let body = in_flight.note(self.inner.read(object, range).await)?;
        // The stream owns the guard: the request lasts as long as its body.
        let counted = body.map(move |piece| {
            if let Ok(piece) = &piece {
                in_flight.0.received(piece.len());
            }
            in_flight.note(piece)
        });
        Ok(counted.boxed())
    }
}

#[cfg(test)]
mod tests {
    use forebay_core::{ETag, ErrorKind};
    use futures::TryStreamExt;

    use super::*;
    use crate::origin::{Depth, MemoryOrigin};

    #[tokio::test]
    async fn requests_bytes_and_errors_are_counted_until_the_body_is_dropped() {
        let memory = Arc::new(MemoryOrigin::default());
        let listed = memory.put("a", vec![7; 100_000]);
        let stats = Arc::new(OriginStats::default());
        let origin = Metered::new(memory, Arc::clone(&stats));

        let all = PageRequest {
            prefix: b"",
            depth: Depth::All,
            after: None,
        };
        origin.list(all).await.unwrap();
        let object = PinnedObject {
            key: b"a",
            size: 100_000,
            etag: &listed.etag,
        };
        let body = origin
            .read(object, ByteRange::new(10, 99_000))
            .await
            .unwrap();
        assert_eq!(
            (stats.requests(), stats.in_flight(), stats.bytes()),
            (2, 1, 0)
        );
        body.try_for_each(|_| async { Ok(()) }).await.unwrap();
        assert_eq!((stats.in_flight(), stats.bytes()), (0, 98_990));

        let gone = PinnedObject {
            etag: &ETag::new("\"other\""),
            ..object
        };
        assert!(origin.read(gone, ByteRange::new(0, 1)).await.is_err());
        assert_eq!(
            (stats.errors(ErrorKind::Stale), stats.errors_total()),
            (1, 1)
        );
        assert_eq!((stats.requests(), stats.in_flight()), (3, 0));
    }
}
