//! An origin that fails as it is told to, for tests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use forebay_core::ByteRange;
use futures::{StreamExt, TryStreamExt, stream};

use super::{Body, Error, Origin, Page, PageRequest, PinnedObject};

/// What happens to one request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Nothing.
    Pass,
    /// It is answered with this error.
    Fail(Error),
    /// The answer comes this much later.
    Delay(Duration),
    /// The answer never comes.
    Hang,
    /// The body stops after this many bytes, and the connection stays open.
    StallAfter(u64),
    /// The body ends after this many bytes.
    TruncateAfter(u64),
    /// The body fails after this many bytes.
    BreakAfter(u64, Error),
    /// The body carries this many bytes more than were asked for.
    Surplus(usize),
    /// The lowest bit of this byte of the body is wrong.
    FlipBit(u64),
}

/// A read that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadCall {
    /// The key.
    pub key: Vec<u8>,
    /// The range.
    pub range: ByteRange,
}

#[derive(Debug, Default)]
struct Script {
    reads: VecDeque<Fault>,
    pages: VecDeque<Fault>,
    always: Option<Fault>,
    calls: Vec<ReadCall>,
}

/// Passes requests on to the origin within, except for what the script says: each
/// request takes the next fault of its kind, and passes when there is none left.
#[derive(Debug)]
pub struct Faulty {
    inner: Arc<dyn Origin>,
    // Held for a push or a pop, never over an await.
    script: Mutex<Script>,
}

impl Faulty {
    /// An origin that does not fail yet.
    pub fn new(inner: Arc<dyn Origin>) -> Self {
        Self {
            inner,
            script: Mutex::default(),
        }
    }

    /// Adds faults for the next reads.
    pub fn on_reads(&self, faults: impl IntoIterator<Item = Fault>) {
        self.script().reads.extend(faults);
    }

    /// Adds faults for the next pages of listings.
    pub fn on_pages(&self, faults: impl IntoIterator<Item = Fault>) {
        self.script().pages.extend(faults);
    }

    /// Sets what happens to every request for which the script has nothing else;
    /// `None` lets them pass.
    pub fn always(&self, fault: Option<Fault>) {
        self.script().always = fault;
    }

    /// The reads so far, in the order in which they were asked for.
    pub fn reads(&self) -> Vec<ReadCall> {
        self.script().calls.clone()
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self, queue: impl FnOnce(&mut Script) -> &mut VecDeque<Fault>) -> Fault {
        let mut script = self.script();
        queue(&mut script)
            .pop_front()
            .or_else(|| script.always.clone())
            .unwrap_or(Fault::Pass)
    }
}

/// What happens before there is an answer.
async fn before(fault: &Fault) -> Result<(), Error> {
    match fault {
        Fault::Fail(error) => Err(error.clone()),
        Fault::Delay(time) => {
            tokio::time::sleep(*time).await;
            Ok(())
        }
        Fault::Hang => std::future::pending().await,
        Fault::Pass
        | Fault::StallAfter(_)
        | Fault::TruncateAfter(_)
        | Fault::BreakAfter(..)
        | Fault::Surplus(_)
        | Fault::FlipBit(_) => Ok(()),
    }
}

#[async_trait]
impl Origin for Faulty {
    fn identity(&self) -> &str {
        self.inner.identity()
    }

    async fn list(&self, request: PageRequest<'_>) -> Result<Page, Error> {
        let fault = self.next(|script| &mut script.pages);
        before(&fault).await?;
        self.inner.list(request).await
    }

    async fn read(&self, object: PinnedObject<'_>, range: ByteRange) -> Result<Body, Error> {
        self.script().calls.push(ReadCall {
            key: object.key.to_vec(),
            range,
        });
        let fault = self.next(|script| &mut script.reads);
        before(&fault).await?;
        let body = self.inner.read(object, range).await?;
        Ok(spoil(body, fault))
    }
}

fn spoil(body: Body, fault: Fault) -> Body {
    match fault {
        Fault::Pass | Fault::Fail(_) | Fault::Delay(_) | Fault::Hang => body,
        Fault::StallAfter(at) => first(body, at).chain(stream::pending()).boxed(),
        Fault::TruncateAfter(at) => first(body, at).boxed(),
        Fault::BreakAfter(at, error) => first(body, at)
            .chain(stream::once(async { Err(error) }))
            .boxed(),
        Fault::Surplus(len) => body
            .chain(stream::once(
                async move { Ok(Bytes::from(vec![0xee; len])) },
            ))
            .boxed(),
        Fault::FlipBit(at) => flip(body, at),
    }
}

/// The first `len` bytes of `body`.
fn first(body: Body, len: u64) -> Body {
    stream::try_unfold((body, len), |(mut body, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let Some(mut piece) = body.try_next().await? else {
            return Ok(None);
        };
        piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        let left = left - piece.len() as u64;
        Ok(Some((piece, (body, left))))
    })
    .boxed()
}

fn flip(body: Body, at: u64) -> Body {
    let mut position = 0;
    body.map_ok(move |piece| {
        let here = at
            .checked_sub(position)
            .and_then(|at| usize::try_from(at).ok());
        position += piece.len() as u64;
        match here {
            Some(here) if here < piece.len() => {
                let mut bytes = piece.to_vec();
                bytes[here] ^= 1;
                bytes.into()
            }
            _ => piece,
        }
    })
    .boxed()
}
