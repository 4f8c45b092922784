//! The options of a mount and of a cache server: each is a flag, an environment variable
//! and a key of the config file, under one name and with one parser.
//!
//! The doc comment of a field is its manual. The help text, the man page, the example
//! config file and the reference page are all made from it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;
use toml::Table;

use crate::config::file;
use crate::size::Size;

mod server;
mod table;
mod value;

pub use server::ServerOptions;
pub use table::OptionTable;
pub(crate) use value::is_address;
pub(crate) use value::log_filter;
pub use value::{
    DatasetEntry, LogFormat, MetricsAddr, Mode, OpenMode, PartialConnection, PeerEntry, Policy,
    ServerAddr, SourceEntry, VersionPrefix,
};

/// What can be said about a mount; `None` is what nobody said.
#[derive(Args, Clone, Debug, Default, PartialEq)]
pub struct MountOptions {
    /// Read through the cache server of this machine: unix:PATH, the path of its socket.
    ///
    /// SOURCE is then the name of one of the server's datasets. Sources, credentials and
    /// cache are the server's, and so are the options about them.
    #[arg(
        long,
        env = "FOREBAY_SERVER",
        value_name = "ADDR",
        help_heading = "Sources"
    )]
    pub server: Option<ServerAddr>,
    /// A source below the directory NAME of the tree; repeat it for several.
    ///
    /// In the environment, one a line. In the config file, a `[[source]]` table each,
    /// with the keys name, url, endpoint, region, path-style and anonymous.
    #[arg(
        long,
        env = "FOREBAY_SOURCE",
        value_name = "NAME=URL",
        help_heading = "Sources"
    )]
    #[arg(value_delimiter = '\n')]
    pub source: Option<Vec<SourceEntry>>,
    /// The address of the object store; needed for all but the public clouds.
    #[arg(
        long,
        env = "FOREBAY_ENDPOINT",
        value_name = "URL",
        help_heading = "Sources"
    )]
    pub endpoint: Option<String>,
    /// The region of the bucket; without it, that of the AWS environment.
    #[arg(
        long,
        env = "FOREBAY_REGION",
        value_name = "REGION",
        help_heading = "Sources"
    )]
    pub region: Option<String>,
    /// Put the bucket into the path and not into the host name, at AWS too; with an endpoint
    /// it always is there.
    #[arg(
        long,
        env = "FOREBAY_PATH_STYLE",
        value_name = "BOOL",
        help_heading = "Sources"
    )]
    #[arg(num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    #[arg(value_parser = BoolishValueParser::new())]
    pub path_style: Option<bool>,
    /// Send no credentials.
    #[arg(
        long,
        env = "FOREBAY_ANONYMOUS",
        value_name = "BOOL",
        help_heading = "Sources"
    )]
    #[arg(num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    #[arg(value_parser = BoolishValueParser::new())]
    pub anonymous: Option<bool>,
    /// Show only keys that match this glob; repeat it for several.
    ///
    /// `*` stays within one directory, `**` crosses them.
    #[arg(
        long,
        env = "FOREBAY_INCLUDE",
        value_name = "GLOB",
        help_heading = "Sources"
    )]
    #[arg(value_delimiter = '\n', value_parser = value::glob)]
    pub include: Option<Vec<String>>,
    /// Hide keys that match this glob, included or not; repeat it for several.
    #[arg(
        long,
        env = "FOREBAY_EXCLUDE",
        value_name = "GLOB",
        help_heading = "Sources"
    )]
    #[arg(value_delimiter = '\n', value_parser = value::glob)]
    pub exclude: Option<Vec<String>>,
    /// The dataset version to mount, or the first digits of it: a stored one, or what the
    /// sources hold now if that is it; without it they are listed now.
    #[arg(
        long,
        env = "FOREBAY_VERSION",
        value_name = "VERSION",
        help_heading = "Sources"
    )]
    pub version: Option<VersionPrefix>,
    /// How long a read waits for the origin, retries included, before it fails.
    #[arg(
        long,
        env = "FOREBAY_ORIGIN_TIMEOUT",
        value_name = "TIME",
        help_heading = "Sources"
    )]
    #[arg(value_parser = value::duration)]
    pub origin_timeout: Option<Duration>,

    /// Where cached bytes and manifests are kept.
    ///
    /// By default a directory of its own for each set of sources, below
    /// /var/cache/forebay for root and $XDG_CACHE_HOME/forebay for others, so that
    /// mounting the same sources again finds the cache.
    #[arg(
        long,
        env = "FOREBAY_CACHE_DIR",
        value_name = "DIR",
        help_heading = "Cache"
    )]
    pub cache_dir: Option<PathBuf>,
    /// How much of the disk the cache may use; by default 100 GiB, or 80 % of what the
    /// file system has free if that is less.
    #[arg(
        long,
        env = "FOREBAY_CACHE_SIZE",
        value_name = "SIZE",
        help_heading = "Cache"
    )]
    pub cache_size: Option<Size>,
    /// How much memory (tmpfs, /dev/shm) the cache may use; 0 for none.
    ///
    /// The default gives way to half of a small /dev/shm, and to a quarter of the memory that
    /// the process may use.
    #[arg(
        long,
        env = "FOREBAY_MEMORY_SIZE",
        value_name = "SIZE",
        help_heading = "Cache"
    )]
    pub memory_size: Option<Size>,
    /// What is evicted first when the cache is full.
    #[arg(
        long,
        env = "FOREBAY_POLICY",
        value_name = "POLICY",
        help_heading = "Cache"
    )]
    #[arg(value_enum)]
    pub policy: Option<Policy>,

    /// How many bytes may be on their way ahead of readers, all together; 0 for no prefetch.
    ///
    /// By default 256 MiB, or an eighth of the memory that the process may use if that is
    /// less. While memory is short, prefetch waits whatever this says.
    #[arg(
        long,
        env = "FOREBAY_PREFETCH_BUDGET",
        value_name = "SIZE",
        help_heading = "Cache"
    )]
    #[arg(value_parser = value::prefetch_budget)]
    pub prefetch_budget: Option<Size>,
    /// How many bytes a second of the cache are compared with their checksums in the
    /// background; 0 for none.
    ///
    /// What is wrong is dropped, counted, and fetched again by the next reader. The cache
    /// is gone through once, then again an hour after the end. Bytes are compared before
    /// their first use in any case.
    #[arg(
        long,
        env = "FOREBAY_SCRUB_RATE",
        value_name = "SIZE",
        help_heading = "Cache"
    )]
    pub scrub_rate: Option<Size>,

    /// The owner of every file, as a number; by default the user who mounts.
    #[arg(long, env = "FOREBAY_UID", value_name = "UID", help_heading = "Tree")]
    pub uid: Option<u32>,
    /// The group of every file, as a number; by default the group of who mounts.
    #[arg(long, env = "FOREBAY_GID", value_name = "GID", help_heading = "Tree")]
    pub gid: Option<u32>,
    /// The mode of every file, in octal; write bits have no effect.
    #[arg(
        long,
        env = "FOREBAY_FILE_MODE",
        value_name = "MODE",
        help_heading = "Tree"
    )]
    pub file_mode: Option<Mode>,
    /// The mode of every directory, in octal; write bits have no effect.
    #[arg(
        long,
        env = "FOREBAY_DIR_MODE",
        value_name = "MODE",
        help_heading = "Tree"
    )]
    pub dir_mode: Option<Mode>,
    /// Let other users than the one who mounts read the tree.
    ///
    /// For a user other than root, /etc/fuse.conf must have user_allow_other.
    #[arg(
        long,
        env = "FOREBAY_ALLOW_OTHER",
        value_name = "BOOL",
        help_heading = "Tree"
    )]
    #[arg(num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    #[arg(value_parser = BoolishValueParser::new())]
    pub allow_other: Option<bool>,
    /// How far the kernel reads ahead in a file that is read in order.
    #[arg(
        long,
        env = "FOREBAY_READ_AHEAD",
        value_name = "SIZE",
        help_heading = "Tree"
    )]
    pub read_ahead: Option<Size>,
    /// How files are opened; the choice and its reason are shown by `forebay status`.
    #[arg(
        long,
        env = "FOREBAY_OPEN_MODE",
        value_name = "MODE",
        help_heading = "Tree"
    )]
    #[arg(value_enum)]
    pub open_mode: Option<OpenMode>,

    /// Return when the mount is ready, and serve it from the background.
    #[arg(
        long,
        env = "FOREBAY_DAEMON",
        value_name = "BOOL",
        help_heading = "Process"
    )]
    #[arg(num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    #[arg(value_parser = BoolishValueParser::new())]
    pub daemon: Option<bool>,
    /// Serve the mount from this process alone: when it dies, the mount does.
    ///
    /// Otherwise a supervisor starts another process in its place, and a keeper holds the
    /// mount meanwhile, so that readers see a pause and no error.
    #[arg(
        long,
        env = "FOREBAY_NO_SUPERVISE",
        value_name = "BOOL",
        help_heading = "Process"
    )]
    #[arg(num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    #[arg(value_parser = BoolishValueParser::new())]
    pub no_supervise: Option<bool>,
    /// Where metrics and health are served over HTTP: host:port, unix:PATH or off; by
    /// default a Unix socket in the run directory.
    #[arg(
        long,
        env = "FOREBAY_METRICS",
        value_name = "ADDR",
        help_heading = "Process"
    )]
    pub metrics: Option<MetricsAddr>,
    /// Append logs to this file and not to the standard error. SIGHUP opens it again, for
    /// who has moved it away.
    #[arg(
        long,
        env = "FOREBAY_LOG_FILE",
        value_name = "FILE",
        help_heading = "Process"
    )]
    pub log_file: Option<PathBuf>,
    /// How a log line looks.
    #[arg(
        long,
        env = "FOREBAY_LOG_FORMAT",
        value_name = "FORMAT",
        help_heading = "Process"
    )]
    #[arg(value_enum)]
    pub log_format: Option<LogFormat>,
    /// What is logged: error, warn, info, debug, trace, or a filter such as
    /// info,forebay_cache_server=debug; by default info, and warn at a terminal.
    #[arg(
        long,
        env = "FOREBAY_LOG_LEVEL",
        value_name = "LEVEL",
        help_heading = "Process"
    )]
    #[arg(value_parser = value::log_filter)]
    pub log_level: Option<String>,
}

impl OptionTable for MountOptions {
    const COMMAND: &'static str = "mount";
    const DEFAULTS: &'static [(&'static str, &'static str)] = &[
        ("path-style", "false"),
        ("anonymous", "false"),
        ("origin-timeout", "60s"),
        ("memory-size", "1GiB"),
        // Scan-resistant: one pass over a dataset larger than the cache does not flush it.
        ("policy", "s3-fifo"),
        // A terabyte in 18 hours, for a hundredth of what a disk can read.
        ("scrub-rate", "16MiB"),
        ("file-mode", "0444"),
        ("dir-mode", "0555"),
        ("allow-other", "false"),
        // What one FUSE request can carry with the kernel's usual limit of 256 pages.
        ("read-ahead", "1MiB"),
        ("open-mode", "auto"),
        ("daemon", "false"),
        ("no-supervise", "false"),
        ("log-format", "text"),
    ];
    const SAMPLES: &'static [(&'static str, &'static str)] = &[
        ("server", "\"unix:/run/forebay/cache.sock\""),
        ("endpoint", "\"http://127.0.0.1:9000\""),
        ("region", "\"us-east-1\""),
        ("include", "[\"train/**\", \"val/**\"]"),
        ("exclude", "[\"**/*.tmp\"]"),
        ("version", "\"3fa94b1c\""),
        ("cache-dir", "\"/nvme/forebay\""),
        ("cache-size", "\"100GiB\""),
        ("prefetch-budget", "\"256MiB\""),
        ("uid", "1000"),
        ("gid", "1000"),
        ("metrics", "\"127.0.0.1:9464\""),
        ("log-file", "\"/var/log/forebay.log\""),
        ("log-level", "\"info\""),
    ];
    const TABLES: (&'static str, &'static str) = (
        "source",
        "\n## What is mounted; a table for each source\n\n\
         [[source]]\n\
         # The directory below the mount point; without it, the source is the whole tree.\n\
         # name = \"train\"\n\
         url = \"s3://bucket/prefix\"\n\
         # For this source only, in place of the keys above:\n\
         # endpoint = \"http://127.0.0.1:9000\"\n\
         # region = \"us-east-1\"\n\
         # path-style = true\n\
         # anonymous = true\n",
    );

    fn or(self, under: Self) -> Self {
        macro_rules! first_said {
            ($($field:ident),* $(,)?) => {
                Self { $($field: self.$field.or(under.$field)),* }
            };
        }
        first_said!(
            server,
            source,
            endpoint,
            region,
            path_style,
            anonymous,
            include,
            exclude,
            version,
            origin_timeout,
            cache_dir,
            cache_size,
            memory_size,
            policy,
            prefetch_budget,
            scrub_rate,
            uid,
            gid,
            file_mode,
            dir_mode,
            allow_other,
            read_ahead,
            open_mode,
            daemon,
            no_supervise,
            metrics,
            log_file,
            log_format,
            log_level,
        )
    }

    fn of_tables(path: &Path, tables: &[&Table]) -> Result<Self, file::Error> {
        let sources = tables.iter().map(|table| file::source(path, table));
        Ok(Self {
            source: Some(sources.collect::<Result<_, _>>()?),
            ..Self::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_parses_and_every_key_exists() {
        let defaults = MountOptions::defaults();
        assert_eq!(defaults.memory_size, Some(Size(1 << 30)));
        assert_eq!(defaults.origin_timeout, Some(Duration::from_secs(60)));
        assert_eq!(defaults.daemon, Some(false));
    }

    #[test]
    fn an_upper_layer_hides_a_lower_one_option_by_option() {
        let upper = MountOptions {
            region: Some("up".into()),
            ..MountOptions::default()
        };
        let lower = MountOptions {
            region: Some("down".into()),
            anonymous: Some(true),
            ..MountOptions::default()
        };
        let both = upper.or(lower);
        assert_eq!(both.region.as_deref(), Some("up"));
        assert_eq!(both.anonymous, Some(true));
    }
}
