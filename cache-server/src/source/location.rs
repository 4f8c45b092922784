//! Where a source lies: its URL, taken apart.

use std::path::{Component, Path, PathBuf};

use url::Url;

use super::Error;

/// A bucket, or what another provider calls so, and a prefix in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bucket {
    /// The bucket's or container's name.
    pub name: String,
    /// The prefix: empty, or literal and ending in `/`.
    pub prefix: String,
}

/// Where a source lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Location {
    /// `s3://bucket/prefix`
    S3(Bucket),
    /// `gs://bucket/prefix`
    Gs(Bucket),
    /// `az://container/prefix`
    Az(Bucket),
    /// `http://host/path`, `https://host/path`
    Http(Url),
    /// `file:///directory`
    File(PathBuf),
}

impl Location {
    /// Takes `url` apart.
    pub(super) fn parse(url: &str) -> Result<Self, Error> {
        let unknown = || Error::UnknownScheme {
            value: without_secrets(url),
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(unknown)?;
        match scheme {
            "s3" => Bucket::parse("s3", url, rest).map(Self::S3),
            "gs" => Bucket::parse("gs", url, rest).map(Self::Gs),
            "az" => Bucket::parse("az", url, rest).map(Self::Az),
            "http" => parse_http("http", url).map(Self::Http),
            "https" => parse_http("https", url).map(Self::Http),
            "file" => parse_directory(url, rest).map(Self::File),
            _ => Err(unknown()),
        }
    }
}

impl Bucket {
    fn parse(scheme: &'static str, url: &str, rest: &str) -> Result<Self, Error> {
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if name.contains('@') {
            return Err(Error::CredentialsInUrl { scheme });
        }
        if name.is_empty() {
            return Err(Error::MissingBucket {
                value: url.to_owned(),
                scheme,
            });
        }
        // The union of what the providers allow; it keeps queries, ports and white
        // space out, which are always a mistake here.
        if let Some(odd) = name
            .chars()
            .find(|&c| !(c.is_ascii_alphanumeric() || "-._".contains(c)))
        {
            let reason = format!("a bucket name cannot contain {odd:?}; write {scheme}://bucket");
            return Err(Error::InvalidUrl {
                value: url.to_owned(),
                reason,
            });
        }
        if prefix.split('/').any(|part| part == "." || part == "..") {
            let reason = "a prefix with \".\" or \"..\" parts cannot be asked for".to_owned();
            return Err(Error::InvalidUrl {
                value: url.to_owned(),
                reason,
            });
        }
        let mut prefix = prefix.to_owned();
        if !prefix.is_empty() && !prefix.ends_with('/') {
            prefix.push('/');
        }
        Ok(Self {
            name: name.to_owned(),
            prefix,
        })
    }

    /// The identity of the place, at `server` if that is not the provider's own.
    ///
    /// The server goes behind an `@`, which no bucket name contains: two servers'
    /// buckets of one name never share cached bytes.
    pub(super) fn identity(&self, scheme: &str, server: Option<&str>) -> String {
        let at = if server.is_some() { "@" } else { "" };
        let place = format!("{scheme}://{}{at}{}", self.name, server.unwrap_or_default());
        match self.prefix.strip_suffix('/') {
            Some(prefix) => format!("{place}/{prefix}"),
            None => place,
        }
    }
}

fn parse_http(scheme: &'static str, text: &str) -> Result<Url, Error> {
    let wrong = |reason: String| Error::InvalidUrl {
        value: without_secrets(text),
        reason,
    };
    let mut url = Url::parse(text).map_err(|error| wrong(error.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err(Error::CredentialsInUrl { scheme });
    }
    url.set_fragment(None);
    Ok(url)
}

fn parse_directory(url: &str, rest: &str) -> Result<PathBuf, Error> {
    let path = Path::new(rest);
    let wrong = |reason: &str| Error::InvalidUrl {
        value: url.to_owned(),
        reason: reason.into(),
    };
    if !path.is_absolute() {
        return Err(wrong(
            "a directory is named from the root; write file:///directory",
        ));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(wrong("a directory is named without \"..\" parts"));
    }
    // Collecting the components drops doubled and trailing slashes.
    Ok(path.components().collect())
}

/// The URL as it may be repeated in a message: without user info and query.
fn without_secrets(url: &str) -> String {
    let end = url.find('?').unwrap_or(url.len());
    let url = &url[..end];
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let host_end = rest.find('/').unwrap_or(rest.len());
    match rest[..host_end].rfind('@') {
        Some(at) => format!("{scheme}://…{}", &rest[at..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(name: &str, prefix: &str) -> Bucket {
        Bucket {
            name: name.into(),
            prefix: prefix.into(),
        }
    }

    #[test]
    fn a_prefix_is_a_directory_and_otherwise_literal() {
        for (url, name, prefix) in [
            ("s3://b", "b", ""),
            ("s3://b/", "b", ""),
            ("s3://b/p", "b", "p/"),
            ("s3://b/p/", "b", "p/"),
            ("s3://b/p/q r%20?x#y", "b", "p/q r%20?x#y/"),
            ("s3://b//p", "b", "/p/"),
            ("s3://b/p//", "b", "p//"),
        ] {
            assert_eq!(
                Location::parse(url),
                Ok(Location::S3(bucket(name, prefix))),
                "{url}"
            );
        }
    }

    #[test]
    fn each_scheme_has_its_location() {
        assert_eq!(
            Location::parse("gs://b/p"),
            Ok(Location::Gs(bucket("b", "p/")))
        );
        assert_eq!(Location::parse("az://c"), Ok(Location::Az(bucket("c", ""))));
        let url = Url::parse("http://h:8080/d/").unwrap();
        assert_eq!(Location::parse("http://h:8080/d/"), Ok(Location::Http(url)));
        assert_eq!(
            Location::parse("file:///a//b/"),
            Ok(Location::File("/a/b".into()))
        );
        assert_eq!(Location::parse("file:///"), Ok(Location::File("/".into())));
    }

    #[test]
    fn a_wrong_url_is_named_with_the_next_step() {
        for (url, words) in [
            ("bucket/prefix", "write s3://bucket/prefix"),
            ("/data", "file:///directory"),
            ("ftp://host", "not a source"),
            ("s3://", "no bucket; write s3://bucket/prefix"),
            ("gs:///p", "no bucket; write gs://bucket/prefix"),
            ("s3://b:9000/p", "a bucket name cannot contain ':'"),
            ("s3://b?x", "cannot contain '?'"),
            ("s3://b/a/../c", "\"..\" parts"),
            ("file://data", "write file:///directory"),
            ("file:///a/../b", "without \"..\" parts"),
            ("http://", "empty host"),
        ] {
            let message = Location::parse(url).unwrap_err().to_string();
            assert!(message.contains(words), "{url}: {message}");
            assert!(message.contains(url), "{url}: {message}");
        }
    }

    #[test]
    fn credentials_in_a_url_are_refused_and_not_repeated() {
        for url in [
            "s3://key:hunter2@bucket/p",
            "https://user:hunter2@host/p",
            "https://host/p?sig=hunter2",
            "ftp://user:hunter2@host/",
            "http://user:hunter2@",
        ] {
            let error = Location::parse(url).unwrap_err();
            assert!(
                !format!("{error} {error:?}").contains("hunter2"),
                "{error:?}"
            );
        }
    }

    #[test]
    fn the_identity_tells_servers_apart_and_ends_without_a_slash() {
        assert_eq!(bucket("b", "").identity("s3", None), "s3://b");
        assert_eq!(bucket("b", "p/q/").identity("s3", None), "s3://b/p/q");
        let at = bucket("b", "p/").identity("s3", Some("127.0.0.1:9000"));
        assert_eq!(at, "s3://b@127.0.0.1:9000/p");
    }
}
