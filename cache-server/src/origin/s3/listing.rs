//! Pages of a bucket's listing.

use std::time::SystemTime;

use chrono::DateTime;
use percent_encoding::percent_decode;

use super::xml;
use crate::origin::{Depth, ListedObject, Page, PageRequest, PageToken, printable, validator};

/// Keys a page, S3's own limit.
const PAGE_KEYS: &str = "1000";

/// What is asked of the server for a page, and what of the answer is wanted.
#[derive(Debug)]
pub(super) struct Question<'a> {
    /// The source's prefix: empty or ending in `/`.
    source_prefix: &'a str,
    /// What wanted keys start with.
    wanted: Vec<u8>,
    /// What the server is asked for: the beginning of `wanted` that is UTF-8.
    ///
    /// Only text can be signed. Keys that are not text exist behind some servers, and
    /// below such a prefix the nearest one above it is listed and sifted.
    asked: String,
    depth: Depth,
    after: Option<&'a PageToken>,
}

impl<'a> Question<'a> {
    pub(super) fn new(source_prefix: &'a str, request: PageRequest<'a>) -> Self {
        let wanted = [source_prefix.as_bytes(), request.prefix].concat();
        let (asked, depth) = match std::str::from_utf8(&wanted) {
            Ok(text) => (text.to_owned(), request.depth),
            // Summed up prefixes would hide what is sifted for.
            Err(error) => (lossless(&wanted[..error.valid_up_to()]), Depth::All),
        };
        Self {
            source_prefix,
            wanted,
            asked,
            depth,
            after: request.after,
        }
    }

    /// The query of the request.
    pub(super) fn pairs(&self) -> Vec<(&str, &str)> {
        let mut pairs = vec![
            ("list-type", "2"),
            ("max-keys", PAGE_KEYS),
            ("encoding-type", "url"),
        ];
        if !self.asked.is_empty() {
            pairs.push(("prefix", &self.asked));
        }
        if self.depth == Depth::One {
            pairs.push(("delimiter", "/"));
        }
        if let Some(PageToken(token)) = self.after {
            pairs.push(("continuation-token", token));
        }
        pairs
    }

    /// The page in the server's answer.
    pub(super) fn page(&self, document: &[u8]) -> Result<Page, String> {
        let listing = xml::listing(document)?;
        let encoded = listing.encoded;
        let mut page = Page {
            next: self.next(listing.truncated, listing.next)?,
            ..Page::default()
        };
        for contents in listing.contents {
            if let Some(key) = self.relative(&decoded(&contents.key, encoded))? {
                page.objects.push(object(key, &contents)?);
            }
        }
        for prefix in listing.prefixes {
            let prefix = decoded(&prefix, encoded);
            // Who follows prefixes must get further down with each.
            if prefix.len() <= self.wanted.len() || !prefix.ends_with(b"/") {
                return Err(unasked(&prefix));
            }
            page.prefixes.extend(self.relative(&prefix)?);
        }
        Ok(page)
    }

    fn next(&self, truncated: bool, next: Option<String>) -> Result<Option<PageToken>, String> {
        let next = match (truncated, next) {
            (false, _) => return Ok(None),
            (true, Some(next)) if !next.is_empty() => PageToken(next),
            (true, _) => return Err("the listing is cut and does not say where".to_owned()),
        };
        if self.after == Some(&next) {
            return Err("the listing does not move on".to_owned());
        }
        Ok(Some(next))
    }

    /// The key below the source's prefix; `None` if it is not wanted. The marker of the
    /// source's own directory has an empty key.
    fn relative(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        if !key.starts_with(self.asked.as_bytes()) {
            return Err(unasked(key));
        }
        let relative = key
            .strip_prefix(self.source_prefix.as_bytes())
            .filter(|_| key.starts_with(&self.wanted));
        Ok(relative.map(<[u8]>::to_vec))
    }
}

fn unasked(key: &[u8]) -> String {
    format!(
        "the listing has {}, which was not asked for",
        printable(key)
    )
}

fn lossless(text: &[u8]) -> String {
    String::from_utf8(text.to_vec()).unwrap_or_default()
}

/// The bytes of a key: form encoding (a `+` is a space) if the server says so.
fn decoded(key: &[u8], encoded: bool) -> Vec<u8> {
    if !encoded {
        return key.to_vec();
    }
    let spaced: Vec<u8> = key
        .iter()
        .map(|&byte| if byte == b'+' { b' ' } else { byte })
        .collect();
    percent_decode(&spaced).collect()
}

fn object(key: Vec<u8>, contents: &xml::Contents) -> Result<ListedObject, String> {
    let shown = || printable(&key);
    let size = contents
        .size
        .trim()
        .parse()
        .map_err(|_| format!("the listing has no size for {}", shown()))?;
    let modified = DateTime::parse_from_rfc3339(contents.modified.trim())
        .map(SystemTime::from)
        .map_err(|_| format!("the listing has no date for {}", shown()))?;
    let etag = validator::listed(Some(contents.etag.trim()), modified);
    Ok(ListedObject {
        key,
        size,
        modified,
        etag,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(prefix: &[u8], depth: Depth) -> PageRequest<'_> {
        PageRequest {
            prefix,
            depth,
            after: None,
        }
    }

    fn document(encoding: &str, keys: &[&str], prefixes: &[&str], rest: &str) -> String {
        let contents: String = keys
            .iter()
            .map(|key| {
                format!(
                    "<Contents><Key>{key}</Key><Size>1</Size><ETag>\"e\"</ETag>\
                     <LastModified>2024-01-02T03:04:05.678Z</LastModified></Contents>"
                )
            })
            .collect();
        let prefixes: String = prefixes
            .iter()
            .map(|prefix| format!("<CommonPrefixes><Prefix>{prefix}</Prefix></CommonPrefixes>"))
            .collect();
        format!("<ListBucketResult>{encoding}{contents}{prefixes}{rest}</ListBucketResult>")
    }

    fn keys(page: &Page) -> Vec<&[u8]> {
        page.objects.iter().map(|object| &object.key[..]).collect()
    }

    #[test]
    fn keys_are_decoded_if_and_only_if_the_server_encoded_them() {
        let question = Question::new("p/", request(b"", Depth::All));
        let listed = ["p/a+b%2B%0A", "p/%FF", "p//x"];
        let encoded = document("<EncodingType>url</EncodingType>", &listed, &[], "");
        let page = question.page(encoded.as_bytes()).unwrap();
        assert_eq!(keys(&page), [&b"a b+\n"[..], b"\xff", b"/x"]);
        let plain = document("", &listed, &[], "");
        let page = question.page(plain.as_bytes()).unwrap();
        assert_eq!(keys(&page), [&b"a+b%2B%0A"[..], b"%FF", b"/x"]);
    }

    #[test]
    fn markers_are_objects_and_directories_lead_further_down() {
        let question = Question::new("p/", request(b"", Depth::One));
        let listed = document("", &["p/", "p/d/"], &["p/d/", "p//"], "");
        let page = question.page(listed.as_bytes()).unwrap();
        assert_eq!(keys(&page), [&b""[..], b"d/"]);
        assert_eq!(page.prefixes, [&b"d/"[..], b"/"]);
        for circle in ["p/", "p", "q/", ""] {
            let listed = document("", &[], &[circle], "");
            assert!(question.page(listed.as_bytes()).is_err(), "{circle}");
        }
    }

    #[test]
    fn the_query_asks_for_what_is_wanted() {
        let token = PageToken("t".into());
        let after = PageRequest {
            after: Some(&token),
            ..request(b"d/", Depth::One)
        };
        let question = Question::new("p/", after);
        let pairs = question.pairs();
        for pair in [
            ("prefix", "p/d/"),
            ("delimiter", "/"),
            ("continuation-token", "t"),
        ] {
            assert!(pairs.contains(&pair), "{pairs:?}");
        }
    }

    #[test]
    fn below_a_prefix_that_is_not_text_the_listing_above_it_is_sifted() {
        let question = Question::new("p/", request(b"\xff/", Depth::One));
        let pairs = question.pairs();
        assert!(pairs.contains(&("prefix", "p/")) && !pairs.contains(&("delimiter", "/")));
        let encoded = "<EncodingType>url</EncodingType>";
        let listed = document(encoded, &["p/%FF/a/b", "p/c", "p/%FF"], &[], "");
        assert_eq!(
            keys(&question.page(listed.as_bytes()).unwrap()),
            [b"\xff/a/b"]
        );
    }

    #[test]
    fn a_cut_listing_goes_on_where_it_says_and_never_in_a_circle() {
        let token = PageToken("t".into());
        let more = |token: &str| {
            let rest = format!(
                "<IsTruncated>true</IsTruncated>\
                 <NextContinuationToken>{token}</NextContinuationToken>"
            );
            document("", &["a"], &[], &rest)
        };
        let first = Question::new("", request(b"", Depth::All));
        let page = first.page(more("t").as_bytes()).unwrap();
        assert_eq!(page.next, Some(token.clone()));
        let after = PageRequest {
            after: Some(&token),
            ..request(b"", Depth::All)
        };
        let second = Question::new("", after);
        assert!(second.page(more("t").as_bytes()).is_err());
        assert!(second.page(more("").as_bytes()).is_err());
    }

    #[test]
    fn an_answer_to_another_question_is_an_error() {
        let question = Question::new("p/", request(b"", Depth::All));
        assert!(
            question
                .page(document("", &["q/a"], &[], "").as_bytes())
                .is_err()
        );
        let sizeless = document("", &["p/a"], &[], "").replace("<Size>1</Size>", "");
        assert!(question.page(sizeless.as_bytes()).is_err());
    }
}
