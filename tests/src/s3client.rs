//! An S3 client that sends exactly what it is told.
//!
//! Libraries parse, tidy and retry; this one does not. A key goes into the path byte for
//! byte, `..` and `//` included, and the answer comes back as it was. It blocks, so it
//! works in asynchronous tests and in others.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use crate::endpoint::Endpoint;

mod connection;
mod signature;

pub use connection::Response;
use connection::{Connection, Request};

/// What a path has as it is (RFC 3986, section 2.3), and the slash.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');
/// What the value of a query has as it is.
const QUERY: &AsciiSet = &PATH.add(b'/');

/// One object of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The key, decoded.
    pub key: String,
    /// The size in bytes.
    pub size: u64,
    /// The ETag, with its quotes.
    pub etag: String,
}

/// A client of one server; clones share its connections.
#[derive(Clone, Debug)]
pub struct S3Client {
    endpoint: Endpoint,
    /// Open connections that nobody uses.
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl S3Client {
    /// A client that signs with the keys of `endpoint`.
    pub fn new(endpoint: &Endpoint) -> Self {
        Self {
            endpoint: endpoint.clone(),
            idle: Arc::default(),
        }
    }

    /// Creates a bucket.
    ///
    /// # Panics
    /// If the server refuses.
    pub fn create_bucket(&self, bucket: &str) {
        self.send("PUT", bucket, "", &[], b"")
            .expect_status("create the bucket", 200);
    }

    /// Whether the server is there and lets a bucket be created: asked while it starts.
    pub(crate) fn can_create(&self, bucket: &str) -> bool {
        let answer = self.try_send("PUT", bucket, "", &[], b"");
        // 409: it was created by an answer that came too late.
        answer.is_ok_and(|answer| matches!(answer.status, 200 | 409))
    }

    /// Puts an object, whatever the answer.
    pub fn try_put(&self, bucket: &str, key: impl AsRef<[u8]>, body: &[u8]) -> Response {
        self.send("PUT", &path(bucket, key.as_ref()), "", &[], body)
    }

    /// Puts an object.
    ///
    /// # Panics
    /// If the server refuses.
    pub fn put(&self, bucket: &str, key: impl AsRef<[u8]>, body: &[u8]) {
        self.try_put(bucket, key, body)
            .expect_status("put an object", 200);
    }

    /// Puts objects over several connections, in no order.
    ///
    /// # Panics
    /// If the server refuses one.
    pub fn put_many<K, I>(&self, bucket: &str, connections: usize, objects: I)
    where
        K: AsRef<[u8]>,
        I: IntoIterator<Item = (K, Vec<u8>)>,
        I::IntoIter: Send,
    {
        let objects = Mutex::new(objects.into_iter());
        let next = || {
            objects
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .next()
        };
        thread::scope(|scope| {
            for _ in 0..connections {
                scope.spawn(|| {
                    while let Some((key, body)) = next() {
                        self.put(bucket, key, &body);
                    }
                });
            }
        });
    }

    /// Gets an object, or a part, under the conditions of `headers`.
    pub fn get(&self, bucket: &str, key: impl AsRef<[u8]>, headers: &[(&str, &str)]) -> Response {
        self.send("GET", &path(bucket, key.as_ref()), "", headers, b"")
    }

    /// Deletes an object, whatever the answer.
    pub fn delete(&self, bucket: &str, key: impl AsRef<[u8]>) -> Response {
        self.send("DELETE", &path(bucket, key.as_ref()), "", &[], b"")
    }

    /// Lists all objects whose keys begin with `prefix`, in the server's order.
    ///
    /// # Panics
    /// If the server refuses.
    pub fn list(&self, bucket: &str, prefix: &str) -> Vec<Listed> {
        let mut objects = Vec::new();
        let mut token = None;
        loop {
            let query = list_query(prefix, token.as_deref());
            let answer = self.send("GET", bucket, &query, &[], b"");
            answer.expect_status("list the bucket", 200);
            let text = String::from_utf8_lossy(&answer.body);
            objects.extend(elements(&text, "Contents").map(listed));
            token = elements(&text, "NextContinuationToken")
                .next()
                .map(unescape);
            if token.is_none() {
                return objects;
            }
        }
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        query: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        self.try_send(method, path, query, headers, body)
            .unwrap_or_else(|error| panic!("{method} {path} at {}: {error}", self.endpoint.url))
    }

    fn try_send(
        &self,
        method: &str,
        path: &str,
        query: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        let host = self
            .endpoint
            .url
            .strip_prefix("http://")
            .expect("the servers speak plain HTTP");
        let path = format!("/{path}");
        let mut all = signature::sign(&self.endpoint, host, method, &path, query);
        all.extend(
            headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        self.exchange(
            host,
            &Request {
                method,
                path: &path,
                query,
                headers: &all,
                body,
            },
        )
    }

    /// Sends the request over an idle connection, or over a new one: the server may have
    /// closed the idle one in the meantime.
    fn exchange(&self, host: &str, request: &Request<'_>) -> io::Result<Response> {
        let idle = self.idle().pop();
        let (connection, response) = match idle.map(|connection| connection.exchange(request)) {
            Some(Ok(exchanged)) => exchanged,
            Some(Err(_)) | None => Connection::open(host)?.exchange(request)?,
        };
        self.idle().extend(connection);
        Ok(response)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn path(bucket: &str, key: &[u8]) -> String {
    format!("{bucket}/{}", percent_encode(key, PATH))
}

/// The query of a page, its names in the order in which they are signed.
fn list_query(prefix: &str, token: Option<&str>) -> String {
    let value = |value: &str| percent_encode(value.as_bytes(), QUERY).to_string();
    let token = token.map(|token| format!("continuation-token={}&", value(token)));
    let token = token.unwrap_or_default();
    format!(
        "{token}encoding-type=url&list-type=2&prefix={}",
        value(prefix)
    )
}

fn listed(object: &str) -> Listed {
    let element = |name| elements(object, name).next().unwrap_or_default();
    Listed {
        key: decode(&unescape(element("Key"))),
        size: element("Size").parse().unwrap_or_default(),
        etag: unescape(element("ETag")),
    }
}

/// Undoes `encoding-type=url`: as in a form, which is what S3 does.
fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " "))
        .decode_utf8_lossy()
        .into_owned()
}

/// The texts of all elements of this name. Enough for a server's listing, in which
/// elements of one name do not nest and have no attributes.
fn elements<'t>(text: &'t str, name: &str) -> impl Iterator<Item = &'t str> {
    let end = format!("</{name}>");
    let parts = text.split(&format!("<{name}>")).skip(1).collect::<Vec<_>>();
    parts
        .into_iter()
        .filter_map(move |part| Some(part.split_once(&end)?.0))
}

fn unescape(text: &str) -> String {
    let text = text
        .replace("&quot;", "\"")
        .replace("&#34;", "\"")
        .replace("&apos;", "'");
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_comes_back_in_pages_with_decoded_keys() {
        let (server, endpoint) = Endpoint::loopback();
        for number in 0..2500 {
            server.put_synthetic("bucket", &format!("dir/a b+c-{number:04}"), number, number);
        }
        server.put("bucket", "other", "");
        let listed = S3Client::new(&endpoint).list("bucket", "dir/");
        assert_eq!(listed.len(), 2500);
        assert_eq!(listed[7].key, "dir/a b+c-0007");
        assert_eq!(listed[7].size, 7);
        assert!(listed[7].etag.starts_with('"'));
    }

    #[test]
    fn connections_are_used_again() {
        let (server, endpoint) = Endpoint::loopback();
        let client = S3Client::new(&endpoint);
        client.create_bucket("bucket");
        client.put_many(
            "bucket",
            2,
            (0..20).map(|n| (format!("key-{n}"), vec![n; 10])),
        );
        assert_eq!(client.get("bucket", "key-7", &[]).body, [7; 10]);
        assert!(server.stats().connections <= 3);
        server.pause();
        server.resume().unwrap();
        client
            .get("bucket", "key-7", &[])
            .expect_status("get again", 200);
    }
}
