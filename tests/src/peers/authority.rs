//! Certificates as an operator would issue them.

use std::fs;
use std::path::Path;

/// An authority that certifies the servers of a cluster.
#[derive(Debug)]
pub struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pem: String,
}

impl Authority {
    /// The name in every certificate.
    pub const NAME: &'static str = "forebay-peer";

    /// A new one, which nobody knows yet.
    ///
    /// # Panics
    /// If this machine has no random numbers.
    pub fn new() -> Self {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no name");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let cert = params.self_signed(&key).expect("signed");
        Self {
            pem: cert.pem(),
            issuer: rcgen::Issuer::new(params, key),
        }
    }

    /// Its own certificate, in PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A new certificate and its key, in PEM.
    ///
    /// # Panics
    /// If this machine has no random numbers.
    pub fn certificate(&self) -> (String, String) {
        self.certificate_for(Self::NAME)
    }

    /// [`Self::certificate`] for another name, or for an address.
    ///
    /// # Panics
    /// If it is neither, or this machine has no random numbers.
    pub fn certificate_for(&self, name: &str) -> (String, String) {
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let cert = params.signed_by(&key, &self.issuer).expect("signed");
        (cert.pem(), key.serialize_pem())
    }

    /// Writes a new certificate (`cert.pem`), its key (`key.pem`) and the authority's own
    /// certificate (`ca.pem`) to `dir`.
    ///
    /// # Panics
    /// If they cannot be written.
    pub fn certify(&self, dir: &Path) {
        let (cert, key) = self.certificate();
        let files = [
            ("cert.pem", &*cert),
            ("key.pem", &*key),
            ("ca.pem", &*self.pem),
        ];
        for (name, content) in files {
            let path = dir.join(name);
            fs::write(&path, content)
                .unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
        }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
