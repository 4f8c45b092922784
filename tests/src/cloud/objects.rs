//! What a server has: objects by key, in pages and in ranges.

use std::collections::BTreeMap;

use http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_MATCH, LAST_MODIFIED, RANGE,
};

use crate::http_server::{Answer, answer};

/// When everything was written, as HTTP says it and as XML does.
pub(super) const WRITTEN: (&str, &str) =
    ("Tue, 01 Oct 2024 00:00:00 GMT", "2024-10-01T00:00:00.000Z");

/// Objects by key.
#[derive(Debug, Default)]
pub(super) struct Objects {
    kept: BTreeMap<String, Object>,
    writes: u64,
    reads: u64,
}

/// One object.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) content: Vec<u8>,
    pub(super) etag: String,
}

/// A line of a listing.
#[derive(Clone, Copy, Debug)]
pub(super) enum Entry<'a> {
    Object(&'a str, &'a Object),
    /// What begins with this, which ends in `/`.
    Prefix(&'a str),
}

impl<'a> Entry<'a> {
    fn name(&self) -> &'a str {
        match self {
            Self::Object(name, _) | Self::Prefix(name) => name,
        }
    }
}

impl Objects {
    pub(super) fn put(&mut self, key: &str, content: Vec<u8>) {
        self.writes += 1;
        let etag = format!("\"v{}\"", self.writes);
        self.kept.insert(key.to_owned(), Object { content, etag });
    }

    pub(super) fn reads(&self) -> u64 {
        self.reads
    }

    /// At most `most` entries whose names begin with `prefix` and come behind `after`, and
    /// the name behind which the next page begins, if there is one.
    pub(super) fn page<'a>(
        &'a self,
        prefix: &str,
        is_one_level: bool,
        after: &str,
        most: usize,
    ) -> (Vec<Entry<'a>>, Option<&'a str>) {
        let mut page: Vec<Entry<'a>> = Vec::new();
        let below = self.kept.range(prefix.to_owned()..);
        for (key, object) in below.take_while(|(key, _)| key.starts_with(prefix)) {
            let slash = key[prefix.len()..].find('/').filter(|_| is_one_level);
            let entry = match slash {
                Some(at) => Entry::Prefix(&key[..=prefix.len() + at]),
                None => Entry::Object(key, object),
            };
            let last = page.last().map(Entry::name);
            if entry.name() <= after || last == Some(entry.name()) {
                continue;
            }
            if page.len() == most {
                return (page, last);
            }
            page.push(entry);
        }
        (page, None)
    }

    /// The object of this key, or the range of it that the headers ask for.
    pub(super) fn get(&mut self, key: &str, headers: &HeaderMap) -> Answer {
        self.reads += 1;
        let Some(object) = self.kept.get(key) else {
            return answer(404, "");
        };
        if headers
            .get(IF_MATCH)
            .is_some_and(|wanted| wanted != object.etag.as_str())
        {
            return answer(412, "");
        }
        let size = object.content.len();
        let range = headers.get(RANGE).and_then(|range| bounds(range, size));
        let mut sent = match range {
            None => answer(200, &object.content[..]),
            Some((first, last)) => answer(206, &object.content[first..=last]),
        };
        let length = sent.body().len();
        let headers = sent.headers_mut();
        if let Some((first, last)) = range {
            headers.insert(CONTENT_RANGE, text(&format!("bytes {first}-{last}/{size}")));
        }
        headers.insert(CONTENT_LENGTH, text(&length.to_string()));
        headers.insert(ETAG, text(&object.etag));
        headers.insert(LAST_MODIFIED, text(WRITTEN.0));
        sent
    }
}

/// First and last byte of `bytes=first-last`.
fn bounds(range: &HeaderValue, size: usize) -> Option<(usize, usize)> {
    let (first, last) = range
        .to_str()
        .ok()?
        .strip_prefix("bytes=")?
        .split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse::<usize>().ok()?);
    (first < size).then_some((first, last.min(size - 1)))
}

fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).expect("visible characters")
}
