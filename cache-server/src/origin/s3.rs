//! S3 and what speaks its protocol.
//!
//! The requests are made here and not through `object_store`, which keeps its keys in
//! a normal form: it strips slashes at both ends, refuses `a//b`, and one such key fails
//! a whole page of its listing. A dataset is shown as it is. Signing and the sources of
//! credentials (environment, web identity, container, instance) are `object_store`'s.

use forebay_core::ByteRange;
use futures::{StreamExt, TryStreamExt};
use http::header::{IF_MATCH, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::validator::Validator;
use super::{Body, Error, Origin, Page, PageRequest, PinnedObject, printable, transport};

mod answer;
mod bucket;
mod credentials;
mod listing;
mod xml;

use answer::Refusal;
pub(crate) use bucket::BucketUrl;
pub(crate) use credentials::Credentials;
use listing::Question;

/// How much of an error's body is read: an error document is well below it.
const REFUSAL_MAX: usize = 16 << 10;

/// What a bucket's origin is made of.
#[derive(Debug)]
pub(crate) struct Config {
    /// See [`Origin::identity`].
    pub(crate) identity: String,
    /// Where the bucket is.
    pub(crate) bucket: BucketUrl,
    /// The region that requests are signed for.
    pub(crate) region: String,
    /// The source's prefix: empty or ending in `/`.
    pub(crate) prefix: String,
    /// What to sign with.
    pub(crate) credentials: Credentials,
    /// Connections kept open while idle.
    pub(crate) idle_connections: usize,
}

/// A prefix of a bucket.
#[derive(Debug)]
pub(crate) struct S3 {
    config: Config,
    http: reqwest::Client,
}

impl S3 {
    /// # Errors
    /// The TLS library's, if the system's certificates cannot be loaded.
    pub(crate) fn new(config: Config) -> reqwest::Result<Self> {
        let http = transport::client(config.bucket.is_https(), config.idle_connections)?;
        Ok(Self { config, http })
    }

    /// Sends a signed GET and gives the answer if it is a success.
    async fn get(
        &self,
        what: &str,
        url: &str,
        headers: HeaderMap,
    ) -> Result<reqwest::Response, Error> {
        let Config {
            bucket,
            region,
            credentials,
            ..
        } = &self.config;
        let headers = credentials.sign(what, url, region, headers).await?;
        let answer = self
            .http
            .get(url)
            .headers(headers)
            .send()
            .await
            .map_err(|error| transport::unreachable(what, bucket.server(), &error))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = beginning(answer).await;
        Err(Refusal {
            status,
            headers: &headers,
            body: &body,
        }
        .into_error(what, region))
    }
}

#[async_trait::async_trait]
impl Origin for S3 {
    fn identity(&self) -> &str {
        &self.config.identity
    }

    async fn list(&self, request: PageRequest<'_>) -> Result<Page, Error> {
        let what = format!("{}/{}", self.identity(), printable(request.prefix));
        let question = Question::new(&self.config.prefix, request);
        let url = self.config.bucket.query(&question.pairs());
        let answer = self.get(&what, &url, HeaderMap::new()).await?;
        let document = answer
            .bytes()
            .await
            .map_err(|error| transport::unreachable(&what, self.config.bucket.server(), &error))?;
        question
            .page(&document)
            .map_err(|reason| Error::Protocol { what, reason })
    }

    async fn read(&self, object: PinnedObject<'_>, range: ByteRange) -> Result<Body, Error> {
        let what = format!("{}/{}", self.identity(), printable(object.key));
        if range.is_empty() {
            return Ok(futures::stream::empty().boxed());
        }
        let key = [self.config.prefix.as_bytes(), object.key].concat();
        let Some(url) = self.config.bucket.object(&key) else {
            let reason = "a key with \".\" or \"..\" parts cannot be asked for".to_owned();
            return Err(Error::Protocol { what, reason });
        };
        let headers = read_headers(object, range, &what)?;
        let answer = self.get(&what, &url, headers).await?;
        answer::check_object(answer.status(), answer.headers(), object, range, &what)?;
        let server = self.config.bucket.server().to_owned();
        let body = answer
            .bytes_stream()
            .map_err(move |error| transport::unreachable(&what, &server, &error));
        Ok(body.boxed())
    }
}

/// `Range` and `If-Match`.
fn read_headers(
    object: PinnedObject<'_>,
    range: ByteRange,
    what: &str,
) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    let mut insert = |name: HeaderName, value: String| match HeaderValue::try_from(value) {
        Ok(value) => {
            headers.insert(name, value);
            Ok(())
        }
        Err(_) => {
            let reason = format!("its {name} value cannot be sent");
            Err(Error::Protocol {
                what: what.to_owned(),
                reason,
            })
        }
    };
    insert(
        RANGE,
        format!("bytes={}-{}", range.start(), range.end() - 1),
    )?;
    if let Some(etag) = Validator::of(object.etag).if_match() {
        insert(IF_MATCH, etag.to_owned())?;
    }
    Ok(headers)
}

/// The beginning of an error's body; what does not arrive is not needed.
async fn beginning(mut answer: reqwest::Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(piece)) = answer.chunk().await {
        let room = REFUSAL_MAX - body.len();
        body.extend_from_slice(&piece[..piece.len().min(room)]);
        if body.len() == REFUSAL_MAX {
            break;
        }
    }
    body
}
