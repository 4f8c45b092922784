//! What can be wrong with a source, in words for the person who wrote it.

use std::path::PathBuf;

use crate::origin;

/// Why a source cannot be used. Each message names the value and the next step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No source at all.
    #[error("no source: name one, such as s3://bucket/prefix")]
    NoSource,
    /// Not a URL, or one of a kind that cannot be read.
    #[error(
        "{value}: not a source; write s3://bucket/prefix, gs://bucket/prefix, \
         az://container/prefix, https://host/path or file:///directory"
    )]
    UnknownScheme {
        /// The URL.
        value: String,
    },
    /// A URL of a bucket without the bucket.
    #[error("{value}: no bucket; write {scheme}://bucket/prefix")]
    MissingBucket {
        /// The URL.
        value: String,
        /// Its scheme.
        scheme: &'static str,
    },
    /// A URL that is wrong in another way.
    #[error("{value}: {reason}")]
    InvalidUrl {
        /// The URL, without what may be a secret.
        value: String,
        /// What is wrong and what to write.
        reason: String,
    },
    /// The URL carries credentials. It is not repeated here.
    #[error(
        "the {scheme}:// source carries credentials, which would show in the process list; \
         take them out of the URL and set them in the environment or a profile"
    )]
    CredentialsInUrl {
        /// Its scheme.
        scheme: &'static str,
    },
    /// A name that cannot be a directory.
    #[error("source name {name:?}: {reason}")]
    InvalidName {
        /// The name.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A source among several that has no name.
    #[error("{url}: several sources need a name each; write --source NAME={url}")]
    NameMissing {
        /// The source.
        url: String,
    },
    /// Two sources of one name.
    #[error("source name {name:?} is used twice; give each source its own")]
    NameTwice {
        /// The name.
        name: String,
    },
    /// An option of the connection that cannot be used.
    #[error("{option} {value}: {reason}")]
    InvalidOption {
        /// The flag or variable.
        option: &'static str,
        /// Its value; never a secret.
        value: String,
        /// What is wrong.
        reason: String,
    },
    /// A profile that the files do not have.
    #[error("profile {profile:?} is in neither {credentials} nor {config}; check AWS_PROFILE",
        credentials = credentials.display(), config = config.display())]
    UnknownProfile {
        /// The profile.
        profile: String,
        /// The credentials file that was looked into.
        credentials: PathBuf,
        /// The config file that was looked into.
        config: PathBuf,
    },
    /// A profile that cannot give credentials.
    #[error("profile {profile:?} in {path}: {reason}", path = path.display())]
    UnusableProfile {
        /// The profile.
        profile: String,
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A profile file that cannot be read.
    #[error("{path}: {reason}", path = path.display())]
    ProfileFile {
        /// The file.
        path: PathBuf,
        /// What is wrong; never a line of the file.
        reason: String,
    },
    /// The origin cannot be made.
    #[error("{url}: {reason}")]
    NotOpened {
        /// The source.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The bucket or directory does not exist.
    #[error("{url}: no such bucket or directory; check the name and the endpoint")]
    NoSuchPlace {
        /// The source.
        url: String,
    },
    /// The bucket exists and nothing is below the prefix.
    #[error(
        "{url}: nothing is below it; check the prefix, which is a directory: for a single \
         object, name the directory that holds it"
    )]
    Empty {
        /// The source.
        url: String,
    },
    /// The origin refuses.
    #[error("{url}: no access: {reason}")]
    Denied {
        /// The source.
        url: String,
        /// The origin's words, or what to do.
        reason: String,
    },
    /// The origin does not answer.
    #[error("{url}: no answer; check the network and the endpoint: {reason}")]
    NoAnswer {
        /// The source.
        url: String,
        /// The last error.
        reason: String,
    },
    /// The origin answers with something else.
    #[error("{url}: cannot be listed")]
    Unlisted {
        /// The source.
        url: String,
        /// What the origin says.
        #[source]
        source: origin::Error,
    },
}
