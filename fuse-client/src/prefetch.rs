//! Finding out from the reads of the past what will be read next.
//!
//! Nothing here fetches anything: ranges are advised to the cache, which decides what it
//! has room for. Everything is arithmetic, cheap enough to be done on every read.

use forebay_core::ByteRange;

mod neighbours;
mod sequence;
mod stride;

pub(crate) use neighbours::{Neighbours, Outlook};

use sequence::Sequence;
use stride::Stride;

/// What is known of how one open file is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pattern {
    sequence: Sequence,
    stride: Stride,
}

impl Pattern {
    /// Notes that `range` of a file of `size` bytes is read, and calls `advise` with what
    /// should be fetched ahead of it. `advise` says how many bytes of that are taken note
    /// of; what is not comes again.
    pub(crate) fn observe(
        &mut self,
        range: ByteRange,
        size: u64,
        mut advise: impl FnMut(ByteRange) -> u64,
    ) {
        if let Some(window) = self.sequence.observe(range, size) {
            let taken = advise(window);
            if taken < window.len() {
                self.sequence.cut(window, taken);
            }
        }
        let advise = |step: ByteRange| advise(step) == step.len();
        self.stride.observe(range, size, advise);
    }
}
