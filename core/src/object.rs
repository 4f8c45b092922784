//! What one immutable object of an origin is called.

use std::fmt;

use xxhash_rust::xxh3::Xxh3;

/// The validator of one version of an object, exactly as the origin gave it
/// (quotes and `W/` included), so that it can be sent back in `If-Match`.
///
/// For a directory source it is `inode-size-mtime` of the file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ETag(String);

impl ETag {
    /// Wraps a validator without changing it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the validator as the origin gave it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The identity of an object's content: origin, key, ETag and size.
///
/// Two dataset versions that hold the same object share its cached bytes, because
/// the bytes are filed under this id and not under a path or a version.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId([u8; 16]);

impl ObjectId {
    /// Derives the id of the object `key` of `origin` in the version `etag`.
    ///
    /// `origin` names the place, not the way there: two mounts of one bucket with
    /// different credentials share their cached bytes.
    pub fn derive(origin: &str, key: &[u8], etag: &ETag, size: u64) -> Self {
        let mut hash = Xxh3::new();
        // Lengths first, so that no two field lists run together to the same bytes.
        for field in [origin.as_bytes(), key, etag.as_str().as_bytes()] {
            hash.update(&(field.len() as u64).to_le_bytes());
            hash.update(field);
        }
        hash.update(&size.to_le_bytes());
        Self(hash.digest128().to_le_bytes())
    }

    /// Returns the 16 bytes of the id.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Rebuilds an id from its 16 bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_takes_part_in_the_identity() {
        let base = ObjectId::derive("s3://b", b"k", &ETag::new("\"e\""), 1);
        assert_eq!(
            base,
            ObjectId::derive("s3://b", b"k", &ETag::new("\"e\""), 1)
        );
        assert_ne!(
            base,
            ObjectId::derive("s3://c", b"k", &ETag::new("\"e\""), 1)
        );
        assert_ne!(
            base,
            ObjectId::derive("s3://b", b"l", &ETag::new("\"e\""), 1)
        );
        assert_ne!(
            base,
            ObjectId::derive("s3://b", b"k", &ETag::new("\"f\""), 1)
        );
        assert_ne!(
            base,
            ObjectId::derive("s3://b", b"k", &ETag::new("\"e\""), 2)
        );
        assert_ne!(
            ObjectId::derive("s3://ba", b"b", &ETag::new("e"), 1),
            ObjectId::derive("s3://b", b"ab", &ETag::new("e"), 1)
        );
    }

    #[test]
    fn an_id_prints_as_32_hex_digits() {
        assert_eq!(
            ObjectId::from_bytes([0xab; 16]).to_string(),
            "ab".repeat(16)
        );
    }
}
