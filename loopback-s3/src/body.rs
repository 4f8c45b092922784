//! Bodies on their way out: counted, and spoiled where a fault says so.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use hyper::body::{Body, Frame, SizeHint};
use s3s::StdError;
use tokio::time::sleep;

use crate::stats::Counters;
use crate::target::Operation;

/// How long hyper is given to send what it holds before the connection is closed.
const FLUSH: Duration = Duration::from_millis(20);
/// How often a slow body sends something.
const TICKS_PER_SECOND: u64 = 20;

/// What goes wrong with a body.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Spoil {
    TruncateAfter(u64),
    StallAfter(u64, Duration),
    Slow(u64),
    WrongByte(u64),
}

/// The connection is to be closed, as a fault says.
#[derive(Debug, thiserror::Error)]
#[error("closed the connection on purpose")]
pub(crate) struct HangUp;

type Pieces = BoxStream<'static, Result<Bytes, StdError>>;

/// A body that is counted as it is sent.
pub(crate) struct Outgoing {
    pieces: Pieces,
    /// What the head of the response says, whatever becomes of the body.
    declared: SizeHint,
    operation: Operation,
    counters: Arc<Counters>,
}

impl Outgoing {
    pub(crate) fn new(
        body: s3s::Body,
        spoil: Option<Spoil>,
        operation: Operation,
        counters: Arc<Counters>,
    ) -> Self {
        let declared = Body::size_hint(&body);
        let pieces = match spoil {
            None => body.boxed(),
            Some(spoil) => Spoiled::new(body, spoil).into_stream(),
        };
        Self {
            pieces,
            declared,
            operation,
            counters,
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let piece = ready!(self.pieces.as_mut().poll_next(cx));
        if let Some(Ok(piece)) = &piece {
            self.counters.sent(self.operation, piece.len());
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        self.declared
    }

    fn is_end_stream(&self) -> bool {
        self.declared.exact() == Some(0)
    }
}

/// A body that something goes wrong with.
struct Spoiled {
    body: s3s::Body,
    /// Read from the body and not sent yet.
    held: Bytes,
    sent: u64,
    spoil: Spoil,
}

impl Spoiled {
    fn new(body: s3s::Body, spoil: Spoil) -> Self {
        Self {
            body,
            held: Bytes::new(),
            sent: 0,
            spoil,
        }
    }

    fn into_stream(self) -> Pieces {
        stream::unfold(self, |mut this| async move {
            let piece = this.next_piece().await.transpose()?;
            Some((piece, this))
        })
        .boxed()
    }

    async fn next_piece(&mut self) -> Result<Option<Bytes>, StdError> {
        match self.spoil {
            Spoil::TruncateAfter(limit) => {
                if self.sent == limit {
                    sleep(FLUSH).await;
                    return Err(HangUp.into());
                }
                self.take(limit - self.sent).await
            }
            Spoil::StallAfter(limit, pause) => {
                if self.sent == limit {
                    sleep(pause).await;
                }
                let most = if self.sent < limit {
                    limit - self.sent
                } else {
                    u64::MAX
                };
                self.take(most).await
            }
            Spoil::Slow(bytes_per_second) => {
                sleep(Duration::from_secs(1) / TICKS_PER_SECOND as u32).await;
                self.take((bytes_per_second / TICKS_PER_SECOND).max(1))
                    .await
            }
            Spoil::WrongByte(position) => {
                let start = self.sent;
                let piece = self.take(u64::MAX).await?;
                Ok(piece.map(|piece| flip(piece, position.checked_sub(start))))
            }
        }
    }

    /// The next bytes of the body: at least one and at most `most`, none at its end.
    async fn take(&mut self, most: u64) -> Result<Option<Bytes>, StdError> {
        while self.held.is_empty() {
            match self.body.next().await.transpose()? {
                Some(piece) => self.held = piece,
                None => return Ok(None),
            }
        }
        let len = usize::try_from(most)
            .unwrap_or(usize::MAX)
            .min(self.held.len());
        self.sent += len as u64;
        Ok(Some(self.held.split_to(len)))
    }
}

/// `piece` with another byte at `position`, if it has one there.
fn flip(piece: Bytes, position: Option<u64>) -> Bytes {
    let position = position.and_then(|position| usize::try_from(position).ok());
    let Some(position) = position.filter(|position| *position < piece.len()) else {
        return piece;
    };
    let mut piece = BytesMut::from(piece);
    piece[position] ^= 0xff;
    piece.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn collect(spoil: Spoil) -> (Vec<u8>, bool) {
        let body = s3s::Body::from(b"0123456789".to_vec());
        let counters = Arc::new(Counters::default());
        let mut outgoing = Outgoing::new(
            body,
            Some(spoil),
            Operation::GetObject,
            Arc::clone(&counters),
        );
        assert_eq!(outgoing.size_hint().exact(), Some(10));
        let mut bytes = Vec::new();
        let mut failed = false;
        while let Some(piece) = outgoing.pieces.next().await {
            match piece {
                Ok(piece) => bytes.extend_from_slice(&piece),
                Err(_) => {
                    failed = true;
                    break;
                }
            }
        }
        (bytes, failed)
    }

    #[tokio::test]
    async fn each_spoil_does_to_the_body_what_it_says() {
        assert_eq!(
            collect(Spoil::TruncateAfter(3)).await,
            (b"012".to_vec(), true)
        );
        assert_eq!(collect(Spoil::TruncateAfter(0)).await, (Vec::new(), true));
        let pause = Duration::from_millis(1);
        assert_eq!(
            collect(Spoil::StallAfter(3, pause)).await,
            (b"0123456789".to_vec(), false)
        );
        assert_eq!(
            collect(Spoil::Slow(100)).await,
            (b"0123456789".to_vec(), false)
        );
        assert_eq!(collect(Spoil::WrongByte(1)).await.0, b"0\xce23456789");
    }
}
