//! Where an S3 server is and how it knows us.

use std::net::{IpAddr, Ipv4Addr};

use object_store::aws::{AmazonS3, AmazonS3Builder};

/// An S3 server: address and keys. Buckets are addressed by path.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The URL, without a slash at the end.
    pub url: String,
    /// The access key.
    pub access_key: String,
    /// The secret key.
    pub secret_key: String,
}

impl Endpoint {
    /// The region that requests are signed for; the servers take any.
    pub const REGION: &'static str = "us-east-1";

    /// An endpoint with the keys that the servers of the harness are set up with.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            access_key: "testkey".to_owned(),
            secret_key: "testsecret".to_owned(),
        }
    }

    /// An in-process server that knows the keys of [`Self::new`], and its endpoint.
    pub fn loopback() -> (forebay_loopback_s3::LoopbackS3, Self) {
        Self::at(Ipv4Addr::LOCALHOST.into())
    }

    /// [`Self::loopback`] at another address of this machine.
    pub fn at(address: IpAddr) -> (forebay_loopback_s3::LoopbackS3, Self) {
        let keys = Self::new("");
        let server = forebay_loopback_s3::LoopbackS3::builder()
            .credentials(keys.access_key, keys.secret_key)
            .address(address)
            .start()
            .unwrap_or_else(|error| panic!("start an S3 server at {address}: {error}"));
        let endpoint = Self::new(server.endpoint());
        (server, endpoint)
    }

    /// A bucket of the server through `object_store`.
    pub fn object_store(&self, bucket: &str) -> AmazonS3 {
        // An error says that a test before this one has installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        AmazonS3Builder::new()
            .with_endpoint(&self.url)
            .with_region(Self::REGION)
            .with_bucket_name(bucket)
            .with_access_key_id(&self.access_key)
            .with_secret_access_key(&self.secret_key)
            .with_virtual_hosted_style_request(false)
            .with_allow_http(true)
            .build()
            .expect("a complete description of a bucket")
    }

    /// The environment that a program finds the keys in.
    pub fn environment(&self) -> [(&'static str, &str); 3] {
        [
            ("AWS_ACCESS_KEY_ID", &self.access_key),
            ("AWS_SECRET_ACCESS_KEY", &self.secret_key),
            ("AWS_REGION", Self::REGION),
        ]
    }
}
