//! What proves that an answer is of the pinned version.

use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};
use forebay_core::ETag;
use http::HeaderMap;
use http::header::{ETAG, LAST_MODIFIED};

/// Marks the stand-in for an ETag where an origin lists none.
const MODIFIED: &str = "modified-";

/// The ETag to keep for an object, as listed.
///
/// An origin without ETags still tells when an object was written: that second then is
/// the validator, compared with `Last-Modified` at each read.
pub(super) fn listed(etag: Option<&str>, modified: SystemTime) -> ETag {
    match etag {
        Some(etag) if !etag.is_empty() => ETag::new(etag),
        _ => ETag::new(format!("{MODIFIED}{}", seconds(modified))),
    }
}

/// The pinned version, in the terms in which an answer can be compared with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Validator<'a> {
    /// Can be sent as `If-Match`.
    Strong(&'a str),
    /// Can only be compared. A weak ETag (`W/"…"`) never satisfies `If-Match` (RFC 9110,
    /// 13.1.1), and a server that forgets the quotes does not recognise its own.
    Compared(&'a str),
    /// The second of the last modification.
    Modified(i64),
    /// Only the size is known.
    None,
}

impl<'a> Validator<'a> {
    pub(super) fn of(etag: &'a ETag) -> Self {
        let text = etag.as_str();
        if let Some(seconds) = text.strip_prefix(MODIFIED).and_then(|s| s.parse().ok()) {
            return Self::Modified(seconds);
        }
        match text {
            "" => Self::None,
            _ if text.starts_with('"') => Self::Strong(text),
            _ => Self::Compared(text),
        }
    }

    /// The value for `If-Match`, if it can do anything.
    pub(super) fn if_match(self) -> Option<&'a str> {
        match self {
            Self::Strong(etag) => Some(etag),
            Self::Compared(_) | Self::Modified(_) | Self::None => None,
        }
    }

    /// Whether an answer with these marks may be of the pinned version. A mark that
    /// the answer lacks proves nothing against it: `If-Match` and size remain.
    pub(super) fn accepts(self, etag: Option<&str>, modified: Option<SystemTime>) -> bool {
        match self {
            // Some servers quote the ETag in one place and not in the other.
            Self::Strong(pinned) | Self::Compared(pinned) => {
                etag.is_none_or(|etag| etag.trim_matches('"') == pinned.trim_matches('"'))
            }
            Self::Modified(pinned) => modified.is_none_or(|modified| seconds(modified) == pinned),
            Self::None => true,
        }
    }

    /// [`accepts`](Self::accepts) for the headers of an HTTP answer.
    pub(super) fn accepts_headers(self, headers: &HeaderMap) -> bool {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let modified = text(LAST_MODIFIED)
            .and_then(|date| DateTime::parse_from_rfc2822(date).ok())
            .map(|date| SystemTime::from(date.with_timezone(&Utc)));
        self.accepts(text(ETAG), modified)
    }
}

fn seconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_strong_etag_is_sent_and_compared_without_its_quotes() {
        let etag = listed(Some("\"abc\""), at(1));
        let validator = Validator::of(&etag);
        assert_eq!(validator.if_match(), Some("\"abc\""));
        assert!(validator.accepts(Some("abc"), None));
        assert!(validator.accepts(None, None));
        assert!(!validator.accepts(Some("\"abd\""), None));
    }

    #[test]
    fn a_weak_or_unquoted_etag_is_compared_and_not_sent() {
        for (etag, other) in [("W/\"abc\"", "W/\"abd\""), ("abc", "abd")] {
            let etag = ETag::new(etag);
            let validator = Validator::of(&etag);
            assert_eq!(validator.if_match(), None);
            assert!(validator.accepts(Some(etag.as_str()), None));
            assert!(!validator.accepts(Some(other), None));
        }
    }

    #[test]
    fn without_an_etag_the_second_of_the_last_change_is_compared() {
        for missing in [None, Some("")] {
            let etag = listed(missing, at(1_445_412_480));
            let validator = Validator::of(&etag);
            assert_eq!(validator, Validator::Modified(1_445_412_480));
            let mut headers = HeaderMap::new();
            let same = "Wed, 21 Oct 2015 07:28:00 GMT".parse().unwrap();
            headers.insert(LAST_MODIFIED, same);
            assert!(validator.accepts_headers(&headers));
            let later = "Wed, 21 Oct 2015 07:28:01 GMT".parse().unwrap();
            headers.insert(LAST_MODIFIED, later);
            assert!(!validator.accepts_headers(&headers));
        }
    }
}
