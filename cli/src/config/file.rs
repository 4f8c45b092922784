//! The config file: TOML, with the options' names as keys.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::options::{MountOptions, PartialConnection, SourceEntry};

/// The keys of a `[[source]]` table.
const SOURCE_KEYS: [&str; 6] = [
    "name",
    "url",
    "endpoint",
    "region",
    "path-style",
    "anonymous",
];

/// Why a config file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("read config file {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not TOML.
    #[error("{path}:{line}: {message}", path = path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// It has a key that means nothing.
    #[error("{path}: unknown key {key:?}; {advice}", path = path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The nearest key that means something, or where to find them all.
        advice: String,
    },
    /// The value of a key cannot be used.
    #[error("{path}: {key} = {value}: {expected}", path = path.display())]
    BadValue {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The value, as TOML.
        value: String,
        /// What can be used.
        expected: String,
    },
}

/// Reads the config file of a mount.
pub(super) fn read(path: &Path) -> Result<MountOptions, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(path, &text)
}

/// Parses the text of the config file `path`.
pub(super) fn parse(path: &Path, text: &str) -> Result<MountOptions, Error> {
    let table: Table = text
        .parse()
        .map_err(|error: toml::de::Error| Error::Syntax {
            path: path.to_owned(),
            line: 1 + error
                .span()
                .map_or(0, |span| text[..span.start].matches('\n').count()),
            message: error.message().to_owned(),
        })?;
    let keys = known_keys();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let mut options = MountOptions::default();
    for (key, value) in &table {
        check_key(path, "", key, &keys)?;
        let one = match (key.as_str(), value) {
            ("source", Value::Array(entries)) if entries.iter().all(Value::is_table) => {
                let tables = entries.iter().filter_map(Value::as_table);
                let entries = tables
                    .map(|table| source(path, table))
                    .collect::<Result<_, _>>()?;
                MountOptions {
                    source: Some(entries),
                    ..MountOptions::default()
                }
            }
            _ => option(path, key, value)?,
        };
        options = options.or(one);
    }
    Ok(options)
}

fn known_keys() -> Vec<String> {
    MountOptions::command()
        .get_arguments()
        .filter_map(|arg| arg.get_long())
        .map(Into::into)
        .collect()
}

/// One option: its values go through the parser of its flag.
fn option(path: &Path, key: &str, value: &Value) -> Result<MountOptions, Error> {
    let bad = |expected: String| Error::BadValue {
        path: path.to_owned(),
        key: key.to_owned(),
        value: value.to_string(),
        expected,
    };
    let values = match value {
        Value::Array(values) => values.iter().map(scalar).collect::<Option<Vec<_>>>(),
        single => scalar(single).map(|text| vec![text]),
    };
    let values = values.ok_or_else(|| bad("expected a text, a number or true or false".into()))?;
    if values.is_empty() {
        return Ok(MountOptions::default());
    }
    MountOptions::of_key(key, &values).map_err(|error| bad(expected(&error)))
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(truth) => Some(truth.to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    }
}

/// What the flag's parser expected.
fn expected(error: &clap::Error) -> String {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    if let Some(ContextValue::Strings(choices)) = error.get(ContextKind::ValidValue)
        && !choices.is_empty()
    {
        return format!("expected one of {}", choices.join(", "));
    }
    match (error.kind(), std::error::Error::source(error)) {
        (ErrorKind::ArgumentConflict, _) => "expected one value, not several".into(),
        (_, Some(reason)) => reason.to_string(),
        (kind, None) => kind.to_string(),
    }
}

/// One `[[source]]` table.
fn source(path: &Path, table: &Table) -> Result<SourceEntry, Error> {
    let mut entry = SourceEntry::default();
    let mut connection = PartialConnection::default();
    let (mut name, mut url) = (None, None);
    for (key, value) in table {
        check_key(path, "source.", key, &SOURCE_KEYS)?;
        let text = || text(path, key, value).map(Some);
        match key.as_str() {
            "name" => name = text()?,
            "url" => url = text()?,
            "endpoint" => connection.endpoint = text()?,
            "region" => connection.region = text()?,
            "path-style" => connection.path_style = Some(truth(path, key, value)?),
            _ => connection.anonymous = Some(truth(path, key, value)?),
        }
    }
    let url = url.ok_or_else(|| Error::BadValue {
        path: path.to_owned(),
        key: "source".into(),
        value: Value::Table(table.clone()).to_string(),
        expected: "expected a key url".into(),
    })?;
    entry.text = match name.filter(|name| !name.is_empty()) {
        Some(name) => format!("{name}={url}"),
        None => url,
    };
    entry.connection = connection;
    Ok(entry)
}

fn text(path: &Path, key: &str, value: &Value) -> Result<String, Error> {
    let text = value.as_str().map(ToOwned::to_owned);
    text.ok_or_else(|| bad_in_source(path, key, value, "expected a text"))
}

fn truth(path: &Path, key: &str, value: &Value) -> Result<bool, Error> {
    value
        .as_bool()
        .ok_or_else(|| bad_in_source(path, key, value, "expected true or false"))
}

fn bad_in_source(path: &Path, key: &str, value: &Value, expected: &str) -> Error {
    Error::BadValue {
        path: path.to_owned(),
        key: format!("source.{key}"),
        value: value.to_string(),
        expected: expected.to_owned(),
    }
}

fn check_key(path: &Path, section: &str, key: &str, known: &[&str]) -> Result<(), Error> {
    if known.contains(&key) {
        return Ok(());
    }
    // A person who writes cache_dir means cache-dir, which is one letter away; from
    // half a word's difference on, a guess would be noise.
    let nearest = known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(key, known), known))
        .min()
        .filter(|(distance, known)| *distance <= known.len() / 2);
    let advice = match nearest {
        Some((_, known)) => format!("did you mean {section}{known}?"),
        None => "`forebay config print --example mount` shows all keys".to_owned(),
    };
    Err(Error::UnknownKey {
        path: path.to_owned(),
        key: format!("{section}{key}"),
        advice,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::size::Size;

    fn parsed(text: &str) -> MountOptions {
        parse(Path::new("f.toml"), text).unwrap()
    }

    fn message(text: &str) -> String {
        parse(Path::new("f.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn keys_are_the_names_of_the_flags() {
        let options = parsed(
            "cache-size = \"10GiB\"\norigin-timeout = \"5s\"\npath-style = true\nuid = 1000\n\
             include = [\"a/**\", \"b/**\"]\nexclude = \"c\"",
        );
        assert_eq!(options.cache_size, Some(Size(10 << 30)));
        assert_eq!(options.origin_timeout, Some(Duration::from_secs(5)));
        assert_eq!(options.path_style, Some(true));
        assert_eq!(options.uid, Some(1000));
        assert_eq!(options.include, Some(vec!["a/**".into(), "b/**".into()]));
        assert_eq!(options.exclude, Some(vec!["c".into()]));
        assert_eq!(options.region, None);
    }

    #[test]
    fn a_source_table_has_a_connection_of_its_own() {
        let options = parsed(
            "[[source]]\nname = \"a\"\nurl = \"s3://b/x=1\"\nendpoint = \"http://h\"\n\
             path-style = true\n[[source]]\nurl = \"file:///d\"",
        );
        let sources = options.source.unwrap();
        assert_eq!(sources[0].text, "a=s3://b/x=1");
        assert_eq!(sources[0].connection.endpoint.as_deref(), Some("http://h"));
        assert_eq!(sources[0].connection.path_style, Some(true));
        assert_eq!(sources[1].text, "file:///d");
        assert_eq!(sources[1].connection, PartialConnection::default());
    }

    #[test]
    fn an_unknown_key_is_named_with_the_nearest_known_one() {
        assert_eq!(
            message("cache_dir = 1"),
            "f.toml: unknown key \"cache_dir\"; did you mean cache-dir?"
        );
        assert_eq!(
            message("[[source]]\nulr = 1"),
            "f.toml: unknown key \"source.ulr\"; did you mean source.url?"
        );
        assert!(message("xyzzy = 1").contains("config print --example mount"));
        assert!(message("config = \"x\"").contains("unknown key"));
    }

    #[test]
    fn a_bad_value_is_named_with_what_is_expected() {
        assert_eq!(
            message("cache-size = \"lots\""),
            "f.toml: cache-size = \"lots\": expected a size such as 100GiB, 1.5TB or 0"
        );
        assert_eq!(
            message("policy = \"fifo\""),
            "f.toml: policy = \"fifo\": expected one of s3-fifo, lru"
        );
        assert!(message("uid = -1").starts_with("f.toml: uid = -1: "));
        assert!(message("uid = { a = 1 }").contains("expected a text, a number"));
        assert!(message("region = [\"a\", \"b\"]").contains("expected one value"));
        assert!(message("[[source]]\nname = \"a\"").contains("expected a key url"));
        assert!(message("[[source]]\nurl = 5").contains("source.url = 5: expected a text"));
    }

    #[test]
    fn a_syntax_error_names_its_line() {
        assert!(message("uid = 1\ncache-dir = \n").starts_with("f.toml:2: "));
    }
}
