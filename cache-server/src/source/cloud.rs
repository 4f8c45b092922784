//! Google Cloud Storage, Azure Blob Storage and WebDAV: options for `object_store`.
//!
//! Credentials come from the variables that the library knows: `GOOGLE_*`, with the
//! application default credentials behind them, and `AZURE_*`.

use std::str::FromStr;
use std::sync::Arc;

use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::{ClientOptions, RetryConfig};
use percent_encoding::percent_decode_str;
use url::{Position, Url};

use super::aws::parse_endpoint;
use super::environment::Environment;
use super::location::Bucket;
use super::{Connection, Error};
use crate::origin::{CONNECT_TIMEOUT, Lister, Remote};

/// What the origins are made from, besides their place.
pub(super) struct Parts<'a> {
    pub(super) url: &'a str,
    pub(super) connection: &'a Connection,
    pub(super) environment: &'a Environment,
    pub(super) idle_connections: usize,
}

pub(super) fn gs_identity(bucket: &Bucket, connection: &Connection) -> Result<String, Error> {
    let endpoint = endpoint(connection)?;
    Ok(bucket.identity("gs", endpoint.as_ref().map(Url::authority)))
}

/// Containers are named within an account, which is part of the place.
pub(super) fn az_identity(
    bucket: &Bucket,
    connection: &Connection,
    environment: &Environment,
) -> Result<String, Error> {
    let account = account(environment)?;
    let server = match endpoint(connection)? {
        Some(endpoint) => format!("{account}.{}", endpoint.authority()),
        None => account.to_owned(),
    };
    Ok(bucket.identity("az", Some(&server)))
}

fn account(environment: &Environment) -> Result<&str, Error> {
    let named = ["AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"];
    named
        .iter()
        .find_map(|name| environment.get(name))
        .ok_or_else(|| Error::InvalidOption {
            option: "AZURE_STORAGE_ACCOUNT_NAME",
            value: "is not set".to_owned(),
            reason: "az:// needs the account; set it in the environment".to_owned(),
        })
}

fn endpoint(connection: &Connection) -> Result<Option<Url>, Error> {
    let value = connection.endpoint.as_deref();
    value
        .map(|value| parse_endpoint("--endpoint", value))
        .transpose()
}

/// The variables that are keys of a builder's configuration.
fn settings<'a, Key: FromStr>(
    environment: &'a Environment,
    prefix: &'a str,
) -> impl Iterator<Item = (Key, &'a str)> {
    environment
        .starting_with(prefix)
        .filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value)))
}

impl Parts<'_> {
    pub(super) fn gs(&self, bucket: Bucket) -> Result<Remote, Error> {
        let endpoint = endpoint(self.connection)?;
        let mut builder = GoogleCloudStorageBuilder::new();
        for (key, value) in settings::<GoogleConfigKey>(self.environment, "GOOGLE_") {
            builder = builder.with_config(key, value);
        }
        if let Some(endpoint) = &endpoint {
            builder = builder.with_base_url(endpoint.as_str().trim_end_matches('/'));
        }
        let store = builder
            .with_bucket_name(&bucket.name)
            .with_skip_signature(self.connection.anonymous)
            .with_client_options(self.client(endpoint.as_ref()))
            .with_retry(no_retry())
            .build()
            .map_err(|error| self.not_opened(&error))?;
        let store = Arc::new(store);
        Ok(Remote {
            identity: gs_identity(&bucket, self.connection)?,
            lister: Lister::Paged(Arc::clone(&store) as _),
            store,
            prefix: bucket.prefix,
        })
    }

    pub(super) fn az(&self, bucket: Bucket) -> Result<Remote, Error> {
        let endpoint = endpoint(self.connection)?;
        let mut builder = MicrosoftAzureBuilder::new();
        for (key, value) in settings::<AzureConfigKey>(self.environment, "AZURE_") {
            builder = builder.with_config(key, value);
        }
        if let Some(endpoint) = &endpoint {
            builder = builder.with_endpoint(endpoint.as_str().trim_end_matches('/').to_owned());
        }
        let store = builder
            .with_account(account(self.environment)?)
            .with_container_name(&bucket.name)
            .with_skip_signature(self.connection.anonymous)
            .with_client_options(self.client(endpoint.as_ref()))
            .with_retry(no_retry())
            .build()
            .map_err(|error| self.not_opened(&error))?;
        let store = Arc::new(store);
        Ok(Remote {
            identity: az_identity(&bucket, self.connection, self.environment)?,
            lister: Lister::Paged(Arc::clone(&store) as _),
            store,
            prefix: bucket.prefix,
        })
    }

    /// The store is the server and the URL's path a prefix in it: so the library takes
    /// the paths in a listing, which are the server's.
    pub(super) fn http(&self, url: &Url, identity: String) -> Result<Remote, Error> {
        let store = HttpBuilder::new()
            .with_url(&url[..Position::BeforePath])
            .with_client_options(self.client(Some(url)))
            .with_retry(no_retry())
            .build()
            .map_err(|error| self.not_opened(&error))?;
        let path = percent_decode_str(url.path().trim_matches('/')).decode_utf8();
        let path = path.map_err(|_| Error::InvalidUrl {
            value: self.url.to_owned(),
            reason: "the path is not UTF-8".to_owned(),
        })?;
        Ok(Remote {
            identity,
            lister: Lister::ByDirectory,
            store: Arc::new(store),
            prefix: if path.is_empty() {
                String::new()
            } else {
                format!("{path}/")
            },
        })
    }

    fn client(&self, server: Option<&Url>) -> ClientOptions {
        let is_http = server.is_some_and(|url| url.scheme() == "http");
        ClientOptions::new()
            .with_http1_only()
            .with_allow_http(is_http)
            .with_no_system_certificates(is_http)
            .with_connect_timeout(CONNECT_TIMEOUT)
            // The default counts a whole body: no part could take longer.
            .with_timeout_disabled()
            .with_pool_max_idle_per_host(self.idle_connections)
    }

    fn not_opened(&self, error: &object_store::Error) -> Error {
        let reason = self.environment.without_secrets(error.to_string());
        Error::NotOpened {
            url: self.url.to_owned(),
            reason,
        }
    }
}

/// The wrapper around every origin retries; two of them would multiply.
fn no_retry() -> RetryConfig {
    RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Origin;

    const ACCOUNT: &str = "AZURE_STORAGE_ACCOUNT_NAME";

    fn bucket() -> Bucket {
        Bucket {
            name: "b".into(),
            prefix: "p/".into(),
        }
    }

    fn with<T>(
        endpoint: Option<&str>,
        environment: &Environment,
        open: impl FnOnce(&Parts<'_>) -> T,
    ) -> T {
        let connection = Connection {
            endpoint: endpoint.map(Into::into),
            anonymous: true,
            ..Connection::default()
        };
        crate::origin::install_crypto_provider();
        open(&Parts {
            url: "az://b/p",
            connection: &connection,
            environment,
            idle_connections: 1,
        })
    }

    #[test]
    fn an_account_is_part_of_the_identity_and_asked_for() {
        let local = Some("http://127.0.0.1:10000");
        let error = with(local, &Environment::default(), |parts| {
            parts.az(bucket()).unwrap_err()
        });
        assert!(error.to_string().contains(ACCOUNT), "{error}");
        let environment = Environment::from([(ACCOUNT, "acc")]);
        let origin = with(local, &environment, |parts| parts.az(bucket()).unwrap());
        assert_eq!(origin.identity(), "az://b@acc.127.0.0.1:10000/p");
    }

    #[test]
    fn a_bucket_of_google_opens_with_an_endpoint() {
        let local = Some("http://127.0.0.1:4443");
        let origin = with(local, &Environment::default(), |parts| {
            parts.gs(bucket()).unwrap()
        });
        assert_eq!(origin.identity(), "gs://b@127.0.0.1:4443/p");
    }

    #[test]
    fn a_secret_in_the_environment_is_not_in_the_error() {
        let key = "hunter2-is-not-base64!";
        let environment = Environment::from([(ACCOUNT, "acc"), ("AZURE_STORAGE_ACCOUNT_KEY", key)]);
        let error = with(None, &environment, |parts| parts.az(bucket()).err());
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}
