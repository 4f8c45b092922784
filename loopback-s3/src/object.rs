//! One object: its bytes, stored or computed, and what S3 says about it.

use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::Stream;
use s3s::StdError;
use s3s::stream::{ByteStream, RemainingLength};
use xxhash_rust::xxh3::{xxh3_128, xxh3_128_with_seed};

use crate::synthetic;

/// How much of a synthetic body is computed at once: large enough to make the calls
/// cheap, small enough to stay in the processor's cache until it is sent.
const PIECE: u64 = 256 << 10;

/// The bytes of an object.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Stored(Bytes),
    Synthetic { size: u64, seed: u64 },
}

impl Content {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Stored(bytes) => bytes.len() as u64,
            Self::Synthetic { size, .. } => *size,
        }
    }

    /// As S3's own for simple uploads, the tag follows from the content alone: the same
    /// bytes have the same tag in the next server, other bytes have another.
    fn etag(&self) -> u128 {
        match self {
            Self::Stored(bytes) => xxh3_128(bytes),
            Self::Synthetic { size, seed } => xxh3_128_with_seed(&size.to_le_bytes(), *seed),
        }
    }
}

/// One version of one object.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) content: Content,
    etag: u128,
    modified_secs: u64,
}

impl Object {
    /// An object written now.
    pub(crate) fn new(content: Content) -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        // Whole seconds, as in S3: a listing has room for more than a header has, and
        // the two must agree.
        Self {
            etag: content.etag(),
            content,
            modified_secs: now.as_secs(),
        }
    }

    /// The entity tag, without quotes.
    pub(crate) fn etag(&self) -> String {
        format!("{:032x}", self.etag)
    }

    pub(crate) fn modified(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.modified_secs)
    }
}

/// The body of a read: the bytes of a range, in pieces.
pub(crate) struct Pieces {
    content: Content,
    range: Range<u64>,
}

impl Pieces {
    /// `range` must lie within the content.
    pub(crate) fn new(content: Content, range: Range<u64>) -> Self {
        Self { content, range }
    }

    fn next_piece(&mut self) -> Option<Bytes> {
        let left = self.range.end - self.range.start;
        if left == 0 {
            return None;
        }
        let start = self.range.start;
        let piece = match &self.content {
            Content::Stored(bytes) => bytes.slice(start as usize..self.range.end as usize),
            Content::Synthetic { seed, .. } => {
                let mut piece = vec![0; left.min(PIECE) as usize];
                synthetic::fill(*seed, start, &mut piece);
                piece.into()
            }
        };
        self.range.start += piece.len() as u64;
        Some(piece)
    }
}

impl Stream for Pieces {
    type Item = Result<Bytes, StdError>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.get_mut().next_piece().map(Ok))
    }
}

impl ByteStream for Pieces {
    fn remaining_length(&self) -> RemainingLength {
        RemainingLength::new_exact((self.range.end - self.range.start) as usize)
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use futures::executor::block_on;

    use super::*;

    #[test]
    fn the_etag_follows_from_the_content() {
        let stored = |bytes: &'static str| Object::new(Content::Stored(bytes.into())).etag();
        let synthetic = |size, seed| Object::new(Content::Synthetic { size, seed }).etag();
        assert_eq!(stored("a"), stored("a"));
        assert_ne!(stored("a"), stored("b"));
        assert_ne!(synthetic(1, 1), synthetic(2, 1));
        assert_ne!(synthetic(1, 1), synthetic(1, 2));
    }

    #[test]
    fn pieces_of_a_synthetic_range_join_to_the_range() {
        let range = 3..3 * PIECE + 5;
        let content = Content::Synthetic {
            size: 4 * PIECE,
            seed: 9,
        };
        let pieces: Vec<_> = block_on(Pieces::new(content, range.clone()).collect());
        assert!(pieces.len() > 1);
        let joined: Vec<u8> = pieces
            .into_iter()
            .flat_map(|piece| piece.unwrap())
            .collect();
        let mut expected = vec![0; (range.end - range.start) as usize];
        synthetic::fill(9, range.start, &mut expected);
        assert!(joined == expected);
    }
}
