//! Under which name a descriptor is held.

use std::fmt;
use std::str::FromStr;

use crate::limits;

/// The name of a mount at its keeper: letters, digits, `.`, `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// A text that is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no name: 1 to {} letters, digits, dots, underscores or hyphens",
    limits::NAME
)]
pub struct InvalidName {
    /// The beginning of the text.
    pub text: String,
}

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidName> {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
        if bytes.is_empty() || bytes.len() > limits::NAME || !bytes.iter().all(is_plain) {
            let shown = &bytes[..bytes.len().min(limits::NAME)];
            return Err(InvalidName {
                text: String::from_utf8_lossy(shown).into_owned(),
            });
        }
        Ok(Self(String::from_utf8_lossy(bytes).into_owned()))
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::from_bytes(text.as_bytes())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_plain() {
        for good in [
            "a",
            "0123456789abcdef",
            "pvc-1_x.y",
            &"n".repeat(limits::NAME),
        ] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
        for bad in ["", "a/b", "a b", "ä", "a\0", &"n".repeat(limits::NAME + 1)] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
    }
}
