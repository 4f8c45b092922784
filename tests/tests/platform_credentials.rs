//! Keys of S3 that nobody writes down: what a platform hands out to its workloads.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use forebay_loopback_s3::LoopbackS3;
use forebay_tests::{Answer, Authority, Endpoint, HttpServer, Mount, MountCommand, Question};
use forebay_tests::{Scratch, answer};

const MIB: u64 = 1 << 20;
const ROLE: &str = "arn:aws:iam::1:role/reader";

/// A bucket that is read with nothing but what a platform gives.
struct Bucket {
    // The server first: the mount is gone before it.
    _server: LoopbackS3,
    endpoint: Endpoint,
    scratch: Scratch,
}

impl Bucket {
    fn new() -> Self {
        let (server, endpoint) = Endpoint::loopback();
        server.put("data", "a", "bytes of a");
        server.put("data", "b", "bytes of b");
        let scratch = Scratch::new("credentials", 10 * MIB);
        Self {
            _server: server,
            endpoint,
            scratch,
        }
    }

    /// A mount that knows where the bucket is, and no key.
    fn mount(&self) -> MountCommand {
        MountCommand::new("s3://data", &self.scratch.dir("m"))
            .args(&["--endpoint", &self.endpoint.url, "--path-style"])
            .env("HOME", "/nonexistent")
    }

    /// Writes the proof of who the workload is.
    fn token(&self, token: &str) -> String {
        let path = self.scratch.path().join("token");
        fs::write(&path, token).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// What a platform gives for `lifetime`.
    fn keys(&self, lifetime: TimeDelta) -> Keys {
        Keys {
            id: self.endpoint.access_key.clone(),
            secret: self.endpoint.secret_key.clone(),
            lifetime,
        }
    }
}

#[derive(Clone)]
struct Keys {
    id: String,
    secret: String,
    lifetime: TimeDelta,
}

impl Keys {
    fn json(&self) -> Answer {
        let (Self { id, secret, .. }, end) = (self, self.end());
        let keys = serde_json::json!({
            "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": id, "SecretAccessKey": secret,
            "Token": "t0ken", "Expiration": end,
        });
        answer(200, keys.to_string())
    }

    fn xml(&self) -> Answer {
        let (Self { id, secret, .. }, end) = (self, self.end());
        answer(
            200,
            format!(
                "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
                 <AssumeRoleWithWebIdentityResult><Credentials><SessionToken>t0ken</SessionToken>\
                 <SecretAccessKey>{secret}</SecretAccessKey><Expiration>{end}</Expiration>\
                 <AccessKeyId>{id}</AccessKeyId></Credentials></AssumeRoleWithWebIdentityResult>\
                 </AssumeRoleWithWebIdentityResponse>"
            ),
        )
    }

    fn end(&self) -> String {
        (Utc::now() + self.lifetime)
            .format("%Y-%m-%dT%H:%M:%SZ")
            .to_string()
    }
}

fn shows(question: &Question, header: &str, value: &str) -> bool {
    question
        .headers()
        .get(header)
        .is_some_and(|shown| shown == value)
}

fn assert_reads(mount: &Mount, bucket: &Bucket) {
    assert_eq!(fs::read(mount.path().join("a")).unwrap(), b"bytes of a");
    let log = mount.log();
    for secret in [&*bucket.endpoint.secret_key, "t0ken", "pr00f"] {
        assert!(!log.contains(secret), "{log}");
    }
}

/// The metadata service of an instance, version 2, that counts how often it gave keys.
fn instance(keys: Keys, given: Arc<AtomicU64>) -> HttpServer {
    const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
    HttpServer::start(move |question| {
        let path = question.uri().path();
        let with_session = shows(question, "x-aws-ec2-metadata-token", "session");
        match (question.method().as_str(), path.strip_prefix(ROLES)) {
            ("PUT", None) if path == "/latest/api/token" => answer(200, "session"),
            ("GET", Some("")) if with_session => answer(200, "reader"),
            ("GET", Some("reader")) if with_session => {
                given.fetch_add(1, Ordering::Relaxed);
                keys.json()
            }
            _ => answer(401, ""),
        }
    })
}

#[test]
fn an_instance_gets_its_keys_from_the_metadata_service_and_new_ones_in_time() {
    let bucket = Bucket::new();
    let given = Arc::<AtomicU64>::default();
    // So near their end, keys are asked for again before they are used.
    let service = instance(bucket.keys(TimeDelta::minutes(1)), Arc::clone(&given));
    let command = bucket.mount().env("AWS_METADATA_ENDPOINT", service.url());
    let mount = command.start();
    assert_reads(&mount, &bucket);
    let before = given.load(Ordering::Relaxed);
    // The library asks no more often than this.
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(fs::read(mount.path().join("b")).unwrap(), b"bytes of b");
    assert!(given.load(Ordering::Relaxed) > before);
    mount.assert_quiet();
    mount.unmount();
}

#[test]
fn a_pod_gets_its_keys_from_the_agent_of_its_node() {
    let bucket = Bucket::new();
    let keys = bucket.keys(TimeDelta::hours(1));
    let agent =
        HttpServer::start(
            move |question| match shows(question, "authorization", "pr00f") {
                true => keys.json(),
                false => answer(403, ""),
            },
        );
    let command = bucket
        .mount()
        .env(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            &format!("{}/v1/credentials", agent.url()),
        )
        .env(
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            &bucket.token("pr00f"),
        );
    let mount = command.start();
    assert_reads(&mount, &bucket);
    mount.assert_quiet();
    mount.unmount();
}

#[test]
fn a_workload_with_a_web_identity_changes_it_for_keys() {
    let bucket = Bucket::new();
    let keys = bucket.keys(TimeDelta::hours(1));
    let authority = Authority::new();
    let service = HttpServer::start_tls(&authority, move |question| {
        let query = question.uri().query().unwrap_or_default();
        let is_right = [
            "Action=AssumeRoleWithWebIdentity",
            "RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Freader",
            "WebIdentityToken=pr00f",
        ];
        match is_right.iter().all(|part| query.contains(part)) {
            true => keys.xml(),
            false => answer(403, ""),
        }
    });
    let ca = bucket.scratch.path().join("ca.pem");
    fs::write(&ca, authority.pem()).unwrap();
    let with_token = |token: &str| {
        bucket
            .mount()
            .env("SSL_CERT_FILE", ca.to_str().unwrap())
            .env("AWS_ENDPOINT_URL_STS", service.url())
            .env("AWS_ROLE_ARN", ROLE)
            .env("AWS_WEB_IDENTITY_TOKEN_FILE", &bucket.token(token))
    };
    let (status, said) = with_token("f0rged").refused(Duration::from_secs(15));
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(
        said.contains("web identity") && !said.contains("f0rged"),
        "{said}"
    );
    let mount = with_token("pr00f").start();
    assert_reads(&mount, &bucket);
    mount.unmount();
}
