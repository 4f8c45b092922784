//! Sources: what a user names, and how to get from there to an [`Origin`].
//!
//! A source is a URL and the options of its connection. Parsing it is strict, so that
//! a mistake is found before anything is mounted; each message says what to write
//! instead. Credentials never come from the URL or a flag (both show in the process
//! list) but from the environment, profile files or the platform.
//!
//! | URL | what is read |
//! |---|---|
//! | `s3://bucket/prefix` | AWS S3 and what speaks its protocol (`--endpoint`) |
//! | `gs://bucket/prefix` | Google Cloud Storage |
//! | `az://container/prefix` | Azure Blob Storage; the account comes from the environment |
//! | `http://host/path`, `https://…` | a WebDAV server |
//! | `file:///dir` | a local directory, also on NFS, EFS, CephFS, Lustre |
//!
//! A prefix is a directory: `s3://bucket/a` means the keys below `a/`, never `ab`.
//! What follows the bucket is taken literally, `%` and `?` included.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::origin::{Origin, OriginStats};

mod aws;
mod aws_profile;
mod cloud;
mod environment;
mod error;
mod location;
mod name;
mod open;
mod probe;

use environment::Environment;
pub use error::Error;
use location::Location;
use open::Opener;

/// How to reach the server of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Connection {
    /// The server's URL, for S3-compatible servers and emulators. Default: the
    /// provider's own, or what the environment or profile says.
    pub endpoint: Option<String>,
    /// The region, for S3. Default: environment, then profile, then `us-east-1`; if
    /// the bucket is elsewhere, the error names its region.
    pub region: Option<String>,
    /// Puts the bucket into the URL's path and not into the host name. Default: so
    /// only with an endpoint of one's own, which seldom has the DNS names.
    pub path_style: bool,
    /// Sends requests without a signature, for public buckets.
    pub anonymous: bool,
}

/// Limits of the reads of an origin.
#[derive(Clone, Debug)]
pub struct OriginConfig {
    /// How long one read or one page may take, with all its retries, before the last
    /// error is given up on. A body that keeps flowing is given more.
    pub timeout: Duration,
    /// How long to wait for an answer or the next piece of a body before the
    /// connection is taken for dead and the read resumed on another.
    pub stall: Duration,
    /// Connections kept open to the server while nobody uses them.
    pub idle_connections: usize,
    /// Where the requests are counted.
    pub stats: Arc<OriginStats>,
}

impl Default for OriginConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(60),
            stall: Duration::from_secs(10),
            // As many as a node keeps reads in flight: a part of 8 MiB is short enough
            // that the handshake of a new connection would show.
            idle_connections: 64,
            stats: Arc::default(),
        }
    }
}

/// One source of a dataset: a place in the tree and the URL that is shown there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSpec {
    /// The top-level directory under which the source is shown; empty if the source
    /// is the whole tree.
    pub name: String,
    /// The URL, as written.
    pub url: String,
    /// How to reach the server.
    pub connection: Connection,
}

impl SourceSpec {
    /// Parses `URL` or `NAME=URL`.
    ///
    /// # Errors
    /// The variants of [`Error`] that name a URL or a name; nothing is contacted.
    pub fn parse(text: &str, connection: Connection) -> Result<Self, Error> {
        let (name, url) = name::split(text)?;
        Location::parse(url)?;
        Ok(Self {
            name: name.to_owned(),
            url: url.to_owned(),
            connection,
        })
    }

    /// Checks that `sources` make one tree: a single source of any name, or several
    /// with a name each, all different.
    ///
    /// # Errors
    /// [`Error::NameMissing`], [`Error::NameTwice`] or [`Error::NoSource`].
    pub fn check_tree(sources: &[Self]) -> Result<(), Error> {
        name::check_tree(sources)
    }

    /// The identity of the place: see [`Origin::identity`].
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and those of the environment and profile files that
    /// say which server is meant.
    pub fn identity(&self) -> Result<String, Error> {
        Opener {
            spec: self,
            environment: &Environment::of_process(),
        }
        .identity()
    }

    /// Makes the origin, with retries and counting around it. Nothing is contacted
    /// yet; see [`probe`](Self::probe). Credentials are looked for here, and again only
    /// if they come from a provider that renews them.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and those of credentials and options.
    pub fn open(&self, config: &OriginConfig) -> Result<Arc<dyn Origin>, Error> {
        Opener {
            spec: self,
            environment: &Environment::of_process(),
        }
        .open(config)
    }

    /// Asks the source for one page, with few retries, so that a wrong bucket, prefix,
    /// credential or network is found within 15 seconds and before anything is mounted.
    ///
    /// # Errors
    /// The variants of [`Error`] that tell what is wrong and what to do about it.
    pub async fn probe(&self) -> Result<(), Error> {
        let environment = Environment::of_process();
        probe::probe(&Opener {
            spec: self,
            environment: &environment,
        })
        .await
    }
}

#[cfg(test)]
mod tests;
