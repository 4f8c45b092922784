//! `encoding-type=url` and continuation tokens.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What S3 leaves as it is, a space apart.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'*')
    .remove(b'/')
    .remove(b' ');

/// Encodes text as S3 does when `encoding-type=url` is asked for: as in a form, so a
/// space becomes `+`, but with `/` as it is.
pub(crate) fn form(text: &str) -> String {
    utf8_percent_encode(text, ENCODED)
        .to_string()
        .replace(' ', "+")
}

/// Where a listing goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Position {
    /// At the first key.
    #[default]
    Start,
    /// After this key.
    AfterKey(String),
    /// After every key that begins with this common prefix.
    AfterPrefix(String),
}

impl Position {
    /// The continuation token for this position: opaque, and safe in XML and in a URL.
    pub(crate) fn token(&self) -> String {
        let (kind, text) = match self {
            Self::Start => ('s', ""),
            Self::AfterKey(key) => ('k', key.as_str()),
            Self::AfterPrefix(prefix) => ('p', prefix.as_str()),
        };
        format!("{kind}{}", utf8_percent_encode(text, NON_ALPHANUMERIC))
    }

    /// The position that a token stands for; `None` if the token is not one of ours.
    pub(crate) fn from_token(token: &str) -> Option<Self> {
        let kind = token.chars().next()?;
        let text = percent_decode_str(&token[kind.len_utf8()..])
            .decode_utf8()
            .ok()?
            .into_owned();
        match kind {
            's' => Some(Self::Start),
            'k' => Some(Self::AfterKey(text)),
            'p' => Some(Self::AfterPrefix(text)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_encoding_is_that_of_s3() {
        assert_eq!(form("a/b c+d"), "a/b+c%2Bd");
        assert_eq!(form("test_file(3).png"), "test_file%283%29.png");
        assert_eq!(form("é\n\u{1}"), "%C3%A9%0A%01");
    }

    #[test]
    fn a_token_stands_for_its_position() {
        for position in [
            Position::Start,
            Position::AfterKey("a//b\n%é".into()),
            Position::AfterPrefix("a/".into()),
        ] {
            assert_eq!(Position::from_token(&position.token()), Some(position));
        }
        assert_eq!(Position::from_token("é"), None);
        assert_eq!(Position::from_token(""), None);
    }
}
