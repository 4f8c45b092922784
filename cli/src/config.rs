//! From what was said to what is done: the typed configuration of a mount.

use std::path::{Path, PathBuf};
use std::time::Duration;

use forebay_cache_server::listing::{Filter, InvalidGlob};
use forebay_cache_server::prefetch::{self, PrefetchConfig};
use forebay_cache_server::source::{self, Connection, SourceSpec};

use crate::args::MountArgs;
use crate::directory;
use crate::exit::{Exit, Failure};
use crate::mountpoint;
use crate::options::{
    MetricsAddr, Mode, MountOptions, OpenMode, OptionTable, PartialConnection, Policy, ServerAddr,
    SourceEntry, VersionPrefix,
};
use crate::size::Size;
use crate::telemetry::LogConfig;

pub mod cache_dir;
mod cluster;
pub(crate) mod file;
pub mod reference;
mod server;

pub use cluster::{ClusterConfig, Members};
pub use server::ServerConfig;

/// The configuration of a mount.
#[derive(Clone, Debug)]
pub struct MountConfig {
    /// The mount point, absolute.
    pub mountpoint: PathBuf,
    /// What is shown.
    pub dataset: DatasetConfig,
    /// The cache server to read through; `None` for a cache in the mount's process.
    pub server: Option<ServerUse>,
    /// Where it is cached, if not by a server.
    pub cache: CacheConfig,
    /// How it looks.
    pub tree: TreeConfig,
    /// How long a read waits for the origin.
    pub origin_timeout: Duration,
    /// Where metrics are served; `None` is a socket in the run directory.
    pub metrics: Option<MetricsAddr>,
    /// What is logged, and where.
    pub log: LogConfig,
    /// Whether to serve it from the background.
    pub daemon: bool,
    /// Whether another process takes over when the one that serves it dies.
    pub supervise: bool,
}

/// A dataset of a cache server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUse {
    /// The server's socket.
    pub socket: PathBuf,
    /// The dataset's name in the server's configuration.
    pub dataset: String,
}

/// What is shown.
#[derive(Clone, Debug)]
pub struct DatasetConfig {
    /// The sources, checked: they make one tree. None if a cache server has them.
    pub sources: Vec<SourceSpec>,
    /// Globs of what is shown; empty for all.
    pub include: Vec<String>,
    /// Globs of what is hidden.
    pub exclude: Vec<String>,
    /// The stored version to mount; `None` lists the sources.
    pub version: Option<VersionPrefix>,
}

impl DatasetConfig {
    /// The compiled globs.
    ///
    /// # Errors
    /// [`InvalidGlob`]; [`MountConfig::resolve`] has already looked for it.
    pub fn filter(&self) -> Result<Filter, InvalidGlob> {
        Filter::new(&self.include, &self.exclude)
    }
}

/// Where and how much is cached, as far as it was said.
#[derive(Clone, Debug)]
pub struct CacheConfig {
    /// The cache directory; `None` is the default one of the sources.
    pub dir: Option<PathBuf>,
    /// The quota on disk; `None` depends on the file system.
    pub size: Option<Size>,
    /// The quota in memory, and whether somebody asked for it.
    pub memory: Quota,
    /// What is evicted first.
    pub policy: Policy,
    /// The budget of prefetch; `None` depends on the memory.
    pub prefetch_budget: Option<Size>,
    /// Bytes a second that are compared with their checksums; 0 for none.
    pub scrub_rate: Size,
}

impl CacheConfig {
    /// The budget of prefetch that was asked for, or as much as the memory can bear.
    pub fn prefetch_bytes(&self) -> u64 {
        let most = PrefetchConfig::default().budget_bytes;
        let eighth = prefetch::memory_limit().map_or(most, |limit| limit / 8);
        self.prefetch_budget.map_or(most.min(eighth), |size| size.0)
    }
}

/// A quota and whether it is a default, which may give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The quota.
    pub size: Size,
    /// Whether somebody asked for exactly this.
    pub explicit: bool,
}

/// How the tree looks.
#[derive(Clone, Copy, Debug)]
pub struct TreeConfig {
    /// The owner; `None` is the user who mounts.
    pub uid: Option<u32>,
    /// The group; `None` is the group of who mounts.
    pub gid: Option<u32>,
    /// Permission bits of files.
    pub file_mode: u16,
    /// Permission bits of directories.
    pub dir_mode: u16,
    /// Whether other users may read.
    pub allow_other: bool,
    /// How far the kernel reads ahead.
    pub read_ahead: Size,
    /// How files are opened.
    pub open_mode: OpenMode,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The config file.
    #[error(transparent)]
    File(#[from] file::Error),
    /// A source.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// A glob.
    #[error(transparent)]
    Glob(#[from] InvalidGlob),
    /// A source by position and sources by name.
    #[error(
        "SOURCE and --source (or FOREBAY_SOURCE) are both given; \
         name every source with --source NAME=URL"
    )]
    SourceTwice,
    /// No source anywhere.
    #[error("no source is named; write `forebay mount SOURCE DIR`, or use --source or --config")]
    NoSource,
    /// A source that is not text.
    #[error("the source {text:?} is not UTF-8; percent-encode it")]
    SourceNotText {
        /// It, as far as it is text.
        text: String,
    },
    /// No dataset of the server is named.
    #[error("no dataset is named; write `forebay mount --server {server} NAME DIR`")]
    NoDataset {
        /// The server.
        server: String,
    },
    /// An option that the cache server has.
    #[error(
        "--{key}, its variable and its key belong to the cache server; set it in the server's \
         configuration, or mount without --server"
    )]
    OfServer {
        /// The option.
        key: &'static str,
    },
    /// Two datasets of one name.
    #[error("two datasets are called {name:?}")]
    DatasetTwice {
        /// The name.
        name: String,
    },
    /// A name that is too long.
    #[error("the name of dataset {name:?} has more than {most} bytes")]
    LongName {
        /// The name.
        name: String,
        /// The most bytes.
        most: usize,
    },
    /// There is nothing to serve.
    #[error("no dataset is configured; `forebay config print --example cache-server` shows how")]
    NoDatasets,
    /// There is no such group.
    #[error("--group {group}: this machine has no such group")]
    NoGroup {
        /// The group.
        group: String,
    },
    /// A file that the mount would hide from its own process.
    #[error("{what} {path} lies below the mount point, which hides it", path = path.display())]
    BelowMount {
        /// What it is.
        what: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// Servers that would talk to each other without knowing that they may.
    #[error(
        "--peer-listen needs --peer-cert, --peer-key and --peer-ca; on a network that nobody \
         else can reach, --peer-insecure does without"
    )]
    NoPeerSecurity,
    /// Certificates and their absence, both asked for.
    #[error("--peer-insecure and --peer-{key} are both given")]
    PeerSecurityTwice {
        /// The option.
        key: &'static str,
    },
    /// An address that is none.
    #[error("--{key} {value}: expected host:port")]
    NotAnAddress {
        /// The option.
        key: &'static str,
        /// Its value.
        value: String,
    },
    /// An address that names no machine.
    #[error(
        "--peer-listen {listen} names no machine; say with --peer-address how the others reach it"
    )]
    NoPeerAddress {
        /// Where it listens.
        listen: String,
    },
    /// A cluster that is not listened to.
    #[error("--{key} has no effect without --peer-listen")]
    NoPeerListen {
        /// The option.
        key: &'static str,
    },
    /// Two lists of members.
    #[error("--peer and --peer-dns are both given; one of them says who the servers are")]
    PeersTwice,
    /// A path that cannot be made absolute.
    #[error("{path}: not a path", path = path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        // The URL or the options of a source are wrong here: nothing was contacted.
        Self::new(Exit::Usage, error)
    }
}

impl MountConfig {
    /// Puts command line, environment, config file and defaults together.
    ///
    /// # Errors
    /// [`Error`], for the first thing that is wrong. Nothing is contacted, and no file
    /// but the config file is looked at.
    pub fn resolve(args: &MountArgs) -> Result<Self, Error> {
        let (source, dir) = args.source_and_dir();
        let mut flags = args.options.clone();
        if let Some(source) = source {
            if flags.source.is_some() {
                return Err(Error::SourceTwice);
            }
            let text = source.to_str().ok_or_else(|| Error::SourceNotText {
                text: source.to_string_lossy().into_owned(),
            })?;
            flags.source = Some(vec![SourceEntry {
                text: text.to_owned(),
                ..Default::default()
            }]);
        }
        let file = match &args.config {
            Some(path) => file::read::<MountOptions>(&absolute(path.clone())?)?,
            None => MountOptions::default(),
        };
        // Precedence, in one line: flag (and, below it, environment), file, default.
        let said = flags.or(file);
        let server = match &said.server {
            Some(server) => Some(server_use(server, &said, source.is_some())?),
            None => None,
        };
        let explicit_memory = said.memory_size.is_some();
        let config = Self::typed(said.or(MountOptions::defaults()), dir, explicit_memory)?;
        let file = args.config.clone().map(absolute).transpose()?;
        config.refuse_below_mount(file.as_deref())?;
        Ok(Self { server, ..config })
    }

    /// What the mount is called in the list of mounts: the first source, or the server's
    /// name of the dataset.
    pub fn dataset_name(&self) -> &str {
        match (&self.server, self.dataset.sources.first()) {
            (Some(server), _) => &server.dataset,
            (None, Some(source)) => &source.url,
            (None, None) => "",
        }
    }

    /// A process that takes the mount over would ask itself for these files.
    fn refuse_below_mount(&self, file: Option<&Path>) -> Result<(), Error> {
        let files = [
            ("the config file", file),
            ("the cache directory", self.cache.dir.as_deref()),
            ("the log file", self.log.file.as_deref()),
        ];
        let hidden = files
            .into_iter()
            .find_map(|(what, path)| Some((what, path?.strip_prefix(&self.mountpoint).ok()?)));
        match hidden {
            Some((what, below)) => Err(Error::BelowMount {
                what,
                path: self.mountpoint.join(below),
            }),
            None => Ok(()),
        }
    }

    fn typed(said: MountOptions, dir: &Path, explicit_memory: bool) -> Result<Self, Error> {
        Ok(Self {
            server: None,
            mountpoint: mountpoint::absolute(dir).map_err(|source| Error::Path {
                path: dir.to_owned(),
                source,
            })?,
            dataset: dataset(&said)?,
            cache: CacheConfig {
                dir: said.cache_dir.map(absolute).transpose()?,
                size: said.cache_size,
                memory: Quota {
                    size: sure(said.memory_size),
                    explicit: explicit_memory,
                },
                policy: sure(said.policy),
                prefetch_budget: said.prefetch_budget,
                scrub_rate: sure(said.scrub_rate),
            },
            tree: TreeConfig {
                uid: said.uid,
                gid: said.gid,
                file_mode: sure(said.file_mode).0,
                dir_mode: sure(said.dir_mode).0,
                allow_other: sure(said.allow_other),
                read_ahead: sure(said.read_ahead),
                open_mode: sure(said.open_mode),
            },
            origin_timeout: sure(said.origin_timeout),
            metrics: metrics(said.metrics.clone())?,
            log: LogConfig {
                format: sure(said.log_format),
                filter: said.log_level,
                file: said.log_file.map(absolute).transpose()?,
            },
            daemon: sure(said.daemon),
            supervise: !sure(said.no_supervise),
        })
    }

    /// The configuration as it is logged at the start. It holds no secrets: a URL with
    /// credentials in it has been refused.
    pub fn summary(&self) -> serde_json::Value {
        let sources: Vec<_> = self.dataset.sources.iter().map(source_summary).collect();
        serde_json::json!({
            "mountpoint": self.mountpoint,
            "server": self.server.as_ref().map(|server| &server.socket),
            "dataset": self.server.as_ref().map(|server| &server.dataset),
            "source": sources,
            "include": self.dataset.include,
            "exclude": self.dataset.exclude,
            "version": self.dataset.version,
            "origin-timeout": humantime::format_duration(self.origin_timeout).to_string(),
            "cache-dir": self.cache.dir,
            "cache-size": self.cache.size,
            "memory-size": self.cache.memory.size,
            "policy": self.cache.policy,
            "prefetch-budget": self.cache.prefetch_budget,
            "scrub-rate": self.cache.scrub_rate,
            "uid": self.tree.uid,
            "gid": self.tree.gid,
            "file-mode": Mode(self.tree.file_mode),
            "dir-mode": Mode(self.tree.dir_mode),
            "allow-other": self.tree.allow_other,
            "read-ahead": self.tree.read_ahead,
            "open-mode": self.tree.open_mode,
            "metrics": self.metrics,
            "daemon": self.daemon,
            "no-supervise": !self.supervise,
            "log-file": self.log.file,
            "log-format": self.log.format,
            "log-level": self.log.filter(),
        })
    }
}

/// The server's dataset that a mount names by position. What the server decides cannot be
/// said beside it.
fn server_use(server: &ServerAddr, said: &MountOptions, named: bool) -> Result<ServerUse, Error> {
    let of_server = [
        ("source", said.source.is_some() && !named),
        ("endpoint", said.endpoint.is_some()),
        ("region", said.region.is_some()),
        ("path-style", said.path_style.is_some()),
        ("anonymous", said.anonymous.is_some()),
        ("include", said.include.is_some()),
        ("exclude", said.exclude.is_some()),
        ("cache-dir", said.cache_dir.is_some()),
        ("cache-size", said.cache_size.is_some()),
        ("memory-size", said.memory_size.is_some()),
        ("policy", said.policy.is_some()),
        ("prefetch-budget", said.prefetch_budget.is_some()),
        ("scrub-rate", said.scrub_rate.is_some()),
    ];
    if let Some((key, _)) = of_server.into_iter().find(|(_, is_said)| *is_said) {
        return Err(Error::OfServer { key });
    }
    let dataset = said.source.as_deref().and_then(<[_]>::first);
    let dataset = dataset.ok_or_else(|| Error::NoDataset {
        server: server.to_string(),
    })?;
    Ok(ServerUse {
        socket: absolute(server.0.clone())?,
        dataset: dataset.text.clone(),
    })
}

/// Where metrics are served, from the root.
fn metrics(said: Option<MetricsAddr>) -> Result<Option<MetricsAddr>, Error> {
    Ok(match said {
        Some(MetricsAddr::Unix(path)) => Some(MetricsAddr::Unix(absolute(path)?)),
        other => other,
    })
}

/// The value of an option that [`OptionTable::DEFAULTS`] has a value for.
fn sure<T>(value: Option<T>) -> T {
    value.expect("the layer of defaults has it")
}

/// `path` from the root: a daemon works in another directory than its caller.
fn absolute(path: PathBuf) -> Result<PathBuf, Error> {
    directory::absolute(&path).map_err(|source| Error::Path { path, source })
}

fn source_summary(source: &SourceSpec) -> serde_json::Value {
    serde_json::json!({
        "name": source.name,
        "url": source.url,
        "endpoint": source.connection.endpoint,
        "region": source.connection.region,
        "path-style": source.connection.path_style,
        "anonymous": source.connection.anonymous,
    })
}

fn dataset(said: &MountOptions) -> Result<DatasetConfig, Error> {
    if said.server.is_some() {
        return Ok(DatasetConfig {
            sources: Vec::new(),
            include: Vec::new(),
            exclude: Vec::new(),
            version: said.version.clone(),
        });
    }
    let for_all = PartialConnection {
        endpoint: said.endpoint.clone(),
        region: said.region.clone(),
        path_style: said.path_style,
        anonymous: said.anonymous,
    };
    let sources = said.source.as_deref().unwrap_or_default();
    let globs = |said: &Option<Vec<String>>| said.clone().unwrap_or_default();
    let (include, exclude) = (globs(&said.include), globs(&said.exclude));
    Ok(DatasetConfig {
        version: said.version.clone(),
        ..checked(sources, &for_all, include, exclude)?
    })
}

/// A dataset of `entries`, which make one tree.
fn checked(
    entries: &[SourceEntry],
    for_all: &PartialConnection,
    include: Vec<String>,
    exclude: Vec<String>,
) -> Result<DatasetConfig, Error> {
    if entries.is_empty() {
        return Err(Error::NoSource);
    }
    let sources = entries
        .iter()
        .map(|entry| SourceSpec::parse(&entry.text, connection(entry, for_all)))
        .collect::<Result<Vec<_>, _>>()?;
    SourceSpec::check_tree(&sources)?;
    let dataset = DatasetConfig {
        sources,
        include,
        exclude,
        version: None,
    };
    dataset.filter()?;
    Ok(dataset)
}

/// What is said of one source, and what is said of all where it says nothing.
fn connection(entry: &SourceEntry, for_all: &PartialConnection) -> Connection {
    let own = entry.connection.clone();
    Connection {
        endpoint: own.endpoint.or_else(|| for_all.endpoint.clone()),
        region: own.region.or_else(|| for_all.region.clone()),
        path_style: own.path_style.or(for_all.path_style).unwrap_or_default(),
        anonymous: own.anonymous.or(for_all.anonymous).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
