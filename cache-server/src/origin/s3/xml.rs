//! The documents of S3's answers.
//!
//! Read event by event and not through serde, which trims white space: in a listing
//! that is not URL-encoded a blank at either end belongs to the key.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, Event};

/// One object of a listing, its fields as the server wrote them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) key: Vec<u8>,
    pub(super) size: String,
    pub(super) modified: String,
    pub(super) etag: String,
}

/// A `ListBucketResult`, its fields as the server wrote them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) contents: Vec<Contents>,
    pub(super) prefixes: Vec<Vec<u8>>,
    pub(super) truncated: bool,
    pub(super) next: Option<String>,
    /// Whether keys and prefixes are URL-encoded. Servers may ignore the request for it.
    pub(super) encoded: bool,
}

/// Reads a `ListBucketResult`.
pub(super) fn listing(document: &[u8]) -> Result<Listing, String> {
    let mut listing = Listing::default();
    let mut object = Contents::default();
    let mut whole = false;
    walk(document, |parent, name, content| match (parent, name) {
        (b"Contents", b"Key") => object.key = content,
        (b"Contents", b"Size") => object.size = text(content),
        (b"Contents", b"LastModified") => object.modified = text(content),
        (b"Contents", b"ETag") => object.etag = text(content),
        (b"ListBucketResult", b"Contents") => {
            listing.contents.push(std::mem::take(&mut object));
        }
        (b"CommonPrefixes", b"Prefix") => listing.prefixes.push(content),
        (b"ListBucketResult", b"IsTruncated") => listing.truncated = content == b"true",
        (b"ListBucketResult", b"NextContinuationToken") => listing.next = Some(text(content)),
        (b"ListBucketResult", b"EncodingType") => listing.encoded = content == b"url",
        (b"", b"ListBucketResult") => whole = true,
        _ => {}
    })?;
    if whole {
        Ok(listing)
    } else {
        Err("the answer is not a listing".to_owned())
    }
}

/// The `Code` of an error document; `None` if it is something else.
pub(super) fn error_code(document: &[u8]) -> Option<String> {
    let mut code = None;
    // What comes behind the code may be cut off.
    let _ = walk(document, |parent, name, content| {
        if (parent, name) == (b"Error", b"Code") {
            code = Some(text(content));
        }
    });
    code.filter(|code| !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Calls `element` at the end of each element with its parent's name, its own, and the
/// text since the last tag.
fn walk(document: &[u8], mut element: impl FnMut(&[u8], &[u8], Vec<u8>)) -> Result<(), String> {
    let mut reader = Reader::from_reader(document);
    reader.config_mut().expand_empty_elements = true;
    let mut open: Vec<Vec<u8>> = Vec::new();
    let mut content = Vec::new();
    loop {
        match reader.read_event().map_err(|error| error.to_string())? {
            Event::Start(tag) => {
                open.push(tag.local_name().as_ref().to_vec());
                content.clear();
            }
            Event::Text(text) => content.extend_from_slice(&text.into_inner()),
            Event::CData(text) => content.extend_from_slice(&text.into_inner()),
            Event::GeneralRef(reference) => resolve(&reference, &mut content)?,
            Event::End(_) => {
                let name = open.pop().ok_or("an element ends that never began")?;
                let parent = open.last().map_or(&b""[..], Vec::as_slice);
                element(parent, &name, std::mem::take(&mut content));
            }
            Event::Eof if open.is_empty() => return Ok(()),
            Event::Eof => return Err("the document ends early".to_owned()),
            Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            // No server sends one, and nothing good hides in one.
            Event::DocType(_) => return Err("a document type in an answer".to_owned()),
        }
    }
}

fn resolve(reference: &BytesRef<'_>, content: &mut Vec<u8>) -> Result<(), String> {
    if let Some(character) = reference
        .resolve_char_ref()
        .map_err(|error| error.to_string())?
    {
        content.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        return Ok(());
    }
    let name = reference.decode().map_err(|error| error.to_string())?;
    let entity =
        resolve_predefined_entity(&name).ok_or_else(|| format!("unknown entity {name}"))?;
    content.extend_from_slice(entity.as_bytes());
    Ok(())
}

fn text(content: Vec<u8>) -> String {
    String::from_utf8_lossy(&content).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <Name>b</Name><Prefix/><IsTruncated>true</IsTruncated>
  <Contents><Key> a&amp;b&#10; </Key><LastModified>2024-01-02T03:04:05.000Z</LastModified>
    <ETag>&quot;e1&quot;</ETag><Size>12</Size><Owner><ID>x</ID></Owner></Contents>
  <CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>
  <Contents><Key><![CDATA[<c>]]></Key><Size>0</Size></Contents>
  <NextContinuationToken>t+/=</NextContinuationToken>
</ListBucketResult>"#;

    #[test]
    fn a_listing_keeps_every_character_of_a_key() {
        let listing = listing(DOCUMENT.as_bytes()).unwrap();
        let keys: Vec<&[u8]> = listing
            .contents
            .iter()
            .map(|object| &object.key[..])
            .collect();
        assert_eq!(keys, [&b" a&b\n "[..], b"<c>"]);
        assert_eq!(listing.contents[0].etag, "\"e1\"");
        assert_eq!(listing.contents[0].size, "12");
        assert_eq!(listing.contents[1].etag, "", "a field is not inherited");
        assert_eq!(listing.prefixes, [b"p/"]);
        assert!(listing.truncated && !listing.encoded);
        assert_eq!(listing.next.as_deref(), Some("t+/="));
    }

    #[test]
    fn what_is_no_listing_is_an_error() {
        for document in ["", "{}", "<html></html>", "<ListBucketResult>", "<a></b>"] {
            assert!(listing(document.as_bytes()).is_err(), "{document}");
        }
        let cut = &DOCUMENT.as_bytes()[..DOCUMENT.len() - 30];
        assert!(listing(cut).is_err());
    }

    #[test]
    fn an_error_code_is_found_and_nothing_else_taken_for_one() {
        let document = "<Error><Code>AccessDenied</Code><Message>no</Message>";
        assert_eq!(
            error_code(document.as_bytes()).as_deref(),
            Some("AccessDenied")
        );
        for other in ["", "gateway timeout", "<html><Code>x</Code></html>"] {
            assert_eq!(error_code(other.as_bytes()), None);
        }
        let odd = "<Error><Code>a secret?</Code></Error>";
        assert_eq!(error_code(odd.as_bytes()), None);
    }
}
