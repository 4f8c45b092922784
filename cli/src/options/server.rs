//! The options of a cache server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;
use toml::Table;

use super::table::OptionTable;
use super::value::{self, DatasetEntry, LogFormat, MetricsAddr, PeerEntry, Policy};
use crate::config::file;
use crate::size::Size;

/// What can be said about a cache server; `None` is what nobody said.
#[derive(Args, Clone, Debug, Default, PartialEq)]
pub struct ServerOptions {
    /// The Unix socket at which mounts of this machine connect; by default cache.sock in
    /// the run directory.
    #[arg(
        long,
        env = "FOREBAY_SOCKET",
        value_name = "PATH",
        help_heading = "Clients"
    )]
    pub socket: Option<PathBuf>,
    /// The group, by name or number, whose members may connect, beside root and the
    /// server's own user; by default nobody else.
    #[arg(
        long,
        env = "FOREBAY_GROUP",
        value_name = "GROUP",
        help_heading = "Clients"
    )]
    pub group: Option<String>,
    /// How long what a mount has open is kept from eviction after its process has gone
    /// away: until the next one takes over.
    #[arg(
        long,
        env = "FOREBAY_LEASE_GRACE",
        value_name = "TIME",
        help_heading = "Clients"
    )]
    #[arg(value_parser = value::duration)]
    pub lease_grace: Option<Duration>,

    /// How long a read waits for the origin, retries included, before it fails.
    #[arg(
        long,
        env = "FOREBAY_ORIGIN_TIMEOUT",
        value_name = "TIME",
        help_heading = "Sources"
    )]
    #[arg(value_parser = value::duration)]
    pub origin_timeout: Option<Duration>,

    /// Where cached bytes and manifests of all datasets are kept; by default
    /// /var/cache/forebay/server for root and $XDG_CACHE_HOME/forebay/server for others.
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
    /// How many bytes may be on their way ahead of readers, all together; 0 for no
    /// prefetch.
    ///
    /// By default 1 GiB, or an eighth of the memory that this process may use if that is
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

    /// The address (host:port) at which this server talks to the others of its cluster; without
    /// it, it is alone.
    #[arg(
        long,
        env = "FOREBAY_PEER_LISTEN",
        value_name = "ADDR",
        help_heading = "Cluster"
    )]
    pub peer_listen: Option<String>,
    /// The address (host:port) by which the others know this server, if they see it under
    /// another than it listens at.
    #[arg(
        long,
        env = "FOREBAY_PEER_ADDRESS",
        value_name = "ADDR",
        help_heading = "Cluster"
    )]
    pub peer_address: Option<String>,
    /// A server of the cluster: host:port, and if wanted its share and its place, as in
    /// 10.0.0.7:7070,weight=2,zone=a; repeat it for each. This server may be among them.
    #[arg(
        long,
        env = "FOREBAY_PEER",
        value_name = "ADDR",
        help_heading = "Cluster"
    )]
    #[arg(value_delimiter = '\n')]
    pub peer: Option<Vec<PeerEntry>>,
    /// In place of a list: a name (host:port) whose addresses are the servers of the cluster.
    #[arg(
        long,
        env = "FOREBAY_PEER_DNS",
        value_name = "NAME",
        help_heading = "Cluster"
    )]
    pub peer_dns: Option<String>,
    /// What the cluster is called; servers of another one are refused.
    #[arg(
        long,
        env = "FOREBAY_CLUSTER_NAME",
        value_name = "NAME",
        help_heading = "Cluster"
    )]
    pub cluster_name: Option<String>,
    /// How many servers keep each part of the data, beside those that read it.
    #[arg(
        long,
        env = "FOREBAY_REPLICAS",
        value_name = "COUNT",
        help_heading = "Cluster"
    )]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=4))]
    pub replicas: Option<u8>,
    /// The certificate of this server for the others, in PEM; read again when it changes.
    #[arg(
        long,
        env = "FOREBAY_PEER_CERT",
        value_name = "FILE",
        help_heading = "Cluster"
    )]
    pub peer_cert: Option<PathBuf>,
    /// Its private key, in PEM.
    #[arg(
        long,
        env = "FOREBAY_PEER_KEY",
        value_name = "FILE",
        help_heading = "Cluster"
    )]
    pub peer_key: Option<PathBuf>,
    /// The authority that has certified every server of the cluster, in PEM.
    #[arg(
        long,
        env = "FOREBAY_PEER_CA",
        value_name = "FILE",
        help_heading = "Cluster"
    )]
    pub peer_ca: Option<PathBuf>,
    /// The DNS name that is in the certificate of every server.
    #[arg(
        long,
        env = "FOREBAY_PEER_TLS_NAME",
        value_name = "NAME",
        help_heading = "Cluster"
    )]
    pub peer_tls_name: Option<String>,
    /// Talk to the others without certificates: for a network that nobody else can reach.
    #[arg(
        long,
        env = "FOREBAY_PEER_INSECURE",
        value_name = "BOOL",
        help_heading = "Cluster"
    )]
    #[arg(num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    #[arg(value_parser = BoolishValueParser::new())]
    pub peer_insecure: Option<bool>,

    /// Where metrics and health are served over HTTP: host:port, unix:PATH or off; by
    /// default a Unix socket beside the one for clients.
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

    /// The datasets: in the config file only.
    #[arg(skip)]
    pub dataset: Option<Vec<DatasetEntry>>,
}

impl OptionTable for ServerOptions {
    const COMMAND: &'static str = "cache-server";
    const DEFAULTS: &'static [(&'static str, &'static str)] = &[
        // A mount that is replaced is back within a second; a crashed machine's daemon
        // supervisor needs some more.
        ("lease-grace", "10s"),
        ("origin-timeout", "60s"),
        ("memory-size", "1GiB"),
        // Scan-resistant: one pass over a dataset larger than the cache does not flush it.
        ("policy", "s3-fifo"),
        ("scrub-rate", "16MiB"),
        ("cluster-name", "forebay"),
        // The origin has a copy of all of it.
        ("replicas", "1"),
        ("peer-tls-name", "forebay-peer"),
        ("peer-insecure", "false"),
        ("log-format", "text"),
    ];
    const SAMPLES: &'static [(&'static str, &'static str)] = &[
        ("socket", "\"/run/forebay/cache.sock\""),
        ("group", "\"forebay\""),
        ("cache-dir", "\"/nvme/forebay\""),
        ("cache-size", "\"100GiB\""),
        ("prefetch-budget", "\"256MiB\""),
        ("peer-listen", "\"0.0.0.0:7070\""),
        ("peer-address", "\"10.0.0.7:7070\""),
        (
            "peer",
            "[\"10.0.0.7:7070,zone=a\", \"10.0.0.8:7070,weight=2,zone=b\"]",
        ),
        ("peer-dns", "\"forebay-peers.local:7070\""),
        ("peer-cert", "\"/etc/forebay/tls/tls.crt\""),
        ("peer-key", "\"/etc/forebay/tls/tls.key\""),
        ("peer-ca", "\"/etc/forebay/tls/ca.crt\""),
        ("metrics", "\"127.0.0.1:9464\""),
        ("log-file", "\"/var/log/forebay.log\""),
        ("log-level", "\"info\""),
    ];
    const TABLES: (&'static str, &'static str) = (
        "dataset",
        "\n## What mounts may ask for; a table for each dataset\n\n\
         [[dataset]]\n\
         # As in: forebay mount --server unix:/run/forebay/cache.sock imagenet /mnt/data\n\
         name = \"imagenet\"\n\
         url = \"s3://bucket/imagenet\"\n\
         # endpoint = \"http://127.0.0.1:9000\"\n\
         # region = \"us-east-1\"\n\
         # path-style = true\n\
         # anonymous = true\n\
         # include = [\"train/**\", \"val/**\"]\n\
         # exclude = [\"**/*.tmp\"]\n\
         # The most bytes of it that this server keeps, copies of what others keep included;\n\
         # without it, as many as there is room for.\n\
         # quota = \"500GiB\"\n\
         # Its bytes stay when other datasets need room; bound it with a quota.\n\
         # pin = true\n\
         # From -100 to 100: the bytes of a dataset with a lower one are evicted first.\n\
         # priority = 0\n\
         # In place of url, several sources, each below the directory of its name:\n\
         # [[dataset.source]]\n\
         # name = \"train\"\n\
         # url = \"s3://bucket/train\"\n",
    );

    fn or(self, under: Self) -> Self {
        macro_rules! first_said {
            ($($field:ident),* $(,)?) => {
                Self { $($field: self.$field.or(under.$field)),* }
            };
        }
        first_said!(
            socket,
            group,
            lease_grace,
            origin_timeout,
            cache_dir,
            cache_size,
            memory_size,
            policy,
            prefetch_budget,
            scrub_rate,
            peer_listen,
            peer_address,
            peer,
            peer_dns,
            cluster_name,
            replicas,
            peer_cert,
            peer_key,
            peer_ca,
            peer_tls_name,
            peer_insecure,
            metrics,
            log_file,
            log_format,
            log_level,
            dataset,
        )
    }

    fn of_tables(path: &Path, tables: &[&Table]) -> Result<Self, file::Error> {
        let datasets = tables.iter().map(|table| file::dataset(path, table));
        Ok(Self {
            dataset: Some(datasets.collect::<Result<_, _>>()?),
            ..Self::default()
        })
    }
}
