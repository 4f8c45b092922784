//! Listings, in the XML of each protocol.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::Cloud;
use super::objects::{Entry, Objects, WRITTEN};
use crate::http_server::{Answer, Question, answer};

/// Entries of a page: few, so that a small bucket has several.
const PAGE: usize = 3;

/// What a path of a URL may say in plain words.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'.')
    .remove(b'-')
    .remove(b'_');

/// <https://cloud.google.com/storage/docs/xml-api/get-bucket-list>
pub(super) fn google(objects: &Objects, question: &Question) -> Answer {
    let (page, next) = asked(objects, question, "continuation-token");
    let lines = page.iter().map(|entry| match entry {
        Entry::Prefix(name) => format!(
            "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>",
            escaped(name)
        ),
        Entry::Object(name, object) => format!(
            "<Contents><Key>{}</Key><Generation>1</Generation><MetaGeneration>1</MetaGeneration>\
             <LastModified>{}</LastModified><ETag>{}</ETag><Size>{}</Size></Contents>",
            escaped(name),
            WRITTEN.1,
            escaped(&object.etag),
            object.content.len()
        ),
    });
    let next = next.map(|next| {
        let next = escaped(next);
        format!("<NextContinuationToken>{next}</NextContinuationToken>")
    });
    document(
        200,
        "ListBucketResult xmlns=\"http://doc.s3.amazonaws.com/2006-03-01\"",
        &format!(
            "<Name>data</Name><IsTruncated>{}</IsTruncated>{}{}",
            next.is_some(),
            next.unwrap_or_default(),
            lines.collect::<String>()
        ),
    )
}

/// <https://learn.microsoft.com/rest/api/storageservices/list-blobs>
pub(super) fn azure(objects: &Objects, question: &Question) -> Answer {
    let (page, next) = asked(objects, question, "marker");
    // The prefixes stand among the blobs, in the order of names.
    let lines = page.iter().map(|entry| match entry {
        Entry::Prefix(name) => {
            format!("<BlobPrefix><Name>{}</Name></BlobPrefix>", escaped(name))
        }
        Entry::Object(name, object) => format!(
            "<Blob><Name>{}</Name><Properties><Last-Modified>{}</Last-Modified><Etag>{}</Etag>\
             <Content-Length>{}</Content-Length><Content-Type>application/octet-stream\
             </Content-Type><BlobType>BlockBlob</BlobType></Properties><OrMetadata /></Blob>",
            escaped(name),
            WRITTEN.0,
            escaped(&object.etag),
            object.content.len()
        ),
    });
    document(
        200,
        "EnumerationResults ContainerName=\"data\"",
        &format!(
            "<Blobs>{}</Blobs><NextMarker>{}</NextMarker>",
            lines.collect::<String>(),
            escaped(next.unwrap_or_default())
        ),
    )
}

/// One collection and what is directly in it: RFC 4918, 9.1.
pub(super) fn webdav(objects: &Objects, collection: &str) -> Answer {
    let collection = match collection.trim_end_matches('/') {
        "" => String::new(),
        inner => format!("{inner}/"),
    };
    let (page, _) = objects.page(&collection, true, "", usize::MAX);
    if page.is_empty() && !collection.is_empty() {
        return answer(404, "");
    }
    let lines = page.iter().map(|entry| match entry {
        Entry::Prefix(name) => response(name, "<D:resourcetype><D:collection/></D:resourcetype>"),
        Entry::Object(name, object) => response(
            name,
            &format!(
                "<D:resourcetype/><D:getcontentlength>{}</D:getcontentlength>\
                 <D:getetag>{}</D:getetag>",
                object.content.len(),
                escaped(&object.etag)
            ),
        ),
    });
    let itself = response(
        &collection,
        "<D:resourcetype><D:collection/></D:resourcetype>",
    );
    let lines = itself + &lines.collect::<String>();
    document(207, "D:multistatus xmlns:D=\"DAV:\"", &lines)
}

fn response(name: &str, properties: &str) -> String {
    format!(
        "<D:response><D:href>/{}/{}</D:href><D:propstat><D:prop><D:getlastmodified>{}\
         </D:getlastmodified>{properties}</D:prop><D:status>HTTP/1.1 200 OK</D:status>\
         </D:propstat></D:response>",
        Cloud::NAME,
        utf8_percent_encode(name, PATH),
        WRITTEN.0
    )
}

/// The page that the query asks for, whose token has the name `token`.
fn asked<'a>(
    objects: &'a Objects,
    question: &Question,
    token: &str,
) -> (Vec<Entry<'a>>, Option<&'a str>) {
    let query = question.uri().query().unwrap_or_default();
    let value = |name: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let mut values = pairs.filter(|(found, _)| *found == name);
        let (_, value) = values.next().unwrap_or_default();
        decoded(&value.replace('+', " "))
    };
    let is_one_level = value("delimiter") == "/";
    objects.page(&value("prefix"), is_one_level, &value(token), PAGE)
}

/// What stands behind the percent signs.
pub(super) fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

fn document(status: u16, root: &str, content: &str) -> Answer {
    let name = root.split(' ').next().unwrap_or(root);
    let head = "<?xml version=\"1.0\" encoding=\"utf-8\"?>";
    answer(status, format!("{head}<{root}>{content}</{name}>"))
}
