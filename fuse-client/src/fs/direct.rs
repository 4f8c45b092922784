//! Whether a file that is still being fetched is read past the page cache.
//!
//! The bytes of such a file go to the cache's own file, and so through the page cache
//! once. Read by way of the mounted file's pages they would be there twice, and the
//! second copy is useless as soon as the kernel reads the cache's file by itself. Past
//! the page cache, each read of the program is a request, so this suits programs that
//! read in large pieces; if a mount's readers prove not to, it stops.

use std::sync::atomic::{AtomicU64, Ordering};

/// Smaller files are there with the first read.
const FROM_SIZE: u64 = 8 << 20;

/// A read that is worth a request: the copy takes as long as the request does.
const LARGE_READ: u64 = 64 << 10;

/// Small reads that are borne with, however few large ones there are.
const PATIENCE: u64 = 256;

/// How the direct reads of one mount have been.
#[derive(Debug, Default)]
pub(crate) struct DirectReads {
    small: AtomicU64,
    large: AtomicU64,
}

impl DirectReads {
    /// Notes a read of `len` bytes.
    pub(crate) fn observe(&self, len: u64) {
        let count = if len < LARGE_READ {
            &self.small
        } else {
            &self.large
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a file of `size` bytes, of which some are missing, should be opened so.
    pub(crate) fn suit(&self, size: u64) -> bool {
        let (small, large) = (
            self.small.load(Ordering::Relaxed),
            self.large.load(Ordering::Relaxed),
        );
        size >= FROM_SIZE && small <= PATIENCE + 4 * large
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_in_small_pieces_get_the_page_cache_back() {
        let reads = DirectReads::default();
        assert!(reads.suit(1 << 30));
        assert!(!reads.suit(1 << 20));
        (0..=PATIENCE).for_each(|_| reads.observe(4096));
        assert!(!reads.suit(1 << 30));
        (0..PATIENCE).for_each(|_| reads.observe(1 << 20));
        assert!(reads.suit(1 << 30));
    }
}
