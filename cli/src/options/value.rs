//! The values of options that are more than a number or a text.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use forebay_cache_server::cluster::MemberInfo;
use forebay_cache_server::eviction::PolicyKind;
use forebay_fuse_client::{self as fuse, OpenModeChoice};
use serde::Serialize;
use tracing_subscriber::EnvFilter;

use crate::size::Size;

/// One source as it was named, and what only it needs to be reached.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SourceEntry {
    /// `NAME=URL`, or a URL alone for the whole tree. Not checked yet.
    pub text: String,
    /// In place of the options of the same names.
    pub connection: PartialConnection,
}

/// What is said about the connection of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartialConnection {
    /// The server's URL.
    pub endpoint: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// Whether the bucket is in the path.
    pub path_style: Option<bool>,
    /// Whether to send no credentials.
    pub anonymous: Option<bool>,
}

impl fmt::Debug for SourceEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A URL with a password in it is refused later; until then it is not shown.
        f.debug_struct("SourceEntry")
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}

impl FromStr for SourceEntry {
    type Err = std::convert::Infallible;

    // Not checked here: the flag parser would repeat the text in its message.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self {
            text: text.to_owned(),
            ..Self::default()
        })
    }
}

/// The first hexadecimal digits of a dataset version, or all 32.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VersionPrefix(String);

impl VersionPrefix {
    /// The digits, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VersionPrefix {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hexadecimal = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !hexadecimal || !(4..=32).contains(&text.len()) {
            return Err("expected 4 to 32 hexadecimal digits, as `forebay versions` prints them");
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

/// Permission bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u16);

impl FromStr for Mode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match u16::from_str_radix(text.trim_start_matches("0o"), 8) {
            Ok(bits) if bits <= 0o777 => Ok(Self(bits)),
            _ => Err("expected an octal mode from 0000 to 0777"),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl Serialize for Mode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Eviction policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Keeps what was read twice; a single pass over the dataset does not flush it.
    #[value(name = "s3-fifo")]
    #[serde(rename = "s3-fifo")]
    S3Fifo,
    /// Keeps what was read last.
    Lru,
    /// Keeps what it has unless something else is read more often: the most hits in
    /// shuffled epochs over more than the cache holds.
    Tenure,
}

impl From<Policy> for PolicyKind {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::S3Fifo => Self::S3Fifo,
            Policy::Lru => Self::Lru,
            Policy::Tenure => Self::Tenure,
        }
    }
}

/// How files are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OpenMode {
    /// What suits the sizes of the dataset's files and the kernel.
    Auto,
    /// The kernel reads files that are complete in the cache by itself; for large files.
    /// Needs Linux 6.9 and CAP_SYS_ADMIN.
    Passthrough,
    /// The kernel opens files without asking; for small files.
    NoOpen,
    /// The kernel asks at each open, and at each read that is not in its page cache.
    Plain,
}

impl From<OpenMode> for OpenModeChoice {
    fn from(mode: OpenMode) -> Self {
        match mode {
            OpenMode::Auto => Self::Auto,
            OpenMode::Passthrough => Self::Fixed(fuse::OpenMode::Passthrough),
            OpenMode::NoOpen => Self::Fixed(fuse::OpenMode::NoOpen),
            OpenMode::Plain => Self::Fixed(fuse::OpenMode::Plain),
        }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A dataset of a cache server, as its config file names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatasetEntry {
    /// What mounts ask for.
    pub name: String,
    /// Its sources. Not checked yet.
    pub sources: Vec<SourceEntry>,
    /// Globs of what is shown; empty for all.
    pub include: Vec<String>,
    /// Globs of what is hidden.
    pub exclude: Vec<String>,
    /// The most bytes of it that this server keeps.
    pub quota: Option<Size>,
    /// Whether its bytes stay when others need room.
    pub pin: bool,
    /// Of two datasets, the bytes of the one with the lower priority are evicted first.
    pub priority: i8,
}

/// A cache server of this machine, by the path of its socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddr(pub PathBuf);

impl FromStr for ServerAddr {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("unix:") {
            Some(path) if !path.is_empty() => Ok(Self(path.into())),
            _ => Err("expected unix:PATH, the socket of a cache server on this machine"),
        }
    }
}

impl fmt::Display for ServerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix:{}", self.0.display())
    }
}

/// A server of a cluster, as somebody lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerEntry(pub MemberInfo);

impl FromStr for PeerEntry {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected host:port, as in 10.0.0.7:7070,weight=2,zone=a";
        let mut parts = text.split(',');
        let address = parts.next().filter(|address| is_address(address));
        let mut member = MemberInfo::new(address.ok_or(EXPECTED)?);
        for part in parts {
            match part.split_once('=') {
                Some(("weight", weight)) => member.weight = weight.parse().map_err(|_| EXPECTED)?,
                Some(("zone", zone)) if !zone.is_empty() => member.zone = Some(zone.to_owned()),
                _ => return Err(EXPECTED),
            }
        }
        Ok(Self(member))
    }
}

/// Whether `text` is `host:port`.
pub(crate) fn is_address(text: &str) -> bool {
    let parts = text.rsplit_once(':');
    parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// Where metrics are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricsAddr {
    /// On TCP, at `host:port`.
    Tcp(String),
    /// On a Unix socket.
    Unix(PathBuf),
    /// Nowhere.
    Off,
}

impl FromStr for MetricsAddr {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected host:port, unix:PATH or off";
        if text == "off" {
            return Ok(Self::Off);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() {
                Err(EXPECTED)
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(Self::Tcp(text.to_owned()))
            }
            _ => Err(EXPECTED),
        }
    }
}

impl fmt::Display for MetricsAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Off => f.write_str("off"),
        }
    }
}

impl Serialize for MetricsAddr {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Parses a glob, so that a wrong one is told as the option's fault.
pub(super) fn glob(text: &str) -> Result<String, String> {
    match globset::Glob::new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!(
            "expected a glob such as train/**/*.jpg: {}",
            error.kind()
        )),
    }
}

/// Parses a duration with a unit.
pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    match humantime::parse_duration(text) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("expected a time such as 60s, 500ms or 5min"),
    }
}

/// The least that prefetch can do something with: one origin read.
const LEAST_PREFETCH: u64 = 8 << 20;

/// Parses a budget for prefetch.
pub(super) fn prefetch_budget(text: &str) -> Result<Size, &'static str> {
    match text.parse::<Size>() {
        Ok(size) if size.0 == 0 || size.0 >= LEAST_PREFETCH => Ok(size),
        _ => Err("expected a size of 8MiB or more, or 0 for no prefetch"),
    }
}

/// Parses a log filter.
pub(crate) fn log_filter(text: &str) -> Result<String, &'static str> {
    match EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("expected error, warn, info, debug, trace or a list of TARGET=LEVEL"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_of_a_source_holds_no_password() {
        let source: SourceEntry = "s3://AKIA:hunter2@bucket/p?sig=hunter3"
            .parse()
            .expect("entry");
        assert!(!format!("{source:?}").contains("hunter"));
    }

    #[test]
    fn a_version_is_hexadecimal_and_long_enough_to_mean_something() {
        assert_eq!(
            "ABCD".parse::<VersionPrefix>().map(|v| v.0),
            Ok("abcd".into())
        );
        assert!("abc".parse::<VersionPrefix>().is_err());
        assert!("wxyz".parse::<VersionPrefix>().is_err());
        assert!("a".repeat(33).parse::<VersionPrefix>().is_err());
    }

    #[test]
    fn a_mode_is_octal() {
        assert_eq!("0555".parse(), Ok(Mode(0o555)));
        assert_eq!(
            "444".parse::<Mode>().map(|mode| mode.to_string()),
            Ok("0444".into())
        );
        assert!("999".parse::<Mode>().is_err());
        assert!("7777".parse::<Mode>().is_err());
    }

    #[test]
    fn metrics_go_to_tcp_or_to_a_socket_or_nowhere() {
        assert_eq!(
            "0.0.0.0:9000".parse(),
            Ok(MetricsAddr::Tcp("0.0.0.0:9000".into()))
        );
        assert_eq!(
            "unix:/run/m".parse(),
            Ok(MetricsAddr::Unix("/run/m".into()))
        );
        assert_eq!("off".parse(), Ok(MetricsAddr::Off));
        for text in ["9000", ":9000", "unix:", "host:port", ""] {
            assert!(text.parse::<MetricsAddr>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_needs_a_unit_and_is_not_zero() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert!(duration("5").is_err());
        assert!(duration("0s").is_err());
    }

    #[test]
    fn a_prefetch_budget_has_room_for_one_read_or_is_none() {
        assert_eq!(prefetch_budget("0"), Ok(Size(0)));
        assert_eq!(prefetch_budget("8MiB"), Ok(Size(8 << 20)));
        assert!(prefetch_budget("1MiB").is_err());
        assert!(prefetch_budget("lots").is_err());
    }
}
