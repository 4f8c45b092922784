//! A body that outlives its connections.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use forebay_core::{ByteRange, ETag};
use futures::{StreamExt, stream};

use super::Tries;
use crate::origin::{Body, Error, Origin, PinnedObject};

/// The slowest flow that is no failure, in bytes a second. Sixteen parts in flight at
/// this rate are a quarter of a megabyte a second: a slow link, not a dead one.
const LEAST_RATE: u64 = 16 << 10;

/// A read under way: what was asked for, and how far it has come.
pub(super) struct Resuming {
    origin: Arc<dyn Origin>,
    stall: Duration,
    key: Vec<u8>,
    size: u64,
    etag: ETag,
    range: ByteRange,
    /// The offset of the next byte that the reader gets.
    reached: u64,
    tries: Tries,
    body: Option<Body>,
}

impl Resuming {
    pub(super) fn new(
        origin: Arc<dyn Origin>,
        stall: Duration,
        tries: Tries,
        object: PinnedObject<'_>,
        range: ByteRange,
    ) -> Self {
        Self {
            origin,
            stall,
            key: object.key.to_vec(),
            size: object.size,
            etag: object.etag.clone(),
            range,
            reached: range.start(),
            tries,
            body: None,
        }
    }

    /// Asks for what is still missing, until there is an answer.
    pub(super) async fn open(&mut self) -> Result<(), Error> {
        while self.body.is_none() {
            let rest = ByteRange::new(self.reached, self.range.end());
            let object = PinnedObject {
                key: &self.key,
                size: self.size,
                etag: &self.etag,
            };
            let answer = self.origin.read(object, rest);
            match self.tries.wait(self.stall, answer).await {
                Ok(body) => self.body = Some(body),
                Err(error) => self.tries.pause(error).await?,
            }
        }
        Ok(())
    }

    pub(super) fn into_stream(self) -> Body {
        stream::try_unfold(self, |mut this| async move {
            Ok(this.piece().await?.map(|piece| (piece, this)))
        })
        .boxed()
    }

    /// The next piece; `None` once the whole range was yielded.
    async fn piece(&mut self) -> Result<Option<Bytes>, Error> {
        if self.reached == self.range.end() {
            return self.end().await;
        }
        loop {
            self.open().await?;
            let failure = match self.pull().await {
                Ok(Some(piece)) if piece.is_empty() => continue,
                Ok(Some(piece)) => return self.accept(piece).map(Some),
                Ok(None) => self.truncated(self.reached - self.range.start()),
                Err(error) => error,
            };
            // The old connection is closed before a new one is asked for.
            self.body = None;
            self.tries.pause(failure).await?;
        }
    }

    /// What the body has next.
    async fn pull(&mut self) -> Result<Option<Bytes>, Error> {
        let Some(body) = &mut self.body else {
            return Ok(None);
        };
        let next = async { body.next().await.transpose() };
        self.tries.wait(self.stall, next).await
    }

    fn accept(&mut self, piece: Bytes) -> Result<Bytes, Error> {
        let end = self.reached + piece.len() as u64;
        if end > self.range.end() {
            return Err(self.truncated(end - self.range.start()));
        }
        self.reached = end;
        let earned = piece.len() as f64 / LEAST_RATE as f64;
        self.tries.progress(Duration::from_secs_f64(earned));
        Ok(piece)
    }

    /// Checks that the body ends where it should. Every byte is there: what else goes
    /// wrong with the connection now does not matter.
    async fn end(&mut self) -> Result<Option<Bytes>, Error> {
        while self.body.is_some() {
            match self.pull().await {
                Ok(Some(piece)) if piece.is_empty() => {}
                Ok(Some(piece)) => {
                    self.body = None;
                    return Err(self.truncated(self.range.len() + piece.len() as u64));
                }
                Ok(None) | Err(_) => self.body = None,
            }
        }
        Ok(None)
    }

    fn truncated(&self, got: u64) -> Error {
        Error::Truncated {
            what: self.tries.what.clone(),
            expected: self.range.len(),
            got,
        }
    }
}
