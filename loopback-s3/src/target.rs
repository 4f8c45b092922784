//! What a request is about: which operation on which bucket and key.

use std::fmt;

use http::{Method, Request};
use percent_encoding::percent_decode_str;

/// An operation of S3, as far as faults and counts tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// `GET` of a key.
    GetObject,
    /// `HEAD` of a key.
    HeadObject,
    /// `PUT` of a key.
    PutObject,
    /// `DELETE` of a key.
    DeleteObject,
    /// `GET` of a bucket.
    ListObjects,
    /// Everything else: of buckets, and what the server does not have.
    Other,
}

impl Operation {
    /// Every operation, in the order of declaration.
    pub const ALL: [Self; 6] = [
        Self::GetObject,
        Self::HeadObject,
        Self::PutObject,
        Self::DeleteObject,
        Self::ListObjects,
        Self::Other,
    ];
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The target of one request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) operation: Operation,
    /// The key; for a listing the bucket has none.
    pub(crate) key: Option<String>,
}

impl Target {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        let path = request.uri().path();
        let path = path.strip_prefix('/').unwrap_or(path);
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        if key.is_empty() {
            let lists = request.method() == Method::GET && !bucket.is_empty();
            let operation = if lists {
                Operation::ListObjects
            } else {
                Operation::Other
            };
            return Self {
                operation,
                key: None,
            };
        }
        let operation = match *request.method() {
            Method::GET => Operation::GetObject,
            Method::HEAD => Operation::HeadObject,
            Method::PUT => Operation::PutObject,
            Method::DELETE => Operation::DeleteObject,
            _ => Operation::Other,
        };
        Self {
            operation,
            key: Some(percent_decode_str(key).decode_utf8_lossy().into_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(method: Method, uri: &str) -> Target {
        Target::of(&Request::builder().method(method).uri(uri).body(()).unwrap())
    }

    #[test]
    fn path_and_method_name_the_operation() {
        let key = |key: &str| Some(key.to_owned());
        for (method, uri, operation, key) in [
            (
                Method::GET,
                "/bucket//a%0A/",
                Operation::GetObject,
                key("/a\n/"),
            ),
            (
                Method::HEAD,
                "/bucket/a?x=/",
                Operation::HeadObject,
                key("a"),
            ),
            (
                Method::GET,
                "/bucket?list-type=2",
                Operation::ListObjects,
                None,
            ),
            (
                Method::GET,
                "/bucket/?list-type=2",
                Operation::ListObjects,
                None,
            ),
            (Method::PUT, "/bucket", Operation::Other, None),
            (Method::GET, "/", Operation::Other, None),
        ] {
            assert_eq!(target(method, uri), Target { operation, key }, "{uri}");
        }
    }
}
