//! How values of the framed protocols are written: little-endian numbers one behind the
//! other, lengths before what is long.
//!
//! What arrives comes from another process and is believed in nothing: each length is
//! held against what is left and against a limit before anything is allocated for it.

use bytes::BufMut;
use forebay_core::{ByteRange, ErrorKind};

/// Why the payload of a frame is not a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It ends before its last field does.
    #[error("the message ends within {field}")]
    Truncated {
        /// The field.
        field: &'static str,
    },
    /// There is something behind its last field.
    #[error("{extra} bytes behind the end of the message")]
    Trailing {
        /// How many.
        extra: usize,
    },
    /// A list or text is longer than its limit.
    #[error("{field} has a length of {len}, the limit is {most}")]
    TooLong {
        /// The field.
        field: &'static str,
        /// Its length.
        len: usize,
        /// The limit.
        most: usize,
    },
    /// A field has a value that means nothing.
    #[error("{field} cannot be {value}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// A text is not UTF-8.
    #[error("{field} is not text")]
    NotText {
        /// The field.
        field: &'static str,
    },
    /// No message has this number.
    #[error("no message has the number {kind}")]
    UnknownKind {
        /// The number.
        kind: u8,
    },
}

/// What decoding returns.
pub type Result<T> = std::result::Result<T, DecodeError>;

/// Reads fields from a payload, first to last.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields of `payload`.
    pub const fn new(payload: &'a [u8]) -> Self {
        Self { rest: payload }
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] in the name of `field`; so do all that follow.
    pub fn bytes(&mut self, field: &'static str, len: usize) -> Result<&'a [u8]> {
        let Some((head, rest)) = self.rest.split_at_checked(len) else {
            return Err(DecodeError::Truncated { field });
        };
        self.rest = rest;
        Ok(head)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N]> {
        let bytes = self.bytes(field, N)?;
        bytes
            .try_into()
            .map_err(|_| DecodeError::Truncated { field })
    }

    /// A number of one byte.
    pub fn u8(&mut self, field: &'static str) -> Result<u8> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    /// A number of two bytes.
    pub fn u16(&mut self, field: &'static str) -> Result<u16> {
        self.array(field).map(u16::from_le_bytes)
    }

    /// A number of four bytes.
    pub fn u32(&mut self, field: &'static str) -> Result<u32> {
        self.array(field).map(u32::from_le_bytes)
    }

    /// A number of eight bytes.
    pub fn u64(&mut self, field: &'static str) -> Result<u64> {
        self.array(field).map(u64::from_le_bytes)
    }

    /// Yes or no.
    pub fn truth(&mut self, field: &'static str) -> Result<bool> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(DecodeError::Invalid {
                field,
                value: value.into(),
            }),
        }
    }

    /// The start and the end of a range; an end before the start is no range.
    pub fn range(&mut self, field: &'static str) -> Result<ByteRange> {
        let (start, end) = (self.u64(field)?, self.u64(field)?);
        if end < start {
            return Err(DecodeError::Invalid { field, value: end });
        }
        Ok(ByteRange::new(start, end))
    }

    /// The number of elements of a list, at most `most`.
    pub fn count(&mut self, field: &'static str, most: usize) -> Result<usize> {
        let len = self.u32(field)? as usize;
        if len > most {
            return Err(DecodeError::TooLong { field, len, most });
        }
        Ok(len)
    }

    /// Bytes behind their length, at most `most`.
    pub fn counted(&mut self, field: &'static str, most: usize) -> Result<&'a [u8]> {
        let len = self.count(field, most)?;
        self.bytes(field, len)
    }

    /// A text behind its length, at most `most` bytes.
    pub fn text(&mut self, field: &'static str, most: usize) -> Result<&'a str> {
        let bytes = self.counted(field, most)?;
        std::str::from_utf8(bytes).map_err(|_| DecodeError::NotText { field })
    }

    /// The class of an error, by its name; a class that this program does not know is
    /// [`ErrorKind::Internal`], so that a newer peer can be understood.
    pub fn error_kind(&mut self, field: &'static str) -> Result<ErrorKind> {
        let name = self.text(field, 64)?;
        let known = ErrorKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == name);
        Ok(known.unwrap_or(ErrorKind::Internal))
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Says that there is no field left.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`].
    pub fn end(self) -> Result<()> {
        match self.rest.len() {
            0 => Ok(()),
            extra => Err(DecodeError::Trailing { extra }),
        }
    }
}

/// Writes fields as [`Fields`] reads them.
pub trait PutFields: BufMut {
    /// Yes or no.
    fn put_truth(&mut self, truth: bool) {
        self.put_u8(truth.into());
    }

    /// The start and the end of a range.
    fn put_range(&mut self, range: ByteRange) {
        self.put_u64_le(range.start());
        self.put_u64_le(range.end());
    }

    /// The length of a list.
    fn put_count(&mut self, len: usize) {
        self.put_u32_le(u32::try_from(len).unwrap_or(u32::MAX));
    }

    /// Bytes behind their length.
    fn put_counted(&mut self, bytes: &[u8]) {
        self.put_count(bytes.len());
        self.put_slice(bytes);
    }

    /// A text behind its length, cut to `most` bytes where a character ends.
    fn put_text(&mut self, text: &str, most: usize) {
        let end = text.floor_char_boundary(most);
        self.put_counted(&text.as_bytes()[..end]);
    }

    /// The class of an error.
    fn put_error_kind(&mut self, kind: ErrorKind) {
        self.put_counted(kind.as_str().as_bytes());
    }
}

impl<T: BufMut + ?Sized> PutFields for T {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_read() {
        let mut payload = Vec::new();
        payload.put_truth(true);
        payload.put_range(ByteRange::new(3, 9));
        payload.put_text("abc", 10);
        payload.put_error_kind(ErrorKind::Stale);
        payload.put_u64_le(7);
        let mut fields = Fields::new(&payload);
        assert_eq!(fields.truth("a"), Ok(true));
        assert_eq!(fields.range("b"), Ok(ByteRange::new(3, 9)));
        assert_eq!(fields.text("c", 3), Ok("abc"));
        assert_eq!(fields.error_kind("d"), Ok(ErrorKind::Stale));
        assert_eq!(fields.u64("e"), Ok(7));
        assert_eq!(fields.end(), Ok(()));
    }

    #[test]
    fn a_length_is_held_against_its_limit_and_against_what_is_left() {
        let mut payload = Vec::new();
        payload.put_count(u32::MAX as usize);
        assert!(matches!(
            Fields::new(&payload).counted("list", 8),
            Err(DecodeError::TooLong { most: 8, .. })
        ));
        assert_eq!(
            Fields::new(&payload).counted("list", usize::MAX),
            Err(DecodeError::Truncated { field: "list" })
        );
        assert_eq!(
            Fields::new(&payload).end(),
            Err(DecodeError::Trailing { extra: 4 })
        );
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        let mut payload = Vec::new();
        payload.put_text("aé", 2);
        assert_eq!(Fields::new(&payload).text("t", 2), Ok("a"));
    }

    #[test]
    fn values_that_mean_nothing_are_refused() {
        assert!(Fields::new(&[2]).truth("t").is_err());
        assert!(Fields::new(&[1, 0, 0, 0, 0xff]).text("t", 9).is_err());
        let mut backwards = Vec::new();
        backwards.put_u64_le(9);
        backwards.put_u64_le(3);
        assert!(Fields::new(&backwards).range("r").is_err());
        let mut unknown = Vec::new();
        unknown.put_counted(b"of_the_future");
        assert_eq!(
            Fields::new(&unknown).error_kind("k"),
            Ok(ErrorKind::Internal)
        );
    }
}
