//! What a dataset version and a place in it are called.

use std::fmt;
use std::str::FromStr;

/// A dataset version: the content hash (xxh3, 128 bits) of its manifest.
///
/// The same objects under the same sources give the same version, in whatever order
/// they were listed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VersionId([u8; 16]);

impl VersionId {
    /// Returns the 16 bytes of the id.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Rebuilds an id from its 16 bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for VersionId {
    /// Prints 32 lower-case hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VersionId({self})")
    }
}

/// The text is not the id of a dataset version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a version is 32 hex digits, not {text:?}")]
pub struct ParseVersionError {
    /// What was given.
    pub text: String,
}

impl FromStr for VersionId {
    type Err = ParseVersionError;

    /// Reads 32 hex digits, in either case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseVersionError {
            text: text.to_owned(),
        };
        let digits = text.as_bytes();
        if digits.len() != 32 {
            return Err(wrong());
        }
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let high = (pair[0] as char).to_digit(16).ok_or_else(wrong)?;
            let low = (pair[1] as char).to_digit(16).ok_or_else(wrong)?;
            *byte = (high * 16 + low) as u8;
        }
        Ok(Self(bytes))
    }
}

/// The position of an entry in a manifest.
///
/// Positions are dense, from 0 up to, not including, the manifest's length, and mean
/// the same in every process that opens the same version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId(pub u32);

impl EntryId {
    /// The root directory of the tree.
    pub const ROOT: Self = Self(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_version_reads_back() {
        let version = VersionId::from_bytes(std::array::from_fn(|i| (i * 17) as u8));
        assert_eq!(version.to_string(), "00112233445566778899aabbccddeeff");
        assert_eq!(version.to_string().parse(), Ok(version));
        assert_eq!(version.to_string().to_uppercase().parse(), Ok(version));
    }

    #[test]
    fn text_that_is_no_version_is_refused() {
        for text in ["", "12", &"g".repeat(32), &"0".repeat(33), &"é".repeat(16)] {
            assert!(text.parse::<VersionId>().is_err(), "{text:?}");
        }
    }
}
