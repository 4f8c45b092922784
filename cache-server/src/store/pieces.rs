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
}

impl Pieces {
    /// Adds a piece at the end.
    pub fn push(&mut self, piece: Bytes) {
        self.crc.update(&piece);
        self.len += piece.len() as u64;
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
        self.crc.value()
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
}
