//! One page of a listing, by range scans: its cost is that of the page, not of the bucket.

use std::cmp::Ordering;
use std::ops::Bound;

use crate::buckets::Objects;
use crate::encoding::Position;
use crate::object::Object;

/// What a page is asked for.
#[derive(Debug)]
pub(crate) struct Query<'a> {
    pub(crate) prefix: &'a str,
    /// Keys are rolled up to their first delimiter behind the prefix. Not empty.
    pub(crate) delimiter: Option<&'a str>,
    pub(crate) from: Position,
    /// The most entries to answer.
    pub(crate) limit: usize,
}

#[derive(Debug)]
pub(crate) enum Entry {
    Object { key: String, object: Object },
    CommonPrefix(String),
}

#[derive(Debug)]
pub(crate) struct Page {
    /// In the order of the keys.
    pub(crate) entries: Vec<Entry>,
    /// Where the next page starts; `None` if this is the last one.
    pub(crate) next: Option<Position>,
}

/// Reads one page.
pub(crate) fn page(objects: &Objects, query: &Query<'_>) -> Page {
    let prefix = query.prefix.as_bytes();
    let mut entries = Vec::new();
    let start = start(query);
    let mut cursor = objects.range::<[u8], _>((as_slice(&start), Bound::Unbounded));
    while let Some((key, object)) = cursor.next() {
        if !key.starts_with(prefix) {
            break;
        }
        if entries.len() == query.limit {
            return Page {
                next: entries.last().map(after),
                entries,
            };
        }
        match common_prefix(key, prefix, query.delimiter) {
            None => entries.push(Entry::Object {
                key: text(key),
                object: object.clone(),
            }),
            Some(common) => {
                entries.push(Entry::CommonPrefix(text(common)));
                let beyond = successor(common);
                cursor = objects.range::<[u8], _>((Bound::Included(&beyond[..]), Bound::Unbounded));
            }
        }
    }
    Page {
        entries,
        next: None,
    }
}

/// The lower end of the scan: behind the position, and not before the prefix.
fn start(query: &Query<'_>) -> Bound<Vec<u8>> {
    let prefix = query.prefix.as_bytes();
    let from = match &query.from {
        Position::Start => return Bound::Included(prefix.to_vec()),
        Position::AfterKey(key) => Bound::Excluded(key.clone().into_bytes()),
        Position::AfterPrefix(common) => Bound::Included(successor(common.as_bytes())),
    };
    let (Bound::Included(at) | Bound::Excluded(at)) = &from else {
        return from;
    };
    match at.as_slice().cmp(prefix) {
        Ordering::Less => Bound::Included(prefix.to_vec()),
        Ordering::Equal | Ordering::Greater => from,
    }
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}

/// The key up to and with its first delimiter behind the prefix.
fn common_prefix<'k>(key: &'k [u8], prefix: &[u8], delimiter: Option<&str>) -> Option<&'k [u8]> {
    let delimiter = delimiter?.as_bytes();
    let rest = &key[prefix.len()..];
    let at = rest
        .windows(delimiter.len())
        .position(|window| window == delimiter)?;
    Some(&key[..prefix.len() + at + delimiter.len()])
}

/// The first byte string after all that begin with `prefix`, which is UTF-8: so there is
/// no byte 0xff in it to overflow. That of nothing is nothing.
fn successor(prefix: &[u8]) -> Vec<u8> {
    let mut next = prefix.to_vec();
    if let Some(last) = next.last_mut() {
        *last = last.saturating_add(1);
    }
    next
}

fn after(entry: &Entry) -> Position {
    match entry {
        Entry::Object { key, .. } => Position::AfterKey(key.clone()),
        Entry::CommonPrefix(common) => Position::AfterPrefix(common.clone()),
    }
}

/// Keys are put as `str` and cut at delimiters that are `str`.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::object::Content;

    fn objects<K: AsRef<str>>(keys: impl IntoIterator<Item = K>) -> Objects {
        let object = Object::new(Content::Synthetic { size: 0, seed: 0 });
        keys.into_iter()
            .map(|key| (key.as_ref().as_bytes().into(), object.clone()))
            .collect()
    }

    /// Lists everything in pages of `limit`.
    fn all(objects: &Objects, prefix: &str, delimiter: Option<&str>, limit: usize) -> Vec<String> {
        let mut names = Vec::new();
        let mut next = Some(Position::Start);
        while let Some(from) = next {
            let page = page(
                objects,
                &Query {
                    prefix,
                    delimiter,
                    from,
                    limit,
                },
            );
            assert!(page.entries.len() <= limit);
            next = page.next;
            names.extend(page.entries.into_iter().map(|entry| match entry {
                Entry::Object { key, .. } => key,
                Entry::CommonPrefix(common) => format!("[{common}]"),
            }));
        }
        names
    }

    #[test]
    fn pages_of_any_size_join_to_the_same_listing() {
        let objects = objects([
            "/", "/a", "a", "a/", "a//b", "a/b/c", "a/b/d", "a0", "b/é/x", "c",
        ]);
        for limit in 1..12 {
            assert_eq!(
                all(&objects, "", Some("/"), limit),
                ["[/]", "a", "[a/]", "a0", "[b/]", "c"]
            );
            assert_eq!(
                all(&objects, "a/", Some("/"), limit),
                ["a/", "[a//]", "[a/b/]"]
            );
            assert_eq!(
                all(&objects, "a", None, limit),
                ["a", "a/", "a//b", "a/b/c", "a/b/d", "a0"]
            );
            assert_eq!(all(&objects, "", Some("/é/"), limit).last().unwrap(), "c");
        }
    }

    #[test]
    fn a_start_before_the_prefix_begins_at_the_prefix() {
        let objects = objects(["a", "b/1", "b/2", "c"]);
        let from = Position::AfterKey("a".into());
        let page = page(
            &objects,
            &Query {
                prefix: "b/",
                delimiter: None,
                from,
                limit: 10,
            },
        );
        assert_eq!(page.entries.len(), 2);
    }

    #[test]
    fn a_limit_of_nothing_answers_nothing_and_ends() {
        let objects = objects(["a"]);
        let from = Position::Start;
        let page = page(
            &objects,
            &Query {
                prefix: "",
                delimiter: None,
                from,
                limit: 0,
            },
        );
        assert!(page.entries.is_empty() && page.next.is_none());
    }

    #[test]
    fn rolling_up_a_large_directory_does_not_visit_its_keys() {
        let objects = objects((0..200_000).map(|n| format!("d{}/{n:07}", n % 2)));
        let start = Instant::now();
        assert_eq!(all(&objects, "", Some("/"), 1000), ["[d0/]", "[d1/]"]);
        // Two seeks take microseconds; the bound only tells them from 200,000 visits
        // many times over.
        assert!(start.elapsed() < Duration::from_millis(50));
    }
}
