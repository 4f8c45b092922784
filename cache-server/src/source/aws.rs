//! How to reach a bucket of S3: endpoint, region and credentials.
//!
//! One precedence: a flag, then the environment, then the profile. For credentials:
//! keys in the environment; a profile that `AWS_PROFILE` names; web identity
//! (`AWS_WEB_IDENTITY_TOKEN_FILE` with `AWS_ROLE_ARN`); the default profile; and what
//! the platform hands out to a container or an instance, which is asked at the first
//! request.

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential};
use object_store::{ClientOptions, RetryConfig};
use url::Url;

use super::aws_profile::Profile;
use super::environment::Environment;
use super::location::Bucket;
use super::{Connection, Error};
use crate::origin::{BucketUrl, Credentials};

/// Where AWS puts what names no region, and what other servers expect to see in a
/// signature.
const DEFAULT_REGION: &str = "us-east-1";

/// Where the agent of a node gives a container its credentials, and what it is shown.
const FULL_URI: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const TOKEN_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";

/// How to reach a bucket.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) region: String,
    pub(super) bucket: BucketUrl,
    pub(super) credentials: Credentials,
    /// Host and port, if not AWS's own.
    pub(super) server: Option<String>,
}

impl Access {
    /// Decides how to reach `bucket`. Nothing is contacted.
    pub(super) fn resolve(
        bucket: &Bucket,
        connection: &Connection,
        environment: &Environment,
    ) -> Result<Self, Error> {
        let profile = Profile::load(environment)?;
        let of_profile = |key| profile.as_ref().and_then(|profile| profile.get(key));
        let region = connection
            .region
            .as_deref()
            .or_else(|| environment.get("AWS_REGION"))
            .or_else(|| environment.get("AWS_DEFAULT_REGION"))
            .or_else(|| of_profile("region"))
            .unwrap_or(DEFAULT_REGION);
        check_region(region)?;
        let endpoint = endpoint(connection, environment, of_profile("endpoint_url"))?;
        let url = match &endpoint {
            Some(endpoint) => BucketUrl::at(endpoint, &bucket.name),
            None => BucketUrl::aws(&bucket.name, region, connection.path_style),
        };
        Ok(Self {
            credentials: credentials(connection, environment, profile.as_ref(), region)?,
            region: region.to_owned(),
            server: endpoint.is_some().then(|| url.server().to_owned()),
            bucket: url,
        })
    }
}

/// A region becomes part of a host name and of a signature.
fn check_region(region: &str) -> Result<(), Error> {
    if !region.is_empty()
        && region
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    {
        return Ok(());
    }
    let reason = "not a region; write one such as us-east-1".to_owned();
    Err(Error::InvalidOption {
        option: "--region",
        value: region.to_owned(),
        reason,
    })
}

fn endpoint(
    connection: &Connection,
    environment: &Environment,
    of_profile: Option<&str>,
) -> Result<Option<Url>, Error> {
    let flag = connection
        .endpoint
        .as_deref()
        .map(|value| ("--endpoint", value));
    let variable = |name| environment.get(name).map(|value| (name, value));
    let found = flag
        .or_else(|| variable("AWS_ENDPOINT_URL_S3"))
        .or_else(|| variable("AWS_ENDPOINT_URL"))
        .or_else(|| of_profile.map(|value| ("endpoint_url of the profile", value)));
    found
        .map(|(option, value)| parse_endpoint(option, value))
        .transpose()
}

/// An endpoint is a server's URL: `http` or `https`, host and port, perhaps a path.
pub(super) fn parse_endpoint(option: &'static str, value: &str) -> Result<Url, Error> {
    let wrong = |value: &str, reason: &str| {
        Err(Error::InvalidOption {
            option,
            value: value.to_owned(),
            reason: reason.to_owned(),
        })
    };
    let Ok(url) = Url::parse(value) else {
        return wrong(value, "not a URL; write http://host:port or https://host");
    };
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return wrong("…", "it carries credentials or a query; take them out");
    }
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return wrong(
            value,
            "not a server; write http://host:port or https://host",
        );
    }
    Ok(url)
}

fn credentials(
    connection: &Connection,
    environment: &Environment,
    profile: Option<&Profile>,
    region: &str,
) -> Result<Credentials, Error> {
    if connection.anonymous {
        return Ok(Credentials::Anonymous);
    }
    if let Some(credential) = from_environment(environment)? {
        return Ok(Credentials::fixed("the environment".to_owned(), credential));
    }
    let is_named = environment.get("AWS_PROFILE").is_some();
    let with_web_identity = environment.get("AWS_WEB_IDENTITY_TOKEN_FILE").is_some();
    if let Some(profile) = profile.filter(|_| is_named || !with_web_identity)
        && let Some(credential) = profile.credential()?
    {
        return Ok(Credentials::fixed(
            format!("profile {:?}", profile.name),
            credential,
        ));
    }
    of_platform(environment, region)
}

fn from_environment(environment: &Environment) -> Result<Option<AwsCredential>, Error> {
    let without = |option, other| Error::InvalidOption {
        option,
        value: "…".to_owned(),
        reason: format!("it is set and {other} is not; set both"),
    };
    match (
        environment.get("AWS_ACCESS_KEY_ID"),
        environment.get("AWS_SECRET_ACCESS_KEY"),
    ) {
        (None, None) => Ok(None),
        (Some(_), None) => Err(without("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")),
        (None, Some(_)) => Err(without("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")),
        (Some(key_id), Some(secret_key)) => Ok(Some(AwsCredential {
            key_id: key_id.to_owned(),
            secret_key: secret_key.to_owned(),
            token: environment.get("AWS_SESSION_TOKEN").map(str::to_owned),
        })),
    }
}

/// What the platform hands out: to a workload with a web identity, to a container, to
/// an instance.
fn of_platform(environment: &Environment, region: &str) -> Result<Credentials, Error> {
    let is_set = |name| environment.get(name).is_some();
    if is_set(FULL_URI) && !is_set(TOKEN_FILE) {
        return Err(Error::InvalidOption {
            option: FULL_URI,
            value: "…".to_owned(),
            reason: format!("it is asked with the token of {TOKEN_FILE} only; set that as well"),
        });
    }
    let (from, https) = if is_set("AWS_WEB_IDENTITY_TOKEN_FILE") && is_set("AWS_ROLE_ARN") {
        ("web identity", true)
    } else if is_set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") || is_set(FULL_URI) {
        ("the container's credential service", false)
    } else if environment.is_true("AWS_EC2_METADATA_DISABLED") {
        return Ok(Credentials::Missing);
    } else {
        ("the instance's metadata service", false)
    };
    let client = ClientOptions::new()
        .with_timeout_disabled()
        // The services within a machine speak http: the certificates, which a small
        // machine may not have, are not needed for them.
        .with_no_system_certificates(!https);
    let retry = RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    };
    let mut builder = AmazonS3Builder::new()
        // The bucket plays no part in the credentials.
        .with_bucket_name("none")
        .with_region(region)
        .with_client_options(client)
        .with_retry(retry);
    for (name, value) in environment.starting_with("AWS_") {
        if let Some(key) = platform_key(name) {
            builder = builder.with_config(key, value);
        }
    }
    let store = builder.build().map_err(|error| Error::InvalidOption {
        option: "credentials",
        value: from.to_owned(),
        reason: error.to_string(),
    })?;
    Ok(Credentials::provided(
        from.to_owned(),
        store.credentials().clone(),
    ))
}

/// The variables that say where the platform's credentials are.
fn platform_key(name: &str) -> Option<AmazonS3ConfigKey> {
    const NAMES: [&str; 9] = [
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_ROLE_ARN",
        "AWS_ROLE_SESSION_NAME",
        "AWS_ENDPOINT_URL_STS",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        FULL_URI,
        TOKEN_FILE,
        "AWS_METADATA_ENDPOINT",
        "AWS_IMDSV1_FALLBACK",
    ];
    NAMES
        .contains(&name)
        .then(|| name.to_ascii_lowercase().parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests;
