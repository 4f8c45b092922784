//! Paths in the form in which they are sorted.
//!
//! Each part of a key is written as its name, a zero byte and a byte that says whether
//! the name is made up, so that comparing two paths as plain bytes compares them part by part: a directory comes
//! directly before what is below it, siblings are in the order of their names, and of two
//! equal names the real one precedes the made-up one. (A name has no zero byte.)

use super::key_rules::EMPTY_NAME;

const REAL: u8 = 0;
const MADE_UP: u8 = 1;

/// Appends a part.
pub(super) fn push(path: &mut Vec<u8>, name: &[u8], made_up: bool) {
    path.extend_from_slice(name);
    path.extend_from_slice(&[0, if made_up { MADE_UP } else { REAL }]);
}

/// Appends every part of `key`.
pub(super) fn push_key(path: &mut Vec<u8>, key: &[u8]) {
    for part in key.split(|&byte| byte == b'/') {
        let made_up = part.is_empty();
        push(path, if made_up { EMPTY_NAME } else { part }, made_up);
    }
}

/// Rebuilds the key whose parts `path` has: the inverse of [`push_key`].
pub(super) fn key(path: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(path.len());
    for (index, part) in parts(path).enumerate() {
        if index > 0 {
            key.push(b'/');
        }
        if !part.made_up {
            key.extend_from_slice(part.name);
        }
    }
    key
}

/// One part of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) name: &'a [u8],
    /// Whether the name stands for an empty part of the key.
    pub(super) made_up: bool,
    /// The length in the path, with the two bytes behind the name.
    pub(super) encoded_len: usize,
}

/// The parts of `path`, from the top. Bytes that are no path end the iteration.
pub(super) fn parts(path: &[u8]) -> impl Iterator<Item = Part<'_>> {
    let mut rest = path;
    std::iter::from_fn(move || {
        let name_len = rest.iter().position(|&byte| byte == 0)?;
        let made_up = *rest.get(name_len + 1)? == MADE_UP;
        let part = Part {
            name: &rest[..name_len],
            made_up,
            encoded_len: name_len + 2,
        };
        rest = &rest[part.encoded_len..];
        Some(part)
    })
}

/// The length of the bytes that `a` and `b` have in common at their start.
pub(super) fn common_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(key: &[u8]) -> Vec<u8> {
        let mut path = Vec::new();
        push_key(&mut path, key);
        path
    }

    #[test]
    fn a_key_comes_back_from_its_path() {
        for text in [
            &b""[..],
            b"/",
            b"//",
            b"a",
            b"a/",
            b"/a",
            b"a//b",
            b"a/b/c",
            b"\x01/\xff",
        ] {
            assert_eq!(key(&path(text)), text, "{text:?}");
        }
    }

    #[test]
    fn what_is_below_a_directory_precedes_the_next_sibling() {
        let in_order: [&[u8]; 6] = [b"a", b"a/z", b"a\x01", b"a!", b"a.b", b"b"];
        let paths: Vec<_> = in_order.iter().map(|key| path(key)).collect();
        assert!(paths.is_sorted());
    }

    #[test]
    fn a_real_name_precedes_the_same_name_made_up() {
        let in_order: [&[u8]; 5] = [
            b".forebay-empty",
            b".forebay-empty/z",
            b"",
            b"/a",
            b".forebay-empty\x01",
        ];
        let paths: Vec<_> = in_order.iter().map(|key| path(key)).collect();
        assert!(paths.is_sorted());
    }
}
