//! Mounts that are processes of this very program: `forebay mount`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::runner::{Done, Order, Runner};
use super::{Mounter, MounterError, State};
use crate::secrets::Secrets;
use crate::spec::{MountKey, MountSpec, Supply};
use crate::volume_context::{ReadMode, Source};

/// How long a mount may take to become ready: a bucket of a hundred million objects is
/// listed in a quarter of an hour.
const START_SECONDS: u64 = 3600;
/// How long a question may take.
const ANSWER_SECONDS: u64 = 20;
/// How long the end of a mount may take: what is in memory is written to the disk.
const STOP_SECONDS: u64 = 60;

/// Variables of the driver's own that every mount gets.
const PASSED_ON: [&str; 8] = [
    "PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "FOREBAY_LOG_LEVEL",
    "FOREBAY_LOG_FORMAT",
];

/// Beginnings of the variables that carry the node's credentials.
const CREDENTIALS: [&str; 3] = ["AWS_", "GOOGLE_", "AZURE_"];

/// How far the kernel reads ahead of who reads in order: enough for the next of a store's
/// large requests to be under way.
const AHEAD_IN_ORDER: &str = "8MiB";
/// And of who reads here and there, where more would be read for nobody.
const AHEAD_AT_RANDOM: &str = "64KiB";

// Contracts of `forebay`: how it exits.
const EXIT_USAGE: i32 = 2;
const EXIT_SOURCE: i32 = 3;
const EXIT_NOT_MOUNTED: i32 = 6;

/// The program and where its mounts keep what is theirs.
#[derive(Clone, Debug)]
pub struct Program {
    /// Who runs it.
    pub runner: Runner,
    /// The run directory of the mounts (`FOREBAY_RUN_DIR`).
    pub run_dir: PathBuf,
    /// Where each mount has a cache directory of its own.
    pub cache_dir: PathBuf,
    /// Where each mount has a log file.
    pub log_dir: PathBuf,
    /// A config file with options for every mount.
    pub config: Option<PathBuf>,
}

/// Mounts by processes.
#[derive(Debug)]
pub struct ProcessMounter {
    program: Program,
}

type Environment = BTreeMap<String, String>;

impl ProcessMounter {
    /// A mounter that runs `program`.
    pub fn new(program: Program) -> Self {
        Self { program }
    }

    /// Runs a command of the program, in an environment of our choice.
    async fn run(
        &self,
        words: Vec<String>,
        more: Environment,
        limit_seconds: u64,
    ) -> Result<Done, MounterError> {
        let own = PASSED_ON
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
        let mut environment: Environment = own.collect();
        environment.insert("FOREBAY_RUN_DIR".into(), text(&self.program.run_dir)?);
        environment.extend(more);
        let order = Order {
            words,
            environment,
            limit_seconds,
        };
        self.program.runner.run(&order).await
    }

    async fn ask(
        &self,
        words: &[&str],
        dir: &Path,
        more: Environment,
        limit_seconds: u64,
    ) -> Result<Done, MounterError> {
        let mut words: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
        words.push(text(dir)?);
        self.run(words, more, limit_seconds).await
    }

    /// Says in the log directory what the mount logs; an old log makes room first.
    fn log_file(&self, key: &MountKey) -> PathBuf {
        const ENOUGH: u64 = 4 << 20;
        let file = self.program.log_dir.join(format!("{key}.log"));
        if std::fs::metadata(&file).is_ok_and(|found| found.len() > ENOUGH) {
            // Whether or not it can be moved: logs do not stand in the way of a mount.
            let _ = std::fs::rename(&file, file.with_extension("log.old"));
        }
        file
    }

    fn words(
        &self,
        key: &MountKey,
        spec: &MountSpec,
        dir: &Path,
    ) -> Result<Vec<String>, MounterError> {
        let mut words = ["mount", "--daemon", "--allow-other"]
            .map(str::to_owned)
            .to_vec();
        let mut option = |name: &str, value: &str| words.push(format!("--{name}={value}"));
        option("log-file", &text(&self.log_file(key))?);
        for (name, value) in tree_options(spec) {
            option(name, &value);
        }
        let named = match &spec.supply {
            Supply::Source(source) => {
                let cache = self.program.cache_dir.join(key.as_str());
                option("cache-dir", &text(&cache)?);
                if let Some(config) = &self.program.config {
                    option("config", &text(config)?);
                }
                for (name, value) in source_options(source) {
                    option(name, &value);
                }
                source.url.clone()
            }
            Supply::Server { socket } => {
                option("server", &format!("unix:{}", text(socket)?));
                spec.dataset.path()
            }
        };
        words.extend([named, text(dir)?]);
        Ok(words)
    }
}

/// A path as a word of a command line.
fn text(path: &Path) -> Result<String, MounterError> {
    let text = path.to_str().ok_or_else(|| MounterError::Node {
        said: format!("{} is not UTF-8", path.display()),
    });
    text.map(str::to_owned)
}

/// The options of `forebay mount` for the tree that is shown.
fn tree_options(spec: &MountSpec) -> impl Iterator<Item = (&'static str, String)> {
    let tree = &spec.tree;
    let said = [
        ("version", spec.version.clone()),
        ("uid", tree.uid.map(|uid| uid.to_string())),
        ("gid", spec.gid.map(|gid| gid.to_string())),
        ("file-mode", tree.file_mode.clone()),
        ("dir-mode", tree.dir_mode.clone()),
        ("read-ahead", tree.read_mode.map(read_ahead)),
        ("open-mode", tree.open_mode.clone()),
        ("origin-timeout", tree.origin_timeout.clone()),
    ];
    said.into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
}

fn read_ahead(mode: ReadMode) -> String {
    match mode {
        ReadMode::Sequential => AHEAD_IN_ORDER.into(),
        ReadMode::Random => AHEAD_AT_RANDOM.into(),
    }
}

/// The options for where its objects are.
fn source_options(source: &Source) -> Vec<(&'static str, String)> {
    let said = [
        ("endpoint", source.endpoint.clone()),
        ("region", source.region.clone()),
        ("path-style", source.path_style.then(|| "true".into())),
    ];
    let mut options: Vec<_> = said
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    options.extend(source.include.iter().map(|glob| ("include", glob.clone())));
    options.extend(source.exclude.iter().map(|glob| ("exclude", glob.clone())));
    options
}

/// The credentials that a mount gets: its own, or the node's if it may, or none.
fn credentials(spec: &MountSpec, secrets: &Secrets) -> Option<Environment> {
    match &spec.supply {
        Supply::Source(source) if !source.anonymous => {}
        _ => return None,
    }
    if !secrets.is_empty() {
        let own = secrets.environment();
        return Some(
            own.map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        );
    }
    let node = std::env::vars_os().filter_map(|(name, value)| {
        let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
        let is_credential = CREDENTIALS
            .iter()
            .any(|beginning| name.starts_with(beginning));
        is_credential.then_some((name, value))
    });
    spec.node_credentials.then(|| node.collect())
}

/// What a mount without credentials is told; one of a server's has nothing to do with them.
fn nobody(supply: &Supply) -> Environment {
    let anonymous = ("FOREBAY_ANONYMOUS".into(), "true".into());
    let told = matches!(supply, Supply::Source(_)).then_some(anonymous);
    told.into_iter().collect()
}

#[async_trait]
impl Mounter for ProcessMounter {
    async fn start(
        &self,
        key: &MountKey,
        spec: &MountSpec,
        secrets: &Secrets,
        dir: &Path,
    ) -> Result<(), MounterError> {
        let words = self.words(key, spec, dir)?;
        let environment = credentials(spec, secrets).unwrap_or_else(|| nobody(&spec.supply));
        let done = self.run(words, environment, START_SECONDS).await?;
        match done.code {
            Some(0) => Ok(()),
            Some(EXIT_USAGE) => Err(MounterError::Wrong { said: said(&done) }),
            Some(EXIT_SOURCE) => Err(MounterError::Source { said: said(&done) }),
            _ => Err(MounterError::Node { said: said(&done) }),
        }
    }

    async fn state(&self, dir: &Path) -> Result<State, MounterError> {
        let asked = self.ask(
            &["status", "--json"],
            dir,
            Environment::new(),
            ANSWER_SECONDS,
        );
        let done = asked.await?;
        match done.code {
            Some(0) => Ok(State::Serving),
            Some(EXIT_NOT_MOUNTED) => Ok(State::Gone),
            _ => Err(MounterError::Node { said: said(&done) }),
        }
    }

    async fn stop(&self, dir: &Path) -> Result<(), MounterError> {
        // In the environment, where a mount host of before that does not know it lets it be.
        let kill = [("FOREBAY_KILL".into(), "true".into())].into();
        let done = self.ask(&["umount"], dir, kill, STOP_SECONDS).await?;
        match done.code {
            Some(0 | EXIT_NOT_MOUNTED) => Ok(()),
            _ => Err(MounterError::Node { said: said(&done) }),
        }
    }

    async fn served(&self) -> Result<Vec<PathBuf>, MounterError> {
        let words = ["status", "--json"].map(str::to_owned).to_vec();
        let done = self.run(words, Environment::new(), ANSWER_SECONDS).await?;
        if done.code != Some(0) {
            return Err(MounterError::Node { said: said(&done) });
        }
        let mounts: Vec<Mounted> =
            serde_json::from_str(&done.printed).map_err(|error| MounterError::Node {
                said: format!("`forebay status`: {error}"),
            })?;
        Ok(mounts
            .into_iter()
            .map(|mounted| mounted.mountpoint)
            .collect())
    }
}

/// What of `forebay status --json` is looked at.
#[derive(serde::Deserialize)]
struct Mounted {
    mountpoint: PathBuf,
}

/// The line in which the command has told its failure.
fn said(done: &Done) -> String {
    let line = done.said.lines().rfind(|line| !line.trim().is_empty());
    let line = line.map(|line| line.trim_start_matches("forebay: error: ").to_owned());
    line.unwrap_or_else(|| match done.code {
        Some(code) => format!("the process ended with exit code {code} and no word"),
        None => "a signal ended the process".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::spec;

    fn mounter() -> ProcessMounter {
        ProcessMounter::new(Program {
            runner: Runner::Program("/bin/false".into()),
            run_dir: "/r".into(),
            cache_dir: "/c".into(),
            log_dir: "/l".into(),
            config: None,
        })
    }

    #[test]
    fn credentials_are_no_part_of_the_command_line() {
        let spec = spec::example();
        let map = HashMap::from([("secretAccessKey".into(), "hunter2".into())]);
        let secrets = Secrets::parse(&map).unwrap();
        let key = MountKey::of(&spec, &secrets, b"");
        let words = mounter().words(&key, &spec, Path::new("/m")).unwrap();
        assert!(!format!("{words:?}").contains("hunter2"));
        assert_eq!(words.last(), Some(&"/m".to_owned()));
        assert_eq!(credentials(&spec, &secrets).unwrap().len(), 1);
    }

    #[test]
    fn without_a_secret_the_nodes_credentials_are_used_only_if_allowed() {
        let mut spec = spec::example();
        assert_eq!(credentials(&spec, &Secrets::default()), None);
        spec.node_credentials = true;
        assert!(credentials(&spec, &Secrets::default()).is_some());
        let Supply::Source(source) = &mut spec.supply else {
            panic!("the example has a source");
        };
        source.anonymous = true;
        assert_eq!(credentials(&spec, &Secrets::default()), None);
    }

    #[test]
    fn a_mount_of_the_nodes_server_names_the_dataset_and_nothing_that_is_the_servers() {
        let mut spec = spec::example();
        spec.node_credentials = true;
        spec.supply = Supply::Server {
            socket: "/run/cache.sock".into(),
        };
        let key = MountKey::of(&spec, &Secrets::default(), b"");
        let words = mounter().words(&key, &spec, Path::new("/m")).unwrap();
        let log = format!("--log-file=/l/{key}.log");
        let expected = [
            "mount",
            "--daemon",
            "--allow-other",
            &log,
            "--server=unix:/run/cache.sock",
            "team/images",
            "/m",
        ];
        assert_eq!(words, expected);
        assert_eq!(credentials(&spec, &Secrets::default()), None);
        assert_eq!(nobody(&spec.supply), Environment::new());
    }

    #[test]
    fn the_tree_is_as_the_volume_says() {
        let mut spec = spec::example();
        spec.version = Some("abcd".into());
        spec.gid = Some(2000);
        spec.tree.read_mode = Some(ReadMode::Random);
        spec.tree.open_mode = Some("no-open".into());
        let options: Vec<_> = tree_options(&spec).collect();
        let expected = [
            ("version", "abcd"),
            ("gid", "2000"),
            ("read-ahead", AHEAD_AT_RANDOM),
            ("open-mode", "no-open"),
        ];
        assert_eq!(options, expected.map(|(name, value)| (name, value.into())));
    }

    #[tokio::test]
    async fn a_process_that_ends_without_a_word_is_told_by_its_exit() {
        let error = mounter().state(Path::new("/m")).await.unwrap_err();
        assert!(error.to_string().contains("exit code 1"), "{error}");
    }
}
