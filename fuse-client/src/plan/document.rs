//! A JSON document that comes in pieces.

/// No plan that somebody writes down is longer: a million paths of 60 bytes.
pub(crate) const MOST_DOCUMENT: usize = 64 << 20;

/// A document, as far as it has come, and whether that is the whole.
///
/// Where it ends is seen by its brackets, one look at each byte; whether it is right is
/// another's question.
#[derive(Debug, Default)]
pub(crate) struct Document {
    bytes: Vec<u8>,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

/// What a piece made of a document.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fed {
    /// There is more to come.
    More,
    /// This is all of it.
    Whole(Vec<u8>),
    /// It cannot become one, or not one that anybody would read.
    Broken,
}

impl Document {
    /// Adds a piece. After anything but [`Fed::More`] the document is empty again.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> Fed {
        if self.bytes.len().saturating_add(piece.len()) > MOST_DOCUMENT {
            *self = Self::default();
            return Fed::Broken;
        }
        self.bytes.extend_from_slice(piece);
        for &byte in piece {
            self.look_at(byte);
        }
        let begun = self.bytes.iter().find(|byte| !byte.is_ascii_whitespace());
        match begun {
            None => Fed::More,
            Some(b'{') if self.depth > 0 => Fed::More,
            Some(b'{') => Fed::Whole(std::mem::take(self).bytes),
            Some(_) => {
                *self = Self::default();
                Fed::Broken
            }
        }
    }

    /// The bytes that have come.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    fn look_at(&mut self, byte: u8) {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.in_string => self.escaped = true,
            b'"' => self.in_string = !self.in_string,
            _ if self.in_string => {}
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_document_in_one_piece_is_whole_at_once() {
        let mut document = Document::default();
        assert_eq!(
            document.feed(b" {\"a\": [1]} "),
            Fed::Whole(b" {\"a\": [1]} ".to_vec())
        );
        assert_eq!(document.len(), 0);
    }

    #[test]
    fn what_is_no_object_is_broken_at_once_and_forgotten() {
        let mut document = Document::default();
        assert_eq!(document.feed(b"[1"), Fed::Broken);
        assert_eq!(document.feed(b"{}"), Fed::Whole(b"{}".to_vec()));
        assert_eq!(document.feed(b"  \n"), Fed::More);
        assert_eq!(document.feed(b"x"), Fed::Broken);
    }

    #[test]
    fn a_document_without_end_is_given_up() {
        let mut document = Document::default();
        assert_eq!(document.feed(b"{\"paths\": ["), Fed::More);
        let piece = vec![b' '; 16 << 20];
        let fed: Vec<_> = (0..4).map(|_| document.feed(&piece)).collect();
        assert_eq!(fed[..3], [Fed::More, Fed::More, Fed::More]);
        assert_eq!(fed[3], Fed::Broken);
        assert_eq!(document.len(), 0);
    }

    proptest! {
        #[test]
        fn a_document_is_whole_with_its_last_piece_wherever_it_is_cut(
            paths in proptest::collection::vec(".{0,12}", 0..20),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let text = serde_json::to_vec(&serde_json::json!({ "paths": paths })).expect("JSON");
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut document = Document::default();
            let pieces: Vec<_> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            let (last, first) = pieces.split_last().expect("one at least");
            for piece in first {
                if piece.ends_with(b"}") && last.is_empty() {
                    return Ok(());
                }
                prop_assert_eq!(document.feed(piece), Fed::More);
            }
            prop_assert_eq!(document.feed(last), Fed::Whole(text.clone()));
        }

        #[test]
        fn no_bytes_make_it_panic(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20)) {
            let mut document = Document::default();
            for piece in pieces {
                document.feed(&piece);
            }
        }
    }
}
