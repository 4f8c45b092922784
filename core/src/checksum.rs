//! CRC32C: what guards every cached chunk.

use crc_fast::{CrcAlgorithm, Digest};

/// The CRC32C (Castagnoli) of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// The CRC32C of the concatenation of `pieces`, which are not copied together.
pub fn crc32c_of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    for piece in pieces {
        digest.update(piece);
    }
    digest.finalize() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_catalogue_is_met() {
        // "123456789" is the check input of the CRC catalogue (CRC-32/ISCSI).
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn pieces_hash_like_their_concatenation() {
        assert_eq!(
            crc32c_of([&b"1234"[..], b"", b"56789"]),
            crc32c(b"123456789")
        );
    }
}
