//! What requests are signed with.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use object_store::StaticCredentialProvider;
use object_store::aws::{AwsAuthorizer, AwsCredential, AwsCredentialProvider};
use object_store::client::{HttpRequest, HttpRequestBody};

use crate::origin::Error;
use crate::origin::transport::root_cause;

/// How long the platform (token service, metadata service) may take to hand out
/// credentials. On a machine without a metadata service the address swallows packets,
/// so this is how long finding out takes.
const PROVIDER_TIMEOUT: Duration = Duration::from_secs(5);

/// The ways out, for whoever has no credentials.
const NO_CREDENTIALS: &str = "no credentials found: set AWS_ACCESS_KEY_ID and \
     AWS_SECRET_ACCESS_KEY, or choose a profile with AWS_PROFILE, or pass --anonymous for a \
     public bucket";

/// Where the credentials of requests come from. Never shows them.
pub(crate) enum Credentials {
    /// Requests are not signed.
    Anonymous,
    /// There is nothing to sign with.
    Missing,
    /// Requests are signed with what the provider gives.
    Provided {
        /// Gives the same until it expires.
        provider: AwsCredentialProvider,
        /// Where from, for messages: "the environment", "profile x".
        from: String,
        /// Whether the provider has ever given any: if so, its failure passes.
        seen: AtomicBool,
    },
}

impl Credentials {
    /// Credentials that do not change.
    pub(crate) fn fixed(from: String, credential: AwsCredential) -> Self {
        Self::provided(from, Arc::new(StaticCredentialProvider::new(credential)))
    }

    /// Credentials that a provider renews.
    pub(crate) fn provided(from: String, provider: AwsCredentialProvider) -> Self {
        Self::Provided {
            provider,
            from,
            seen: AtomicBool::new(false),
        }
    }

    /// Adds the signature for a GET of `url` to `headers`.
    pub(super) async fn sign(
        &self,
        what: &str,
        url: &str,
        region: &str,
        headers: HeaderMap,
    ) -> Result<HeaderMap, Error> {
        let (provider, from, seen) = match self {
            Self::Anonymous => return Ok(headers),
            Self::Missing => return Err(forbidden(what, NO_CREDENTIALS.to_owned())),
            Self::Provided {
                provider,
                from,
                seen,
            } => (provider, from, seen),
        };
        let credential = match fetch(provider).await {
            Ok(credential) => credential,
            Err(reason) => return Err(unavailable(what, from, reason, seen)),
        };
        seen.store(true, Ordering::Relaxed);
        // The signer panics on text that does not fit into a header.
        if !is_sendable(&credential) {
            let reason = format!("the credentials from {from} contain characters no key has");
            return Err(forbidden(what, reason));
        }
        signed(url, region, headers, &credential).map_err(|reason| Error::Protocol {
            what: what.to_owned(),
            reason,
        })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Missing => f.write_str("Missing"),
            Self::Provided { from, .. } => write!(f, "Provided({from})"),
        }
    }
}

async fn fetch(provider: &AwsCredentialProvider) -> Result<Arc<AwsCredential>, String> {
    match tokio::time::timeout(PROVIDER_TIMEOUT, provider.get_credential()).await {
        Ok(Ok(credential)) => Ok(credential),
        Ok(Err(error)) => Err(root_cause(&error)),
        Err(_) => Err(format!("no answer within {} s", PROVIDER_TIMEOUT.as_secs())),
    }
}

fn unavailable(what: &str, from: &str, reason: String, seen: &AtomicBool) -> Error {
    if seen.load(Ordering::Relaxed) {
        let reason = format!("renew credentials from {from}: {reason}");
        return Error::Unreachable {
            what: what.to_owned(),
            reason,
        };
    }
    forbidden(what, format!("{NO_CREDENTIALS} ({from}: {reason})"))
}

fn forbidden(what: &str, reason: String) -> Error {
    Error::Forbidden {
        what: what.to_owned(),
        reason,
    }
}

fn is_sendable(credential: &AwsCredential) -> bool {
    let visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    visible(&credential.key_id) && credential.token.as_deref().is_none_or(visible)
}

fn signed(
    url: &str,
    region: &str,
    headers: HeaderMap,
    credential: &AwsCredential,
) -> Result<HeaderMap, String> {
    let mut request: HttpRequest = http::Request::get(url)
        .body(HttpRequestBody::empty())
        .map_err(|error| error.to_string())?;
    *request.headers_mut() = headers;
    AwsAuthorizer::new(credential, "s3", region)
        .try_authorize(&mut request, None)
        .map_err(|error| error.to_string())?;
    let mut headers = std::mem::take(request.headers_mut());
    // Hides both from anything that prints the headers of a request.
    for name in [AUTHORIZATION.as_str(), "x-amz-security-token"] {
        if let Some(value) = headers.get_mut(name) {
            value.set_sensitive(true);
        }
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://b.s3.us-east-1.amazonaws.com/k";

    fn fixed(secret: &str, token: Option<&str>) -> Credentials {
        let credential = AwsCredential {
            key_id: "AKIA".into(),
            secret_key: secret.into(),
            token: token.map(Into::into),
        };
        Credentials::fixed("the environment".into(), credential)
    }

    async fn sign(credentials: &Credentials) -> Result<HeaderMap, Error> {
        credentials
            .sign("s3://b/k", URL, "us-east-1", HeaderMap::new())
            .await
    }

    #[tokio::test]
    async fn a_signature_carries_key_id_and_token_and_shows_neither() {
        let headers = sign(&fixed("hunter2", Some("t0ken"))).await.unwrap();
        let authorization = headers[AUTHORIZATION].to_str().unwrap();
        assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIA/"));
        assert_eq!(headers["x-amz-security-token"], "t0ken");
        let shown = format!("{headers:?}");
        assert!(
            !shown.contains("t0ken") && !shown.contains("Signature="),
            "{shown}"
        );
    }

    #[tokio::test]
    async fn anonymous_requests_are_not_signed() {
        assert!(sign(&Credentials::Anonymous).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn missing_credentials_name_the_three_ways_to_have_some() {
        let error = sign(&Credentials::Missing).await.unwrap_err().to_string();
        for way in ["AWS_ACCESS_KEY_ID", "AWS_PROFILE", "--anonymous"] {
            assert!(error.contains(way), "{error}");
        }
    }

    #[tokio::test]
    async fn a_key_that_no_header_can_carry_is_an_error_without_the_key() {
        let error = sign(&fixed("s", Some("to\nken"))).await.unwrap_err();
        assert!(matches!(error, Error::Forbidden { .. }), "{error}");
        assert!(!error.to_string().contains("ken\""), "{error}");
    }

    #[test]
    fn secrets_are_not_in_debug_output() {
        let shown = format!("{:?}", fixed("hunter2", Some("t0ken")));
        assert_eq!(shown, "Provided(the environment)");
    }
}
