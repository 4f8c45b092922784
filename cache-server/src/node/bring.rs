//! Pieces of objects, brought for whoever plans what this node shall have.

use forebay_core::cache::CacheError;
use forebay_core::{ByteRange, ErrorKind, chunk};
use futures::StreamExt;

use super::NodeCache;
use super::warmup::FILES_AT_ONCE;
use crate::dataset::Target;

/// Whole chunks of an object.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    target: Target,
    range: ByteRange,
}

impl NodeCache {
    /// Brings `pieces` and says of each, in their order, how many bytes were not there
    /// before. With `only_look` nothing is fetched, and what is not there is an error.
    ///
    /// # Cancel safety
    /// Dropping the future stops the work; what was begun goes on and stays.
    pub(crate) async fn bring(
        &self,
        pieces: Vec<Piece>,
        only_look: bool,
    ) -> Vec<Result<u64, CacheError>> {
        let bring = |(at, piece): (usize, Piece)| async move {
            let brought = match only_look {
                true => self.look_for(&piece),
                false => self.bring_piece(&piece).await,
            };
            (at, brought)
        };
        let mut brought: Vec<_> = futures::stream::iter(pieces.into_iter().enumerate().map(bring))
            .buffer_unordered(FILES_AT_ONCE)
            .collect()
            .await;
        brought.sort_unstable_by_key(|(at, _)| *at);
        brought.into_iter().map(|(_, brought)| brought).collect()
    }

    async fn bring_piece(&self, piece: &Piece) -> Result<u64, CacheError> {
        let object = self.open_target(piece.target.clone());
        let was_here = object.lease.first_absent(piece.range).is_none();
        let chunks = chunk::covering(piece.range);
        self.bring_chunks(&object, chunks, &|_| ()).await?;
        Ok(if was_here { 0 } else { piece.range.len() })
    }

    fn look_for(&self, piece: &Piece) -> Result<u64, CacheError> {
        let lease = self.store().lease(piece.target.id, piece.target.size);
        match lease.first_not_present(chunk::covering(piece.range)) {
            None => Ok(0),
            Some(_) => {
                let message = "evicted again before the warm-up ended: the cache is too small";
                Err(CacheError::new(ErrorKind::NoSpace, message))
            }
        }
    }
}

impl Piece {
    /// A piece of `target`; `None` if `range` is no run of whole chunks of it.
    pub(crate) fn new(target: Target, range: ByteRange) -> Option<Self> {
        let at_a_chunk = |at: u64| at.is_multiple_of(chunk::CHUNK_SIZE);
        let (end, size) = (range.end(), target.size);
        let ends_well = end == size || (end < size && at_a_chunk(end));
        let is_piece = !range.is_empty() && at_a_chunk(range.start()) && ends_well;
        is_piece.then_some(Self { target, range })
    }

    /// The object.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Its bytes.
    pub(crate) fn range(&self) -> ByteRange {
        self.range
    }
}
