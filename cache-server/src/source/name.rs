//! The names of sources: top-level directories of the tree.

use std::collections::HashSet;

use super::{Error, SourceSpec};

/// Linux's limit for one name.
const NAME_MAX: usize = 255;

/// Splits `NAME=URL`; the name of a bare URL is empty.
pub(super) fn split(text: &str) -> Result<(&str, &str), Error> {
    let text = text.trim();
    // A "=" behind the scheme belongs to the URL: keys such as `year=2026/` are common.
    let scheme_at = text.find("://").unwrap_or(text.len());
    match text.find('=') {
        Some(at) if at < scheme_at => {
            let (name, url) = (&text[..at], &text[at + 1..]);
            check(name)?;
            Ok((name, url))
        }
        _ => Ok(("", text)),
    }
}

fn check(name: &str) -> Result<(), Error> {
    let reason = match name {
        "" => "it is empty",
        "." | ".." => "it means another directory",
        _ if name.contains('/') => "it must not contain a \"/\"",
        _ if name.contains('\0') => "it must not contain a NUL",
        _ if name.len() > NAME_MAX => "it is longer than 255 bytes",
        _ => return Ok(()),
    };
    Err(Error::InvalidName {
        name: name.to_owned(),
        reason,
    })
}

pub(super) fn check_tree(sources: &[SourceSpec]) -> Result<(), Error> {
    if sources.is_empty() {
        return Err(Error::NoSource);
    }
    let mut seen = HashSet::new();
    for source in sources {
        if source.name.is_empty() && sources.len() > 1 {
            return Err(Error::NameMissing {
                url: source.url.clone(),
            });
        }
        if !seen.insert(&source.name) {
            return Err(Error::NameTwice {
                name: source.name.clone(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Connection;

    fn spec(text: &str) -> SourceSpec {
        SourceSpec::parse(text, Connection::default()).unwrap()
    }

    #[test]
    fn an_equals_sign_before_the_scheme_ends_the_name() {
        assert_eq!(
            split("train=s3://b/year=2026").unwrap(),
            ("train", "s3://b/year=2026")
        );
        assert_eq!(split("s3://b/year=2026").unwrap(), ("", "s3://b/year=2026"));
    }

    #[test]
    fn a_name_that_cannot_be_a_directory_is_refused() {
        let long = "n".repeat(256);
        for name in ["", ".", "..", "a/b", "a\0b", &long] {
            let error = split(&format!("{name}=s3://b")).unwrap_err();
            assert!(
                matches!(error, Error::InvalidName { .. }),
                "{name:?}: {error}"
            );
        }
    }

    #[test]
    fn several_sources_need_different_names() {
        assert_eq!(check_tree(&[]), Err(Error::NoSource));
        assert_eq!(check_tree(&[spec("s3://a")]), Ok(()));
        assert_eq!(check_tree(&[spec("x=s3://a"), spec("y=s3://a")]), Ok(()));
        assert!(matches!(
            check_tree(&[spec("x=s3://a"), spec("s3://b")]),
            Err(Error::NameMissing { url }) if url == "s3://b"
        ));
        assert!(matches!(
            check_tree(&[spec("x=s3://a"), spec("x=s3://b")]),
            Err(Error::NameTwice { name }) if name == "x"
        ));
    }
}
