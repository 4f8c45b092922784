//! The operations of S3, over the buckets in memory.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::BytesMut;
use futures::StreamExt;
use http::HeaderMap;
use s3s::dto::{self, ETag, ETagCondition, StreamingBlob};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use crate::buckets::{Buckets, NoSuchBucket};
use crate::encoding::{Position, form};
use crate::listing::{self, Entry, Page, Query};
use crate::object::{Content, Object, Pieces};

/// The most keys in one page of a listing, as in S3.
const MAX_KEYS: i32 = 1000;

impl From<NoSuchBucket> for S3Error {
    fn from(_: NoSuchBucket) -> Self {
        s3_error!(NoSuchBucket, "The specified bucket does not exist")
    }
}

#[derive(Debug)]
pub(crate) struct Service(pub(crate) Arc<Buckets>);

impl Service {
    fn object(&self, bucket: &str, key: &str) -> S3Result<Object> {
        let object = self
            .0
            .look(bucket, |objects| objects.get(key.as_bytes()).cloned())?;
        object.ok_or_else(|| s3_error!(NoSuchKey, "The specified key does not exist."))
    }
}

#[async_trait]
impl S3 for Service {
    async fn create_bucket(
        &self,
        request: S3Request<dto::CreateBucketInput>,
    ) -> S3Result<S3Response<dto::CreateBucketOutput>> {
        let bucket = request.input.bucket;
        if !self.0.create(&bucket) {
            return Err(s3_error!(BucketAlreadyOwnedByYou));
        }
        let location = Some(format!("/{bucket}"));
        Ok(S3Response::new(dto::CreateBucketOutput { location }))
    }

    async fn head_bucket(
        &self,
        request: S3Request<dto::HeadBucketInput>,
    ) -> S3Result<S3Response<dto::HeadBucketOutput>> {
        self.0.look(&request.input.bucket, |_| ())?;
        Ok(S3Response::new(dto::HeadBucketOutput::default()))
    }

    async fn list_buckets(
        &self,
        _: S3Request<dto::ListBucketsInput>,
    ) -> S3Result<S3Response<dto::ListBucketsOutput>> {
        let buckets = self
            .0
            .names()
            .into_iter()
            .map(|(name, created)| dto::Bucket {
                name: Some(name),
                creation_date: Some(created.into()),
                ..Default::default()
            });
        let buckets = Some(buckets.collect());
        Ok(S3Response::new(dto::ListBucketsOutput {
            buckets,
            ..Default::default()
        }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<dto::ListObjectsV2Input>,
    ) -> S3Result<S3Response<dto::ListObjectsV2Output>> {
        let input = request.input;
        let max_keys = input.max_keys.unwrap_or(MAX_KEYS).min(MAX_KEYS);
        let limit = usize::try_from(max_keys)
            .map_err(|_| s3_error!(InvalidArgument, "max-keys must not be negative"))?;
        let query = Query {
            prefix: input.prefix.as_deref().unwrap_or_default(),
            delimiter: input
                .delimiter
                .as_deref()
                .filter(|delimiter| !delimiter.is_empty()),
            from: first_position(&input)?,
            limit,
        };
        let page = self
            .0
            .look(&input.bucket, |objects| listing::page(objects, &query))?;
        Ok(S3Response::new(list_output(input, max_keys, page)))
    }

    async fn get_object(
        &self,
        request: S3Request<dto::GetObjectInput>,
    ) -> S3Result<S3Response<dto::GetObjectOutput>> {
        let input = request.input;
        let object = self.object(&input.bucket, &input.key)?;
        check(
            &object,
            input.if_match.as_ref(),
            input.if_none_match.as_ref(),
        )?;
        let size = object.content.len();
        let asked = input.range.map(|range| resolve(range, size)).transpose()?;
        let range = asked.clone().unwrap_or(0..size);
        Ok(S3Response::new(dto::GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(length(range.end - range.start)),
            content_range: asked
                .map(|range| format!("bytes {}-{}/{size}", range.start, range.end - 1)),
            content_type: Some("application/octet-stream".to_owned()),
            e_tag: Some(ETag::Strong(object.etag())),
            last_modified: Some(object.modified().into()),
            body: Some(StreamingBlob::new(Pieces::new(object.content, range))),
            ..Default::default()
        }))
    }

    async fn head_object(
        &self,
        request: S3Request<dto::HeadObjectInput>,
    ) -> S3Result<S3Response<dto::HeadObjectOutput>> {
        let input = request.input;
        let object = self.object(&input.bucket, &input.key)?;
        check(
            &object,
            input.if_match.as_ref(),
            input.if_none_match.as_ref(),
        )?;
        Ok(S3Response::new(dto::HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(length(object.content.len())),
            content_type: Some("application/octet-stream".to_owned()),
            e_tag: Some(ETag::Strong(object.etag())),
            last_modified: Some(object.modified().into()),
            ..Default::default()
        }))
    }

    async fn put_object(
        &self,
        request: S3Request<dto::PutObjectInput>,
    ) -> S3Result<S3Response<dto::PutObjectOutput>> {
        let input = request.input;
        let object = Object::new(Content::Stored(read_all(input.body).await?.freeze()));
        let etag = object.etag();
        let create = input
            .if_none_match
            .is_some_and(|condition| condition.is_any());
        let stored = self.0.change(&input.bucket, |objects| {
            let taken = create && objects.contains_key(input.key.as_bytes());
            if !taken {
                objects.insert(input.key.into_bytes().into(), object);
            }
            !taken
        })?;
        if !stored {
            return Err(s3_error!(PreconditionFailed));
        }
        let e_tag = Some(ETag::Strong(etag));
        Ok(S3Response::new(dto::PutObjectOutput {
            e_tag,
            ..Default::default()
        }))
    }

    async fn delete_object(
        &self,
        request: S3Request<dto::DeleteObjectInput>,
    ) -> S3Result<S3Response<dto::DeleteObjectOutput>> {
        let input = request.input;
        self.0.change(&input.bucket, |objects| {
            objects.remove(input.key.as_bytes())
        })?;
        Ok(S3Response::new(dto::DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        request: S3Request<dto::DeleteObjectsInput>,
    ) -> S3Result<S3Response<dto::DeleteObjectsOutput>> {
        let dto::DeleteObjectsInput { bucket, delete, .. } = request.input;
        self.0.change(&bucket, |objects| {
            for object in &delete.objects {
                objects.remove(object.key.as_bytes());
            }
        })?;
        let deleted = delete.objects.into_iter().map(|object| dto::DeletedObject {
            key: Some(object.key),
            ..Default::default()
        });
        let deleted = Some(deleted.collect());
        Ok(S3Response::new(dto::DeleteObjectsOutput {
            deleted,
            ..Default::default()
        }))
    }
}

/// Where a listing starts: a token outweighs `start-after`, as in S3.
fn first_position(input: &dto::ListObjectsV2Input) -> S3Result<Position> {
    match (&input.continuation_token, &input.start_after) {
        (Some(token), _) => Position::from_token(token)
            .ok_or_else(|| s3_error!(InvalidArgument, "The continuation token is not valid")),
        (None, Some(key)) if !key.is_empty() => Ok(Position::AfterKey(key.clone())),
        (None, _) => Ok(Position::Start),
    }
}

fn list_output(
    input: dto::ListObjectsV2Input,
    max_keys: i32,
    page: Page,
) -> dto::ListObjectsV2Output {
    let url = input
        .encoding_type
        .as_ref()
        .is_some_and(|encoding| encoding.as_str() == "url");
    let text = |text: String| if url { form(&text) } else { text };
    let key_count = i32::try_from(page.entries.len()).unwrap_or(MAX_KEYS);
    let mut contents = Vec::new();
    let mut common_prefixes = Vec::new();
    for entry in page.entries {
        match entry {
            Entry::Object { key, object } => contents.push(dto::Object {
                key: Some(text(key)),
                size: Some(length(object.content.len())),
                e_tag: Some(ETag::Strong(object.etag())),
                last_modified: Some(object.modified().into()),
                ..Default::default()
            }),
            Entry::CommonPrefix(common) => {
                common_prefixes.push(dto::CommonPrefix {
                    prefix: Some(text(common)),
                });
            }
        }
    }
    dto::ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(text(input.prefix.unwrap_or_default())),
        delimiter: input.delimiter.map(text),
        start_after: input.start_after.map(text),
        continuation_token: input.continuation_token,
        encoding_type: input.encoding_type,
        max_keys: Some(max_keys),
        key_count: Some(key_count),
        is_truncated: Some(page.next.is_some()),
        next_continuation_token: page.next.map(|position| position.token()),
        contents: Some(contents),
        common_prefixes: Some(common_prefixes),
        ..Default::default()
    }
}

/// Checks the conditions of a read (RFC 9110, section 13.1).
fn check(
    object: &Object,
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<()> {
    let etag = ETag::Strong(object.etag());
    if let Some(ETagCondition::ETag(wanted)) = if_match
        && !wanted.strong_cmp(&etag)
    {
        return Err(s3_error!(
            PreconditionFailed,
            "At least one of the pre-conditions you specified did not hold"
        ));
    }
    let unchanged = match if_none_match {
        None => false,
        Some(ETagCondition::Any) => true,
        Some(ETagCondition::ETag(known)) => known.weak_cmp(&etag),
    };
    if !unchanged {
        return Ok(());
    }
    let mut error = S3Error::new(S3ErrorCode::NotModified);
    if let Ok(value) = etag.to_http_header() {
        error.set_headers(HeaderMap::from_iter([(http::header::ETAG, value)]));
    }
    Err(error)
}

/// The bytes that a `Range` header asks for; there is at least one.
fn resolve(range: dto::Range, size: u64) -> S3Result<Range<u64>> {
    let range = range.check(size)?;
    if range.is_empty() {
        return Err(s3_error!(
            InvalidRange,
            "The requested range is not satisfiable"
        ));
    }
    Ok(range)
}

/// The protocol's lengths are signed.
fn length(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

async fn read_all(body: Option<StreamingBlob>) -> S3Result<BytesMut> {
    let mut bytes = BytesMut::new();
    let Some(mut body) = body else {
        return Ok(bytes);
    };
    while let Some(piece) = body.next().await {
        let piece =
            piece.map_err(|error| S3Error::with_source(S3ErrorCode::IncompleteBody, error))?;
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}
