//! SigV4: <https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html>.
//!
//! Written apart from the product's own, so that a test does not agree with a mistake.

use chrono::Utc;
use ring::digest::{SHA256, digest};
use ring::hmac;

use crate::endpoint::Endpoint;

/// The body is not signed: loopback does not change it.
const PAYLOAD: &str = "UNSIGNED-PAYLOAD";
const SIGNED: &str = "host;x-amz-content-sha256;x-amz-date";

/// The headers of a signed request. `path` and `query` are as they go over the wire, the
/// query in the order of its names.
pub(super) fn sign(
    endpoint: &Endpoint,
    host: &str,
    method: &str,
    path: &str,
    query: &str,
) -> Vec<(String, String)> {
    let now = Utc::now().format("%Y%m%dT%H%M%SZ").to_string();
    sign_at(&now, endpoint, host, method, path, query)
}

fn sign_at(
    now: &str,
    endpoint: &Endpoint,
    host: &str,
    method: &str,
    path: &str,
    query: &str,
) -> Vec<(String, String)> {
    let day = &now[..8];
    let scope = format!("{day}/{}/s3/aws4_request", Endpoint::REGION);
    let canonical = format!(
        "{method}\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:{PAYLOAD}\nx-amz-date:{now}\n\n\
         {SIGNED}\n{PAYLOAD}"
    );
    let hash = hex(digest(&SHA256, canonical.as_bytes()).as_ref());
    let to_sign = format!("AWS4-HMAC-SHA256\n{now}\n{scope}\n{hash}");
    let first = format!("AWS4{}", endpoint.secret_key).into_bytes();
    let key = [day, Endpoint::REGION, "s3", "aws4_request"]
        .iter()
        .fold(first, |key, part| hmac(&key, part));
    let signature = hex(&hmac(&key, &to_sign));
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={SIGNED}, Signature={signature}",
        endpoint.access_key
    );
    [
        ("host", host),
        ("x-amz-content-sha256", PAYLOAD),
        ("x-amz-date", now),
        ("authorization", &authorization),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
