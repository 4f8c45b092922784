//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::StyledStr;
use clap::{Arg, Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;

use crate::exit::Exit;
use crate::options::{MountOptions, OptionTable, ServerAddr, ServerOptions, VersionPrefix};
use crate::size::Size;

mod csi_driver;
mod examples;

pub use csi_driver::{CsiDriverArgs, MountHostArgs};

/// Forebay keeps a training dataset beside the machine that reads it.
///
/// It shows a bucket as a read-only directory and caches what is read in memory and on
/// the local disk.
#[derive(Debug, Parser)]
#[command(
    name = "forebay",
    version,
    max_term_width = 100,
    subcommand_required = true
)]
#[command(arg_required_else_help = true, after_help = examples::FOREBAY)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show a bucket as a directory.
    Mount(Box<MountArgs>),
    /// Serve one cache to all mounts of this machine.
    CacheServer(Box<CacheServerArgs>),
    /// Unmount, keeping the cache.
    #[command(visible_alias = "unmount", after_help = examples::UMOUNT)]
    Umount(UmountArgs),
    /// Show what is mounted and how much of it is cached.
    #[command(after_help = examples::STATUS)]
    Status(StatusArgs),
    /// Bring files into the cache before they are read.
    #[command(after_help = examples::WARMUP)]
    Warmup(WarmupArgs),
    /// Ask a cache server about its cluster.
    Cluster(ClusterArgs),
    /// Say in which order files will be read, so that they are fetched ahead of it.
    #[command(after_help = examples::PLAN)]
    Plan(PlanArgs),
    /// List the stored dataset versions of a mount.
    #[command(after_help = examples::VERSIONS)]
    Versions(OneMountJson),
    /// List the sources again; files opened from now on are of the new version.
    #[command(after_help = examples::REFRESH)]
    Refresh(OneMountJson),
    /// Put another program in the place of the one that serves a mount; readers see a pause.
    #[command(after_help = examples::UPGRADE)]
    Upgrade(UpgradeArgs),
    /// Hold the FUSE descriptors of mounts, so that they outlive the processes that serve
    /// them.
    #[command(after_help = examples::KEEPER)]
    Keeper(KeeperArgs),
    /// Try Forebay: a small dataset, served over S3 on this machine, mounted and read.
    #[command(after_help = examples::DEMO)]
    Demo(DemoArgs),
    /// Serve a node of Kubernetes: mount datasets for its pods.
    CsiDriver(Box<CsiDriverArgs>),
    /// Be the parent of a node's mounts, so that they outlive the pod of the CSI driver.
    MountHost(MountHostArgs),
    /// Print an example config file, or the reference of all options.
    Config(ConfigArgs),
    /// Print the completions of a shell.
    #[command(after_help = examples::COMPLETIONS)]
    Completions(CompletionsArgs),
    /// Print the man page.
    #[command(after_help = examples::MAN)]
    Man(ManArgs),
}

/// `forebay mount`.
#[derive(Args, Clone, Debug)]
#[command(override_usage = "forebay mount [OPTIONS] [SOURCE] DIR", after_help = examples::MOUNT)]
pub struct MountArgs {
    /// What to mount, as a URL; left out where --source or the config file names it.
    ///
    /// s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, https://host/path
    /// or file:///directory. Credentials come from the environment and from profile
    /// files, never from the command line. With --server, the name of one of the server's
    /// datasets.
    #[arg(value_name = "SOURCE", required = true, value_hint = ValueHint::DirPath)]
    pub source_or_dir: PathBuf,
    /// The directory to mount it on; it must exist.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
    /// The options.
    #[command(flatten)]
    pub options: MountOptions,
    /// Read options from this TOML file; a flag or an environment variable goes before.
    #[arg(long, env = "FOREBAY_CONFIG", value_name = "FILE", value_hint = ValueHint::FilePath)]
    #[arg(help_heading = "Process")]
    pub config: Option<PathBuf>,
}

impl MountArgs {
    /// The source, if one is named by position, and the mount point, which comes last.
    pub fn source_and_dir(&self) -> (Option<&PathBuf>, &PathBuf) {
        match &self.dir {
            Some(dir) => (Some(&self.source_or_dir), dir),
            None => (None, &self.source_or_dir),
        }
    }
}

/// `forebay cache-server`.
#[derive(Args, Clone, Debug)]
#[command(after_help = examples::CACHE_SERVER)]
pub struct CacheServerArgs {
    /// The options.
    #[command(flatten)]
    pub options: ServerOptions,
    /// Read options and datasets from this TOML file; a flag or an environment variable
    /// goes before.
    #[arg(long, env = "FOREBAY_CONFIG", value_name = "FILE", value_hint = ValueHint::FilePath)]
    #[arg(help_heading = "Process")]
    pub config: Option<PathBuf>,
}

/// `forebay umount`.
#[derive(Args, Debug)]
pub struct UmountArgs {
    /// The mount point.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
    /// Kill the processes of the mount if they do not answer, and lose what they have in
    /// memory; otherwise the mount is detached and they are left alone.
    #[arg(long, env = "FOREBAY_KILL")]
    pub kill: bool,
}

/// A mount, and how to print what is found.
#[derive(Args, Debug)]
pub struct OneMountJson {
    /// The mount point.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `forebay status`.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// The mount point; without it, every mount of this machine that you may see.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
    /// Print JSON: one object with DIR, an array without.
    #[arg(long)]
    pub json: bool,
}

/// `forebay warmup`.
#[derive(Args, Debug)]
pub struct WarmupArgs {
    /// The mount point; with --server, the name of one of the server's datasets.
    #[arg(value_name = "DIR|DATASET", value_hint = ValueHint::DirPath)]
    #[arg(required_unless_present = "cancel")]
    pub dir: Option<PathBuf>,
    /// Files, directories or globs below DIR; without one, everything.
    #[arg(value_name = "PATH|GLOB")]
    pub patterns: Vec<String>,
    /// Print JSON: a line for each progress report, then a summary.
    #[arg(long)]
    pub json: bool,
    /// Have a cache server and the others of its cluster bring the files, each what it keeps.
    ///
    /// unix:PATH, the socket of the server on this machine.
    #[arg(long, value_name = "ADDR", help_heading = "With a cache server")]
    pub server: Option<ServerAddr>,
    /// What to call the warm-up; one of this name that runs is followed.
    #[arg(long, value_name = "NAME", requires = "server")]
    #[arg(help_heading = "With a cache server")]
    pub name: Option<String>,
    /// The stored dataset version, or the first digits of it; without it the sources are
    /// listed now.
    #[arg(long, value_name = "VERSION", requires = "server")]
    #[arg(help_heading = "With a cache server")]
    pub version: Option<VersionPrefix>,
    /// How many servers shall have each byte; without it, as many as the cluster keeps.
    #[arg(long, value_name = "COUNT", requires = "server")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=8))]
    #[arg(help_heading = "With a cache server")]
    pub replicas: Option<u32>,
    /// The most bytes a second that all servers fetch together.
    #[arg(long, value_name = "SIZE", requires = "server")]
    #[arg(help_heading = "With a cache server")]
    pub rate: Option<Size>,
    /// Return at once, with its name; the servers go on.
    #[arg(long, requires = "server", help_heading = "With a cache server")]
    pub detach: bool,
    /// End the warm-up of this name; what was fetched stays.
    #[arg(long, value_name = "NAME", requires = "server")]
    #[arg(conflicts_with_all = ["dir", "name", "version", "replicas", "rate", "detach"])]
    #[arg(help_heading = "With a cache server")]
    pub cancel: Option<String>,
}

/// `forebay cluster`.
#[derive(Args, Debug)]
pub struct ClusterArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ClusterCommand,
}

/// The commands of `forebay cluster`.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Show the servers of the cluster, and what they have of each dataset.
    #[command(after_help = examples::CLUSTER_STATUS)]
    Status(ClusterStatusArgs),
}

/// `forebay cluster status`.
#[derive(Args, Debug)]
pub struct ClusterStatusArgs {
    /// The server to ask: unix:PATH, its socket on this machine; by default cache.sock in
    /// the run directory.
    #[arg(long, value_name = "ADDR")]
    pub server: Option<ServerAddr>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `forebay plan`.
#[derive(Args, Debug)]
pub struct PlanArgs {
    /// The mount point.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
    /// The plan: a file, or - for the standard input.
    ///
    /// Either paths, one a line, in the order in which they will be read; or a JSON object:
    /// {"seed": 0, "epoch": 3, "rank": 0, "world": 8} for the shuffle of PyTorch's
    /// DistributedSampler over the sorted files, {"indices": […]} or {"paths": […]}.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    #[arg(required_unless_present = "drop")]
    pub from: Option<PathBuf>,
    /// Follow no plan any more.
    #[arg(long, conflicts_with = "from")]
    pub drop: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `forebay upgrade`.
#[derive(Args, Debug)]
pub struct UpgradeArgs {
    /// The mount point.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
    /// The program to serve it with; without it, the one that runs this command.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::ExecutablePath)]
    pub binary: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `forebay keeper`.
#[derive(Args, Debug)]
pub struct KeeperArgs {
    /// The socket to listen at; only this user and root are answered.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub socket: PathBuf,
    /// Hold one mount and end with it, or when nobody was connected for so long.
    ///
    /// Without it, the keeper holds the mounts of a node and does not end.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub one_mount: Option<Duration>,
}

/// `forebay demo`.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `forebay config`.
#[derive(Args, Debug)]
pub struct ConfigArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// The commands of `forebay config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print an example or the reference.
    #[command(after_help = examples::CONFIG_PRINT)]
    Print(ConfigPrintArgs),
}

/// `forebay config print`.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct ConfigPrintArgs {
    /// A commented config file for that command.
    #[arg(long, value_name = "COMMAND")]
    pub example: Option<Component>,
    /// The reference of all options, in Markdown.
    #[arg(long)]
    pub reference: bool,
}

/// What has a config file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Component {
    /// `forebay mount`.
    Mount,
    /// `forebay cache-server`.
    CacheServer,
}

/// `forebay completions`.
#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// `forebay man`.
#[derive(Args, Debug)]
pub struct ManArgs {
    /// Write a page for every command into this directory.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
}

/// The command line with what is added to the derived one: defaults in the help of the
/// options, and the table of exit codes.
pub fn command() -> clap::Command {
    let root = <Cli as clap::CommandFactory>::command();
    let codes = Exit::ALL
        .map(|exit| format!("  {}  {}", exit.code(), exit.meaning()))
        .join("\n");
    root.after_long_help(format!("{}\n\nExit codes:\n{codes}", examples::FOREBAY))
        .mut_subcommand(MountOptions::COMMAND, |mount| {
            mount.mut_args(describe::<MountOptions>)
        })
        .mut_subcommand(ServerOptions::COMMAND, |server| {
            server.mut_args(describe::<ServerOptions>)
        })
}

/// Says an option's default, and not its variable: those follow one rule, which the
/// help of `mount` states. Nor the values of a switch, which everybody knows.
fn describe<T: OptionTable>(arg: Arg) -> Arg {
    let is_switch = arg
        .get_num_args()
        .is_some_and(|count| count.min_values() == 0);
    let arg = arg.hide_env(true);
    if is_switch {
        return arg.hide_possible_values(true);
    }
    let named = |(key, _): &&(&str, &str)| arg.get_long() == Some(key);
    let Some((_, default)) = T::DEFAULTS.iter().find(named) else {
        return arg;
    };
    let say = |text: &StyledStr| format!("{text} [default: {default}]");
    let arg = match arg.get_long_help().map(say) {
        Some(text) => arg.long_help(text),
        None => arg,
    };
    let short = arg.get_help().map(say).unwrap_or_default();
    arg.help(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(line: &str) -> MountArgs {
        let words = ["forebay", "mount"]
            .into_iter()
            .chain(line.split_whitespace());
        let matches = command()
            .try_get_matches_from(words)
            .expect("a good command line");
        match <Cli as clap::FromArgMatches>::from_arg_matches(&matches)
            .expect("matches")
            .command
        {
            Command::Mount(args) => *args,
            other => panic!("parsed as {other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn one_position_is_the_mount_point_and_two_are_source_and_mount_point() {
        let one = mount("/mnt --source a=s3://b");
        assert_eq!(one.source_and_dir(), (None, &PathBuf::from("/mnt")));
        let two = mount("s3://b/p /mnt");
        let source = PathBuf::from("s3://b/p");
        assert_eq!(
            two.source_and_dir(),
            (Some(&source), &PathBuf::from("/mnt"))
        );
    }

    #[test]
    fn version_means_the_datasets_behind_mount_and_the_programs_before() {
        assert!(mount("/mnt --version abcd").options.version.is_some());
        let error = command()
            .try_get_matches_from(["forebay", "--version"])
            .expect_err("prints");
        assert_eq!(error.kind(), clap::error::ErrorKind::DisplayVersion);
    }

    #[test]
    fn a_switch_can_be_given_a_value_and_takes_no_position() {
        let args = mount("--path-style --anonymous=false s3://b /mnt");
        assert_eq!(args.options.path_style, Some(true));
        assert_eq!(args.options.anonymous, Some(false));
        assert!(args.dir.is_some());
    }

    #[test]
    fn the_help_of_mount_says_the_defaults() {
        let mut command = command();
        let mount = command.find_subcommand_mut("mount").expect("mount exists");
        let help = mount.render_long_help().to_string();
        assert!(help.contains("[default: 60s]"), "{help}");
        assert!(
            help.contains("forebay mount [OPTIONS] [SOURCE] DIR"),
            "{help}"
        );
    }
}
