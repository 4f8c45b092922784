//! The URLs of a bucket and of what is in it.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use url::Url;

/// What SigV4 leaves as it is in a query; everything else is encoded, so that the URL
/// is in canonical form before it is signed.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The same for a path, where the slashes of a key stay.
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// Where a bucket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BucketUrl {
    /// Scheme, host and, with path style, the bucket; no trailing slash.
    base: String,
    /// Host and port, for messages.
    server: String,
}

impl BucketUrl {
    /// A bucket of AWS.
    pub(crate) fn aws(bucket: &str, region: &str, path_style: bool) -> Self {
        let partition = if region.starts_with("cn-") {
            "com.cn"
        } else {
            "com"
        };
        let server = format!("s3.{region}.amazonaws.{partition}");
        // The certificate of AWS covers one label before the host: a bucket with dots
        // in its name fails verification as a host name.
        if path_style || bucket.contains('.') {
            return Self {
                base: format!("https://{server}/{bucket}"),
                server,
            };
        }
        let server = format!("{bucket}.{server}");
        Self {
            base: format!("https://{server}"),
            server,
        }
    }

    /// A bucket behind an endpoint of one's own, in path style.
    pub(crate) fn at(endpoint: &Url, bucket: &str) -> Self {
        let base = format!("{}/{bucket}", endpoint.as_str().trim_end_matches('/'));
        Self {
            base,
            server: endpoint.authority().to_owned(),
        }
    }

    /// Host and port.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Whether the bucket is asked over TLS.
    pub(crate) fn is_https(&self) -> bool {
        self.base.starts_with("https:")
    }

    /// The URL of an object; `None` if the key has a `.` or `..` part, which every HTTP
    /// client and proxy would resolve on the way.
    pub(super) fn object(&self, key: &[u8]) -> Option<String> {
        let dots = |part: &[u8]| part == b"." || part == b"..";
        if key.split(|&byte| byte == b'/').any(dots) {
            return None;
        }
        Some(format!("{}/{}", self.base, percent_encode(key, PATH)))
    }

    /// The URL of a request to the bucket itself.
    pub(super) fn query(&self, pairs: &[(&str, &str)]) -> String {
        let encoded: Vec<String> = pairs
            .iter()
            .map(|(name, value)| format!("{name}={}", percent_encode(value.as_bytes(), QUERY)))
            .collect();
        format!("{}/?{}", self.base, encoded.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> BucketUrl {
        BucketUrl::at(&Url::parse("http://127.0.0.1:9000").unwrap(), "b")
    }

    #[test]
    fn aws_buckets_are_host_names_unless_told_or_dotted() {
        let url = |bucket, region, path_style| BucketUrl::aws(bucket, region, path_style).base;
        assert_eq!(
            url("b", "eu-west-1", false),
            "https://b.s3.eu-west-1.amazonaws.com"
        );
        assert_eq!(
            url("b", "eu-west-1", true),
            "https://s3.eu-west-1.amazonaws.com/b"
        );
        assert_eq!(
            url("b.c", "eu-west-1", false),
            "https://s3.eu-west-1.amazonaws.com/b.c"
        );
        assert_eq!(
            url("b", "cn-north-1", false),
            "https://b.s3.cn-north-1.amazonaws.com.cn"
        );
    }

    #[test]
    fn an_endpoint_keeps_its_port_and_path() {
        assert_eq!(local().base, "http://127.0.0.1:9000/b");
        assert_eq!(local().server(), "127.0.0.1:9000");
        let behind = BucketUrl::at(&Url::parse("https://h/s3/").unwrap(), "b");
        assert_eq!(behind.base, "https://h/s3/b");
        assert!(behind.is_https());
    }

    #[test]
    fn a_url_carries_every_byte_of_a_key_through_a_url_parser() {
        for key in [
            &b"a/b c"[..],
            b"/a",
            b"a//b",
            b"a/",
            b"a\nb",
            b"a\\b",
            b"a+b%2F?#&",
            b"\xff",
        ] {
            let url = local().object(key).unwrap();
            let parsed = Url::parse(&url).unwrap();
            assert_eq!(parsed.as_str(), url, "a parser must not rewrite it");
            let sent = parsed.path().strip_prefix("/b/").unwrap();
            assert_eq!(
                percent_encoding::percent_decode_str(sent).collect::<Vec<_>>(),
                key
            );
        }
    }

    #[test]
    fn a_key_with_dot_parts_has_no_url() {
        for key in [&b"."[..], b"..", b"a/../b", b"./a", b"a/."] {
            assert_eq!(local().object(key), None);
        }
        assert!(local().object(b"a/.b/..c/...").is_some());
    }

    #[test]
    fn query_values_are_encoded() {
        let url = local().query(&[("list-type", "2"), ("prefix", "a b/&")]);
        assert_eq!(
            url,
            "http://127.0.0.1:9000/b/?list-type=2&prefix=a%20b%2F%26"
        );
    }
}
