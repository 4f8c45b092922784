//! Certificates of a member, read again when their files change.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// Where certificates are.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// This member's certificate, and what leads from it to the authority, in PEM.
    pub cert: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
    /// The authority that certifies all members, in PEM.
    pub authority: PathBuf,
    /// The DNS name that is in every member's certificate.
    pub name: String,
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds no PEM.
    #[error("read {path}: {reason}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Key, certificate and authority do not go together.
    #[error("the certificate in {path} cannot be used: {reason}", path = path.display())]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The common name of the members is no DNS name.
    #[error("{name:?} is no DNS name")]
    Name {
        /// It.
        name: String,
        /// Why.
        source: InvalidDnsNameError,
    },
}

#[derive(Clone, Debug)]
struct Loaded {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    changed: Vec<Option<SystemTime>>,
}

/// The certificates of a member.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    name: ServerName<'static>,
    loaded: RwLock<Loaded>,
}

/// Between two looks at the files. Mounted secrets are swapped by links, which file
/// notifications miss.
const LOOK_EVERY: Duration = Duration::from_secs(10);

impl Tls {
    /// Reads the certificates.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(files: TlsFiles) -> Result<Arc<Self>, TlsError> {
        crate::origin::install_crypto_provider();
        let name = ServerName::try_from(files.name.clone()).map_err(|source| TlsError::Name {
            name: files.name.clone(),
            source,
        })?;
        let loaded = RwLock::new(read(&files)?);
        Ok(Arc::new(Self {
            files,
            name,
            loaded,
        }))
    }

    /// Reads the certificates again whenever a file has changed; never ends. Connections
    /// that are open keep the old ones.
    pub async fn keep_fresh(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.refresh();
        }
    }

    /// Reads the certificates again if a file has changed. What cannot be used is logged,
    /// and the old ones stay.
    pub fn refresh(&self) {
        if self.loaded().changed == changed(&self.files) {
            return;
        }
        match read(&self.files) {
            Ok(loaded) => {
                tracing::info!(cert = %self.files.cert.display(), "certificates read again");
                *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = loaded;
            }
            Err(error) => tracing::warn!(%error, "new certificates cannot be used"),
        }
    }

    fn loaded(&self) -> Loaded {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        loaded.clone()
    }

    pub(super) fn server(&self) -> Arc<ServerConfig> {
        self.loaded().server
    }

    pub(super) fn client(&self) -> (Arc<ClientConfig>, ServerName<'static>) {
        (self.loaded().client, self.name.clone())
    }
}

fn changed(files: &TlsFiles) -> Vec<Option<SystemTime>> {
    let changed = |path: &PathBuf| path.metadata().and_then(|found| found.modified()).ok();
    [&files.cert, &files.key, &files.authority]
        .map(changed)
        .to_vec()
}

fn read(files: &TlsFiles) -> Result<Loaded, TlsError> {
    // Before the files: a change meanwhile is found the next time.
    let changed = changed(files);
    let unusable = |error: &dyn std::fmt::Display| TlsError::Unusable {
        path: files.cert.clone(),
        reason: error.to_string(),
    };
    let mut roots = RootCertStore::empty();
    for authority in certificates(&files.authority)? {
        roots.add(authority).map_err(|error| unusable(&error))?;
    }
    let roots = Arc::new(roots);
    let chain = certificates(&files.cert)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| TlsError::File {
        path: files.key.clone(),
        reason: error.to_string(),
    })?;
    let verifier = WebPkiClientVerifier::builder(Arc::clone(&roots))
        .build()
        .map_err(|error| unusable(&error))?;
    let server = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.clone(), key.clone_key())
        .map_err(|error| unusable(&error))?;
    let client = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|error| unusable(&error))?;
    Ok(Loaded {
        server: Arc::new(server),
        client: Arc::new(client),
        changed,
    })
}

fn certificates(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |reason: String| TlsError::File {
        path: path.clone(),
        reason,
    };
    let found = CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?;
    let found: Result<Vec<_>, _> = found.collect();
    let found = found.map_err(|error| wrong(error.to_string()))?;
    if found.is_empty() {
        let none = io::Error::new(io::ErrorKind::InvalidData, "no certificate in it");
        return Err(wrong(none.to_string()));
    }
    Ok(found)
}
