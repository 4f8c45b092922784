//! Sizes as a person writes and reads them.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// A number of bytes, written as `100GiB`, `1.5 TB` or `4096`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Size(pub u64);

/// A text that is no size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a size such as 100GiB, 1.5TB or 0")]
pub struct NotASize;

impl FromStr for Size {
    type Err = NotASize;

    fn from_str(text: &str) -> Result<Self, NotASize> {
        text.trim()
            .parse::<bytesize::ByteSize>()
            .map(|size| Self(size.0))
            .map_err(|_| NotASize)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bytesize::ByteSize(self.0).display().iec().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_and_decimal_units_are_told_apart() {
        assert_eq!("100GiB".parse(), Ok(Size(100 << 30)));
        assert_eq!("100 GB".parse(), Ok(Size(100_000_000_000)));
        assert_eq!("1.5KiB".parse(), Ok(Size(1536)));
        assert_eq!("0".parse(), Ok(Size(0)));
    }

    #[test]
    fn a_text_without_a_number_is_refused() {
        for text in ["", "lots", "GiB", "-1", "1 parsec"] {
            assert_eq!(text.parse::<Size>(), Err(NotASize), "{text:?}");
        }
    }

    #[test]
    fn a_size_prints_in_binary_units() {
        assert_eq!(Size(1536).to_string(), "1.5 KiB");
    }
}
