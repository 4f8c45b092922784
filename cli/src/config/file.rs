//! The config file: TOML, with the options' names as keys.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::options::{DatasetEntry, OptionTable, PartialConnection, SourceEntry};
use crate::size::{NotASize, Size};

/// The keys of a `[[source]]` table.
const SOURCE_KEYS: [&str; 6] = [
    "name",
    "url",
    "endpoint",
    "region",
    "path-style",
    "anonymous",
];

/// The keys of a `[[dataset]]` table.
const DATASET_KEYS: [&str; 12] = [
    "name",
    "url",
    "endpoint",
    "region",
    "path-style",
    "anonymous",
    "include",
    "exclude",
    "quota",
    "pin",
    "priority",
    "source",
];

/// Priorities are that far from 0 at most.
const MOST_PRIORITY: i8 = 100;

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

/// Reads a config file.
pub(super) fn read<T: OptionTable>(path: &Path) -> Result<T, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(path, &text)
}

/// Parses the text of the config file `path`.
pub(super) fn parse<T: OptionTable>(path: &Path, text: &str) -> Result<T, Error> {
    let table: Table = text
        .parse()
        .map_err(|error: toml::de::Error| Error::Syntax {
            path: path.to_owned(),
            line: 1 + error
                .span()
                .map_or(0, |span| text[..span.start].matches('\n').count()),
            message: error.message().to_owned(),
        })?;
    let keys = Keys::of::<T>();
    let mut options = T::default();
    for (key, value) in &table {
        keys.check(path, key)?;
        let one = match value {
            Value::Array(entries) if key == T::TABLES.0 && entries.iter().all(Value::is_table) => {
                let tables: Vec<_> = entries.iter().filter_map(Value::as_table).collect();
                T::of_tables(path, &tables)?
            }
            _ => option(path, key, value)?,
        };
        options = options.or(one);
    }
    Ok(options)
}

/// The keys that mean something in one place of a config file.
struct Keys<'a> {
    known: Vec<String>,
    section: &'a str,
    /// The command whose file it is.
    command: &'static str,
}

impl Keys<'_> {
    fn of<T: OptionTable>() -> Self {
        let command = T::command();
        let options = command.get_arguments().filter_map(|arg| arg.get_long());
        let mut known: Vec<String> = options.map(Into::into).collect();
        if !known.iter().any(|known| known == T::TABLES.0) {
            known.push(T::TABLES.0.to_owned());
        }
        Self {
            known,
            section: "",
            command: T::COMMAND,
        }
    }

    fn check(&self, path: &Path, key: &str) -> Result<(), Error> {
        if self.known.iter().any(|known| known == key) {
            return Ok(());
        }
        // A person who writes cache_dir means cache-dir, which is one letter away; from
        // half a word's difference on, a guess would be noise.
        let nearest = self
            .known
            .iter()
            .map(|known| (strsim::damerau_levenshtein(key, known), known))
            .min()
            .filter(|(distance, known)| *distance <= known.len() / 2);
        let Self {
            section, command, ..
        } = self;
        let advice = match nearest {
            Some((_, known)) => format!("did you mean {section}{known}?"),
            None => format!("`forebay config print --example {command}` shows all keys"),
        };
        Err(Error::UnknownKey {
            path: path.to_owned(),
            key: format!("{section}{key}"),
            advice,
        })
    }
}

fn keys_of_table<'a>(keys: &[&str], section: &'a str, command: &'static str) -> Keys<'a> {
    Keys {
        known: keys.iter().map(|&key| key.to_owned()).collect(),
        section,
        command,
    }
}

/// One option: its values go through the parser of its flag.
fn option<T: OptionTable>(path: &Path, key: &str, value: &Value) -> Result<T, Error> {
    let bad = |expected: String| Error::BadValue {
        path: path.to_owned(),
        key: key.to_owned(),
        value: value.to_string(),
        expected,
    };
    if key == T::TABLES.0
        && !T::command()
            .get_arguments()
            .any(|arg| arg.get_long() == Some(key))
    {
        return Err(bad(format!("expected [[{key}]] tables")));
    }
    let values = values(value);
    let values = values.ok_or_else(|| bad("expected a text, a number or true or false".into()))?;
    if values.is_empty() {
        return Ok(T::default());
    }
    T::of_key(key, &values).map_err(|error| bad(expected(&error)))
}

/// One value or a list of them, as texts.
fn values(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(values) => values.iter().map(scalar).collect(),
        single => scalar(single).map(|text| vec![text]),
    }
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
pub(crate) fn source(path: &Path, table: &Table) -> Result<SourceEntry, Error> {
    source_in(path, table, "source.", "mount")
}

fn source_in(
    path: &Path,
    table: &Table,
    section: &str,
    command: &'static str,
) -> Result<SourceEntry, Error> {
    let keys = keys_of_table(&SOURCE_KEYS, section, command);
    let mut entry = SourceEntry::default();
    let mut connection = PartialConnection::default();
    let (mut name, mut url) = (None, None);
    for (key, value) in table {
        keys.check(path, key)?;
        let at = Place { path, section, key };
        match key.as_str() {
            "name" => name = Some(at.text(value)?),
            "url" => url = Some(at.text(value)?),
            _ => at.connection(&mut connection, value)?,
        }
    }
    let url = url.ok_or_else(|| missing(path, section, table, "expected a key url"))?;
    entry.text = match name.filter(|name| !name.is_empty()) {
        Some(name) => format!("{name}={url}"),
        None => url,
    };
    entry.connection = connection;
    Ok(entry)
}

/// One `[[dataset]]` table.
pub(crate) fn dataset(path: &Path, table: &Table) -> Result<DatasetEntry, Error> {
    let section = "dataset.";
    let keys = keys_of_table(&DATASET_KEYS, section, "cache-server");
    let mut entry = DatasetEntry::default();
    let mut connection = PartialConnection::default();
    let mut url = None;
    for (key, value) in table {
        keys.check(path, key)?;
        let at = Place { path, section, key };
        match (key.as_str(), value) {
            ("name", _) => entry.name = at.text(value)?,
            ("url", _) => url = Some(at.text(value)?),
            ("include", _) => entry.include = at.texts(value)?,
            ("exclude", _) => entry.exclude = at.texts(value)?,
            ("quota", _) => entry.quota = Some(at.size(value)?),
            ("pin", _) => entry.pin = at.truth(value)?,
            ("priority", _) => entry.priority = at.priority(value)?,
            ("source", Value::Array(sources)) if sources.iter().all(Value::is_table) => {
                let sources = sources.iter().filter_map(Value::as_table);
                let sources =
                    sources.map(|table| source_in(path, table, "dataset.source.", "cache-server"));
                entry.sources = sources.collect::<Result<_, _>>()?;
            }
            ("source", _) => return Err(at.bad(value, "expected [[dataset.source]] tables")),
            _ => at.connection(&mut connection, value)?,
        }
    }
    if entry.name.is_empty() {
        return Err(missing(path, section, table, "expected a key name"));
    }
    match (url, entry.sources.is_empty()) {
        (Some(text), true) => entry.sources = vec![SourceEntry { text, connection }],
        (None, false) if connection == PartialConnection::default() => {}
        (None, true) => {
            let expected = "expected a key url, or [[dataset.source]] tables";
            return Err(missing(path, section, table, expected));
        }
        (_, false) => {
            let expected =
                "expected url and its connection here, or in [[dataset.source]] tables, not both";
            return Err(missing(path, section, table, expected));
        }
    }
    Ok(entry)
}

fn missing(path: &Path, section: &str, table: &Table, expected: &str) -> Error {
    Error::BadValue {
        path: path.to_owned(),
        key: section.trim_end_matches('.').to_owned(),
        value: Value::Table(table.clone()).to_string(),
        expected: expected.to_owned(),
    }
}

/// Where a value stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    path: &'a Path,
    section: &'a str,
    key: &'a str,
}

impl Place<'_> {
    fn bad(self, value: &Value, expected: &str) -> Error {
        Error::BadValue {
            path: self.path.to_owned(),
            key: format!("{}{}", self.section, self.key),
            value: value.to_string(),
            expected: expected.to_owned(),
        }
    }

    fn text(self, value: &Value) -> Result<String, Error> {
        let text = value.as_str().map(ToOwned::to_owned);
        text.ok_or_else(|| self.bad(value, "expected a text"))
    }

    fn texts(self, value: &Value) -> Result<Vec<String>, Error> {
        values(value).ok_or_else(|| self.bad(value, "expected a text or a list of texts"))
    }

    fn truth(self, value: &Value) -> Result<bool, Error> {
        value
            .as_bool()
            .ok_or_else(|| self.bad(value, "expected true or false"))
    }

    fn size(self, value: &Value) -> Result<Size, Error> {
        let text = scalar(value).unwrap_or_default();
        let parsed = text.parse();
        parsed.map_err(|expected: NotASize| self.bad(value, &expected.to_string()))
    }

    fn priority(self, value: &Value) -> Result<i8, Error> {
        let number = value
            .as_integer()
            .and_then(|number| i8::try_from(number).ok());
        number
            .filter(|number| (-MOST_PRIORITY..=MOST_PRIORITY).contains(number))
            .ok_or_else(|| self.bad(value, "expected a number from -100 to 100"))
    }

    /// One of the keys that say how a server is reached.
    fn connection(self, connection: &mut PartialConnection, value: &Value) -> Result<(), Error> {
        match self.key {
            "endpoint" => connection.endpoint = Some(self.text(value)?),
            "region" => connection.region = Some(self.text(value)?),
            "path-style" => connection.path_style = Some(self.truth(value)?),
            _ => connection.anonymous = Some(self.truth(value)?),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::options::{MountOptions, ServerOptions};

    fn parsed(text: &str) -> MountOptions {
        parse(Path::new("f.toml"), text).unwrap()
    }

    fn message(text: &str) -> String {
        let parsed: Result<MountOptions, _> = parse(Path::new("f.toml"), text);
        parsed.unwrap_err().to_string()
    }

    fn server(text: &str) -> Result<Vec<DatasetEntry>, String> {
        let parsed: Result<ServerOptions, _> = parse(Path::new("f.toml"), text);
        let parsed = parsed.map_err(|error| error.to_string())?;
        Ok(parsed.dataset.unwrap_or_default())
    }

    #[test]
    fn a_dataset_has_one_source_or_several() {
        let datasets = server(
            "[[dataset]]\nname = \"a\"\nurl = \"s3://b\"\nregion = \"r\"\ninclude = \"x/**\"\n\
             [[dataset]]\nname = \"b\"\n[[dataset.source]]\nname = \"t\"\nurl = \"file:///t\"",
        )
        .unwrap();
        assert_eq!(datasets[0].name, "a");
        assert_eq!(datasets[0].sources[0].text, "s3://b");
        let region = datasets[0].sources[0].connection.region.as_deref();
        assert_eq!(region, Some("r"));
        assert_eq!(datasets[0].include, ["x/**"]);
        assert_eq!(datasets[1].sources[0].text, "t=file:///t");
    }

    #[test]
    fn what_is_wrong_in_a_dataset_is_named() {
        for (text, said) in [
            ("[[dataset]]\nurl = \"s3://b\"", "expected a key name"),
            ("[[dataset]]\nname = \"a\"", "expected a key url"),
            (
                "[[dataset]]\nname = \"a\"\nulr = 1",
                "did you mean dataset.url?",
            ),
            ("[[dataset]]\nname = 1", "dataset.name = 1: expected a text"),
            ("dataset = \"a\"", "expected [[dataset]] tables"),
            ("source = 1", "config print --example cache-server"),
            (
                "[[dataset]]\nname = \"a\"\nurl = \"s3://b\"\n[[dataset.source]]\nurl = \"s3://c\"",
                "not both",
            ),
        ] {
            let error = server(text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
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
            "f.toml: policy = \"fifo\": expected one of s3-fifo, lru, tenure"
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
