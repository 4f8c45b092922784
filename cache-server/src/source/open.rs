//! From a parsed source to an origin.

use std::path::Path;
use std::sync::Arc;

use url::Url;

use super::aws::Access;
use super::cloud;
use super::environment::Environment;
use super::location::{Bucket, Location};
use super::{Connection, Error, OriginConfig, SourceSpec};
use crate::origin::{
    Directory, Metered, Origin, Patience, Retrying, S3, S3Config, install_crypto_provider,
};

/// A source with all that is needed to open it; nothing is contacted.
pub(super) struct Opener<'a> {
    pub(super) spec: &'a SourceSpec,
    pub(super) environment: &'a Environment,
}

impl Opener<'_> {
    /// See [`Origin::identity`].
    pub(super) fn identity(&self) -> Result<String, Error> {
        let connection = &self.spec.connection;
        match Location::parse(&self.spec.url)? {
            Location::S3(bucket) => {
                let access = Access::resolve(&bucket, connection, self.environment)?;
                Ok(bucket.identity("s3", access.server.as_deref()))
            }
            Location::Gs(bucket) => cloud::gs_identity(&bucket, connection),
            Location::Az(bucket) => cloud::az_identity(&bucket, connection, self.environment),
            Location::Http(url) => Ok(url_identity(&url)),
            Location::File(path) => Ok(path_identity(&path)),
        }
    }

    /// The origin, counted and retried.
    pub(super) fn open(&self, config: &OriginConfig) -> Result<Arc<dyn Origin>, Error> {
        install_crypto_provider();
        let bare = self.bare(config)?;
        let metered = Arc::new(Metered::new(bare, Arc::clone(&config.stats)));
        let patience = Patience {
            timeout: config.timeout,
            // However short the time, it is enough for a second try.
            stall: config.stall.min(config.timeout / 2),
        };
        Ok(Arc::new(Retrying::new(
            metered,
            patience,
            Arc::clone(&config.stats),
        )))
    }

    fn bare(&self, config: &OriginConfig) -> Result<Arc<dyn Origin>, Error> {
        let connection = &self.spec.connection;
        let parts = cloud::Parts {
            url: &self.spec.url,
            connection,
            environment: self.environment,
            idle_connections: config.idle_connections,
        };
        match Location::parse(&self.spec.url)? {
            Location::S3(bucket) => self.s3(&bucket, connection, config),
            Location::Gs(bucket) => Ok(Arc::new(parts.gs(bucket)?)),
            Location::Az(bucket) => Ok(Arc::new(parts.az(bucket)?)),
            Location::Http(url) => Ok(Arc::new(parts.http(&url, url_identity(&url))?)),
            Location::File(path) => Ok(Arc::new(Directory::new(path_identity(&path), path))),
        }
    }

    fn s3(
        &self,
        bucket: &Bucket,
        connection: &Connection,
        config: &OriginConfig,
    ) -> Result<Arc<dyn Origin>, Error> {
        let access = Access::resolve(bucket, connection, self.environment)?;
        let origin = S3::new(S3Config {
            identity: bucket.identity("s3", access.server.as_deref()),
            bucket: access.bucket,
            region: access.region,
            prefix: bucket.prefix.clone(),
            credentials: access.credentials,
            idle_connections: config.idle_connections,
        });
        let not_opened = |error: reqwest::Error| Error::NotOpened {
            url: self.spec.url.clone(),
            reason: format!("set up TLS: {error}"),
        };
        Ok(Arc::new(origin.map_err(not_opened)?))
    }
}

fn url_identity(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

fn path_identity(path: &Path) -> String {
    format!("file://{}", path.display())
}
