//! The configuration of a cache server.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use forebay_cache_server::store::Terms;
use forebay_proto::local::MAX_NAME;

use super::{
    CacheConfig, ClusterConfig, DatasetConfig, Error, Quota, absolute, checked, file, metrics, sure,
};
use crate::args::CacheServerArgs;
use crate::options::{DatasetEntry, MetricsAddr, OptionTable, PartialConnection, ServerOptions};
use crate::telemetry::LogConfig;

/// The configuration of a cache server.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The socket for clients; `None` is one in the run directory.
    pub socket: Option<PathBuf>,
    /// The group whose members may connect.
    pub group: Option<u32>,
    /// How long leases outlast a client.
    pub lease_grace: Duration,
    /// Where it caches.
    pub cache: CacheConfig,
    /// How long a read waits for the origin.
    pub origin_timeout: Duration,
    /// The other servers; `None` if it is alone.
    pub cluster: Option<ClusterConfig>,
    /// What clients may ask for, by name.
    pub datasets: BTreeMap<String, DatasetConfig>,
    /// On what terms the cache keeps them.
    pub terms: Vec<Terms>,
    /// Where metrics are served; `None` is a socket beside the one for clients.
    pub metrics: Option<MetricsAddr>,
    /// What is logged, and where.
    pub log: LogConfig,
}

impl ServerConfig {
    /// Puts command line, environment, config file and defaults together.
    ///
    /// # Errors
    /// [`Error`], for the first thing that is wrong. Nothing is contacted, and no file
    /// but the config file is looked at.
    pub fn resolve(args: &CacheServerArgs) -> Result<Self, Error> {
        let file = match &args.config {
            Some(path) => file::read::<ServerOptions>(path)?,
            None => ServerOptions::default(),
        };
        // The same order as for a mount: flag, environment, file, default.
        let said = args.options.clone().or(file);
        let explicit_memory = said.memory_size.is_some();
        let said = said.or(ServerOptions::defaults());
        let cluster = ClusterConfig::of(&said)?;
        let entries = said.dataset.unwrap_or_default();
        let terms = entries.iter().map(terms).collect();
        Ok(Self {
            socket: said.socket.map(absolute).transpose()?,
            group: said.group.as_deref().map(group_number).transpose()?,
            lease_grace: sure(said.lease_grace),
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
            origin_timeout: sure(said.origin_timeout),
            cluster,
            datasets: datasets(entries)?,
            terms,
            metrics: metrics(said.metrics)?,
            log: LogConfig {
                format: sure(said.log_format),
                filter: said.log_level,
                file: said.log_file.map(absolute).transpose()?,
            },
        })
    }

    /// The configuration as it is logged at the start, without secrets.
    pub fn summary(&self) -> serde_json::Value {
        let datasets = self.datasets.iter().map(|(name, dataset)| {
            let sources = dataset.sources.iter().map(super::source_summary);
            let terms = self.terms.iter().find(|terms| terms.name == *name);
            let about = serde_json::json!({
                "source": sources.collect::<Vec<_>>(),
                "include": dataset.include,
                "exclude": dataset.exclude,
                "quota": terms.and_then(|terms| terms.quota),
                "pin": terms.map(|terms| terms.pin),
                "priority": terms.map(|terms| terms.priority),
            });
            (name.clone(), about)
        });
        serde_json::json!({
            "socket": self.socket,
            "group": self.group,
            "lease-grace": humantime::format_duration(self.lease_grace).to_string(),
            "origin-timeout": humantime::format_duration(self.origin_timeout).to_string(),
            "cache-dir": self.cache.dir,
            "cache-size": self.cache.size,
            "memory-size": self.cache.memory.size,
            "policy": self.cache.policy,
            "prefetch-budget": self.cache.prefetch_budget,
            "scrub-rate": self.cache.scrub_rate,
            "cluster": self.cluster.as_ref().map(ClusterConfig::summary),
            "dataset": datasets.collect::<serde_json::Map<_, _>>(),
            "metrics": self.metrics,
            "log-file": self.log.file,
            "log-format": self.log.format,
            "log-level": self.log.filter(),
        })
    }
}

fn terms(entry: &DatasetEntry) -> Terms {
    Terms {
        name: entry.name.clone(),
        quota: entry.quota.map(|size| size.0),
        pin: entry.pin,
        priority: entry.priority,
    }
}

fn datasets(entries: Vec<DatasetEntry>) -> Result<BTreeMap<String, DatasetConfig>, Error> {
    if entries.is_empty() {
        return Err(Error::NoDatasets);
    }
    let mut datasets = BTreeMap::new();
    for entry in entries {
        let name = entry.name;
        if name.len() > MAX_NAME {
            let most = MAX_NAME;
            return Err(Error::LongName { name, most });
        }
        let nothing = PartialConnection::default();
        let dataset = checked(&entry.sources, &nothing, entry.include, entry.exclude)?;
        if datasets.insert(name.clone(), dataset).is_some() {
            return Err(Error::DatasetTwice { name });
        }
    }
    Ok(datasets)
}

/// The number of a group that is given by name or number.
fn group_number(group: &str) -> Result<u32, Error> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    // Not by the C library: it would load modules that ask a network.
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let line = groups
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&group));
    let number = line.and_then(|fields| fields.get(2)?.parse().ok());
    number.ok_or_else(|| Error::NoGroup {
        group: group.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str) -> Result<ServerConfig, String> {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("f.toml");
        std::fs::write(&config, text).unwrap();
        let args = CacheServerArgs {
            options: ServerOptions::default(),
            config: Some(config),
        };
        ServerConfig::resolve(&args).map_err(|error| error.to_string())
    }

    const DATASET: &str = "[[dataset]]\nname = \"a\"\nurl = \"file:///data\"\n";

    #[test]
    fn defaults_hold_where_nothing_is_said() {
        let config = resolve(DATASET).unwrap();
        assert_eq!(config.lease_grace, Duration::from_secs(10));
        assert_eq!((config.socket, config.group), (None, None));
        assert_eq!(config.datasets["a"].sources[0].url, "file:///data");
    }

    #[test]
    fn a_dataset_has_the_terms_that_are_said_and_otherwise_none() {
        let said = format!("{DATASET}quota = \"10GiB\"\npin = true\npriority = -3\n");
        let terms = Terms {
            name: "a".into(),
            quota: Some(10 << 30),
            pin: true,
            priority: -3,
        };
        assert_eq!(resolve(&said).unwrap().terms, [terms]);
        assert_eq!(resolve(DATASET).unwrap().terms, [Terms::new("a")]);
        for (wrong, told) in [
            ("quota = \"lots\"", "expected a size"),
            ("pin = 1", "expected true or false"),
            ("priority = 200", "-100 to 100"),
            ("priority = \"high\"", "-100 to 100"),
        ] {
            let error = resolve(&format!("{DATASET}{wrong}\n")).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn a_server_without_datasets_or_with_one_twice_is_refused() {
        assert!(resolve("").unwrap_err().contains("no dataset"));
        let twice = resolve(&DATASET.repeat(2)).unwrap_err();
        assert!(twice.contains("\"a\""), "{twice}");
        let long = DATASET.replace("\"a\"", &format!("\"{}\"", "x".repeat(256)));
        assert!(resolve(&long).unwrap_err().contains("255"));
    }

    #[test]
    fn groups_are_found_by_name_and_number() {
        assert_eq!(group_number("77").unwrap(), 77);
        assert_eq!(group_number("root").unwrap(), 0);
        let error = group_number("no-such-group").unwrap_err().to_string();
        assert!(error.contains("no-such-group"), "{error}");
    }
}
