//! What an S3 server's answer means.

use std::time::Duration;

use forebay_core::ByteRange;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};

use super::xml;
use crate::origin::validator::Validator;
use crate::origin::{Error, PinnedObject};

/// Codes with which servers ask for fewer requests, besides the status 429.
const SLOW_DOWN: [&str; 5] = [
    "SlowDown",
    "SlowDownRead",
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
];

/// Codes of 400 answers that mean the credentials and not the request.
const BAD_CREDENTIALS: [&str; 3] = ["ExpiredToken", "InvalidToken", "TokenRefreshRequired"];

/// An answer that is not a success.
#[derive(Debug)]
pub(super) struct Refusal<'a> {
    /// The status.
    pub(super) status: StatusCode,
    /// The headers.
    pub(super) headers: &'a HeaderMap,
    /// The body, or its beginning: an error document, or something else.
    pub(super) body: &'a [u8],
}

impl Refusal<'_> {
    /// The error for `what`, an object or bucket.
    ///
    /// Only the code of the error document is repeated: other parts of it carry the
    /// signed request and, for an expired one, the session token.
    pub(super) fn into_error(self, what: &str, region: &str) -> Error {
        let what = what.to_owned();
        let code = xml::error_code(self.body).unwrap_or_default();
        if let Some(reason) = self.other_region(region) {
            return Error::Protocol { what, reason };
        }
        match self.status.as_u16() {
            400 if BAD_CREDENTIALS.contains(&code.as_str()) => {
                Error::Forbidden { what, reason: code }
            }
            401 | 403 => Error::Forbidden {
                what,
                reason: self.named(&code),
            },
            404 if code == "NoSuchBucket" => Error::NotFound {
                what: format!("the bucket of {what}"),
            },
            404 => Error::NotFound { what },
            412 => Error::Changed { what },
            416 => Error::OutOfRange { what },
            429 => Error::Throttled {
                what,
                after: retry_after(self.headers),
            },
            503 if SLOW_DOWN.contains(&code.as_str()) || self.headers.contains_key(RETRY_AFTER) => {
                Error::Throttled {
                    what,
                    after: retry_after(self.headers),
                }
            }
            status @ (408 | 500..=599) => Error::Server { what, status },
            _ => Error::Protocol {
                what,
                reason: format!("the origin answered {}", self.named(&code)),
            },
        }
    }

    fn named(&self, code: &str) -> String {
        match code {
            "" => self.status.to_string(),
            _ => format!("{} ({})", code, self.status.as_u16()),
        }
    }

    /// S3 answers requests for a bucket of another region with that region's name.
    fn other_region(&self, asked: &str) -> Option<String> {
        if !(self.status.is_redirection() || self.status == StatusCode::BAD_REQUEST) {
            return None;
        }
        let region = self.headers.get("x-amz-bucket-region")?.to_str().ok()?;
        (region != asked)
            .then(|| format!("the bucket is in region {region}; pass --region {region}"))
    }
}

/// The wait that the server asks for, if it gives it in seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

/// Checks that a success is the answer to a GET of `range` of `object`: this range of
/// an object of this size in this version. A server, a proxy or a cache between may
/// ignore any header of the request.
pub(super) fn check_object(
    status: StatusCode,
    headers: &HeaderMap,
    object: PinnedObject<'_>,
    range: ByteRange,
    what: &str,
) -> Result<(), Error> {
    let changed = || Error::Changed {
        what: what.to_owned(),
    };
    let wrong = |reason: String| Error::Protocol {
        what: what.to_owned(),
        reason,
    };
    if !Validator::of(object.etag).accepts_headers(headers) {
        return Err(changed());
    }
    match status {
        StatusCode::PARTIAL_CONTENT => {
            let sent = content_range(headers)
                .ok_or_else(|| wrong("the origin sent a part without saying which".into()))?;
            if sent.total.is_some_and(|total| total != object.size) {
                return Err(changed());
            }
            if sent.range != range {
                let reason = format!("the origin sent bytes {} for {range}", sent.range);
                return Err(wrong(reason));
            }
        }
        StatusCode::OK if range != ByteRange::new(0, object.size) => {
            return Err(wrong(
                "the origin ignores the range and sends the whole object".into(),
            ));
        }
        StatusCode::OK if content_length(headers).is_some_and(|sent| sent != object.size) => {
            return Err(changed());
        }
        StatusCode::OK => {}
        _ => return Err(wrong(format!("the origin answered {status} to a read"))),
    }
    match content_length(headers) {
        Some(got) if got != range.len() => Err(Error::Truncated {
            what: what.to_owned(),
            expected: range.len(),
            got,
        }),
        _ => Ok(()),
    }
}

#[derive(Debug, PartialEq, Eq)]
struct ContentRange {
    range: ByteRange,
    total: Option<u64>,
}

/// `bytes 0-99/1234`, or `*` for a total that the server does not know.
fn content_range(headers: &HeaderMap) -> Option<ContentRange> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let end = last.trim().parse::<u64>().ok()?.checked_add(1)?;
    let total = match total.trim() {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    Some(ContentRange {
        range: ByteRange::new(first.trim().parse().ok()?, end),
        total,
    })
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
