//! CRC32C: what guards every cached chunk.

use crc_fast::{CrcAlgorithm, Digest};

/// The CRC32C (Castagnoli) of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// The CRC32C of bytes that come one after the other.
#[derive(Clone, Debug)]
pub struct Crc32c(Digest);

impl Default for Crc32c {
    fn default() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }
}

impl Crc32c {
    /// Takes in what comes next.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of what came so far.
    pub fn value(&self) -> u32 {
        self.0.finalize() as u32
    }
}

/// The CRC32C of two byte strings one behind the other, from the CRC32C of each and the
/// length of the second. The bytes themselves are not needed.
pub fn crc32c_joined(first: u32, second: u32, second_len: u64) -> u32 {
    let algorithm = CrcAlgorithm::Crc32Iscsi;
    crc_fast::checksum_combine(algorithm, first.into(), second.into(), second_len) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_join_like_their_bytes() {
        let bytes: Vec<u8> = (0..5000_u32).map(|n| ((n * 31) >> 3) as u8).collect();
        for cut in [0, 1, 4096, 4999, 5000] {
            let (first, second) = bytes.split_at(cut);
            let joined = crc32c_joined(crc32c(first), crc32c(second), second.len() as u64);
            assert_eq!(joined, crc32c(&bytes), "cut at {cut}");
        }
    }

    #[test]
    fn the_check_value_of_the_catalogue_is_met() {
        // "123456789" is the check input of the CRC catalogue (CRC-32/ISCSI).
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn bytes_hash_alike_in_one_or_in_pieces() {
        let mut crc = Crc32c::default();
        for piece in [&b"1234"[..], b"", b"56789"] {
            crc.update(piece);
        }
        assert_eq!(crc.value(), crc32c(b"123456789"));
    }
}
