//! The project's front door: set-up, checks, tests, demo, measurements.

mod boundaries;
mod check;
mod cluster;
mod cluster_tests;
mod command;
mod csi_sanity;
mod debian;
mod fuzz;
mod measure;
mod peers;
mod servers;
mod suite;
mod wheel;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Builds, checks, tests and measures the project.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Builds a release and runs `forebay demo`: a dataset over S3 on loopback, mounted,
    /// read cold and warm.
    Demo,
    /// Sets up what the tests need, runs the quality gates and every test.
    Test,
    /// Runs the quality gates: format, lints, crate edges, documentation, licences.
    Check,
    /// Writes the pages that are printed from code: docs/METRICS.md, docs/CONFIGURATION.md.
    Generate,
    /// Measures what an area must show, one line an item; exit 1 if one is short.
    ///
    /// `--only ITEM` runs the items whose names contain ITEM; `--help` lists the rest.
    Show {
        /// The list: read-path, local-speed, survive, csi or distributed.
        name: String,
        /// Arguments of the list.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Lets everything below readers fail, as it follows from a seed; exit 1 if one of them
    /// sees more than a pause.
    ///
    /// `--seed N`, `--minutes M`; `--plan` prints what would happen.
    Chaos {
        /// Arguments of the run.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Fuzzes everything that reads bytes which it did not write: files of the cache, frames,
    /// plans; exit 1 after a crash.
    ///
    /// `--minutes N` for each target, `--target T` for one; `--help` lists the rest.
    Fuzz {
        /// Arguments of the fuzzer.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// A real Kubernetes of several nodes on this machine, for the tests.
    #[command(subcommand)]
    Cluster(cluster::Cluster),
    /// Measures Forebay beside other programs, or its policies on traces.
    #[command(subcommand)]
    Bench(Bench),
    /// The conformance tests of the Container Storage Interface against the CSI driver.
    CsiSanity,
    /// The tests on a real Kubernetes: starts a cluster if none is up, and leaves it up.
    TestCluster {
        /// Only the tests whose names contain this.
        filter: Option<String>,
    },
    /// The servers that the tests run against.
    #[command(subcommand)]
    Servers(Servers),
}

#[derive(Subcommand)]
enum Bench {
    /// Forebay, rclone, s3fs, weed mount, JuiceFS, local files and raw GETs over the same
    /// data; installs what is missing. `--write` fills README.md and benches/.
    Peers {
        /// Arguments of the measurement; `--help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Hit ratios of the eviction policies.
    HitRatios {
        /// `--write` fills the table of benches/README.md.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

#[derive(Subcommand)]
enum Servers {
    /// Installs SeaweedFS below .servers, and Ceph, FUSE and the network's tools from
    /// Debian; needs root for the latter.
    Install,
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Demo => suite::demo(),
        Task::Test => suite::test(),
        Task::Check => check::check(),
        Task::Generate => check::generate(),
        Task::Show { name, args } => measure::show(&name, &args),
        Task::Chaos { args } => measure::chaos(&args),
        Task::Fuzz { args } => fuzz::run(&args),
        Task::Bench(Bench::Peers { args }) => measure::bench_peers(&args),
        Task::Bench(Bench::HitRatios { args }) => measure::bench_hit_ratios(&args),
        Task::Cluster(task) => cluster::run(&task),
        Task::CsiSanity => csi_sanity::run(),
        Task::TestCluster { filter } => cluster_tests::test(filter.as_deref()),
        Task::Servers(Servers::Install) => servers::install(),
    }
}
