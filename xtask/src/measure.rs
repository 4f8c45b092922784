//! Measurements, of release builds: what an area must show, Forebay beside its peers.

use anyhow::Result;

use crate::{cluster_tests, command, csi_sanity, peers, servers};

/// Runs the list `name`, with the further arguments of the program that has the lists.
pub(crate) fn show(name: &str, args: &[String]) -> Result<()> {
    servers::install()?;
    if name == "csi" {
        csi_sanity::run()?;
        let cluster = cluster_tests::prepare(2)?;
        let environment = cluster_tests::environment(&cluster)?;
        return run_with("show", &[&[name.to_owned()], args].concat(), &environment);
    }
    if name == "local-speed" && !args.iter().any(|arg| arg == "--without-peers") {
        peers::install();
    }
    run("show", &[&[name.to_owned()], args].concat())
}

/// Measures Forebay beside other programs.
pub(crate) fn bench_peers(args: &[String]) -> Result<()> {
    servers::install()?;
    peers::install();
    run("peers", args)
}

/// Prints the hit ratios of the eviction policies.
pub(crate) fn bench_hit_ratios(args: &[String]) -> Result<()> {
    run("hit-ratios", args)
}

/// Builds what is measured and runs `program` of the measurements.
fn run(program: &str, args: &[String]) -> Result<()> {
    run_with(program, args, &[])
}

/// [`run`] with additional environment variables.
fn run_with(program: &str, args: &[String], env: &[(&str, String)]) -> Result<()> {
    command::run(
        "cargo",
        &[
            "build",
            "--release",
            "--locked",
            "-p",
            "forebay",
            "-p",
            "forebay-benches",
        ],
    )?;
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let env: Vec<_> = env
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    command::run_with(&command::built("release", program), &args, &env)
}
