//! Bytes as they arrived: in pieces, not copied together, with their checksum.

use bytes::Bytes;
use forebay_core::checksum::Crc32c;

/// Pieces that lie one behind the other.
///
/// Each is summed up when it is added: what has just arrived is still in the processor's
/// cache, a chunk later it is not.
#[derive(Debug, Default)]
pub struct Pieces {
    pieces: Vec<Bytes>,
    len: u64,
    crc: Crc32c,
    /// The checksum of the only piece, which came with it and is not in `crc`.
    given: Option<u32>,
}

impl Pieces {
    /// Adds a piece at the end.
    pub fn push(&mut self, piece: Bytes) {
        if self.given.take().is_some() {
            self.pieces.iter().for_each(|piece| self.crc.update(piece));
        }
        self.crc.update(&piece);
        self.len += piece.len() as u64;
        self.pieces.push(piece);
    }

    /// The same for a piece whose CRC32C was compared when it arrived: if it is all there
    /// will be, nobody needs to look at its bytes again.
    pub fn push_checked(&mut self, piece: Bytes, crc: u32) {
        if !self.pieces.is_empty() {
            return self.push(piece);
        }
        self.given = Some(crc);
        self.len = piece.len() as u64;
        self.pieces.push(piece);
    }

    /// The bytes of all.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The CRC32C of all, one behind the other.
    pub fn crc(&self) -> u32 {
        self.given.unwrap_or_else(|| self.crc.value())
    }

    /// Each by itself.
    pub fn as_slice(&self) -> &[Bytes] {
        &self.pieces
    }

    /// All in one.
    pub fn join(&self) -> Bytes {
        match &self.pieces[..] {
            [whole] => whole.clone(),
            pieces => pieces.concat().into(),
        }
    }
}

impl FromIterator<Bytes> for Pieces {
    fn from_iter<I: IntoIterator<Item = Bytes>>(pieces: I) -> Self {
        let mut all = Self::default();
        pieces.into_iter().for_each(|piece| all.push(piece));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_count_and_hash_like_what_they_make_up() {
        let parts = [&b"1234"[..], b"", b"56789"];
        let pieces: Pieces = parts.into_iter().map(Bytes::from_static).collect();
        assert_eq!(pieces.len(), 9);
        assert_eq!(pieces.join(), "123456789");
        assert_eq!(pieces.crc(), forebay_core::checksum::crc32c(b"123456789"));
        assert!(Pieces::default().is_empty());
    }

    #[test]
    fn a_given_checksum_counts_until_more_is_added() {
        let crc = forebay_core::checksum::crc32c;
        let mut pieces = Pieces::default();
        pieces.push_checked(Bytes::from_static(b"1234"), crc(b"1234"));
        assert_eq!((pieces.crc(), pieces.len()), (crc(b"1234"), 4));
        pieces.push_checked(Bytes::from_static(b"567"), crc(b"567"));
        pieces.push(Bytes::from_static(b"89"));
        assert_eq!((pieces.crc(), pieces.len()), (crc(b"123456789"), 9));
    }
}
