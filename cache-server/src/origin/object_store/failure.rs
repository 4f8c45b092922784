//! The errors of `object_store`, as errors of an origin.

use std::error::Error as StdError;

use object_store::client::{HttpError, HttpErrorKind};

use crate::origin::Error;
use crate::origin::transport::root_cause;

/// How the library's message for an answer begins. The status is nowhere else: the
/// type that holds it is not public.
const STATUS: &str = "Server returned non-2xx status code: ";

/// Says that a request is beyond the server. A read never is: it was a listing.
const CANNOT: &str = "the server cannot list; over http a listing needs WebDAV";

pub(super) fn failed(what: &str, error: &object_store::Error) -> Error {
    use object_store::Error as Store;
    let what = what.to_owned();
    match error {
        Store::NotFound { .. } => Error::NotFound { what },
        Store::Precondition { .. } | Store::NotModified { .. } => Error::Changed { what },
        Store::PermissionDenied { .. } => Error::Forbidden {
            what,
            reason: "403".to_owned(),
        },
        Store::Unauthenticated { .. } => Error::Forbidden {
            what,
            reason: "401".to_owned(),
        },
        Store::NotSupported { .. } | Store::NotImplemented { .. } => Error::Protocol {
            what,
            reason: CANNOT.to_owned(),
        },
        other => transport(what, other),
    }
}

fn transport(what: String, error: &object_store::Error) -> Error {
    if let Some(status) = status(error) {
        return match status {
            416 => Error::OutOfRange { what },
            429 => Error::Throttled { what, after: None },
            405 | 501 => Error::Protocol {
                what,
                reason: CANNOT.to_owned(),
            },
            408 | 500..=599 => Error::Server { what, status },
            _ => Error::Protocol {
                what,
                reason: format!("the origin answered {status}"),
            },
        };
    }
    let reason = root_cause(error);
    match http_kind(error) {
        Some(HttpErrorKind::Decode) | None => Error::Protocol { what, reason },
        Some(_) => Error::Unreachable { what, reason },
    }
}

fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

fn status(error: &object_store::Error) -> Option<u16> {
    chain(error).find_map(|error| {
        let text = error.to_string();
        let digits = text.split_once(STATUS)?.1;
        digits.get(..3)?.parse().ok()
    })
}

fn http_kind(error: &object_store::Error) -> Option<HttpErrorKind> {
    chain(error)
        .find_map(|error| error.downcast_ref::<HttpError>())
        .map(HttpError::kind)
}
