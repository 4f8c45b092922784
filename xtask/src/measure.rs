//! Measurements, of release builds: what an area must show, Forebay beside its peers.

use anyhow::Result;

use crate::cluster::Layout;
use crate::{cluster_tests, command, peers, servers};

/// Runs the list `name`, with the further arguments of the program that has the lists.
pub(crate) fn show(name: &str, args: &[String]) -> Result<()> {
    servers::install()?;
    if name == "csi" {
        let environment = if needs_cluster(args) {
            cluster_tests::environment(&cluster_tests::prepare(2)?)?
        } else {
            cluster_tests::environment(&Layout::of_environment()?)?
        };
        return run_with("show", &[&[name.to_owned()], args].concat(), &environment);
    }
    if name == "local-speed" && !args.iter().any(|arg| arg == "--without-peers") {
        peers::install();
    }
    if name == "survive" {
        // What it upgrades to, and from.
        command::run("cargo", &["build", "--locked", "-p", "forebay"])?;
    }
    if name == "distributed" {
        servers::install_iperf3()?;
    }
    run("show", &[&[name.to_owned()], args].concat())
}

/// Whether the items of the list csi that `args` choose need a cluster.
fn needs_cluster(args: &[String]) -> bool {
    const WITHOUT: [&str; 2] = ["csi-sanity", "interleavings"];
    let mut only = args
        .windows(2)
        .filter(|pair| pair[0] == "--only")
        .map(|pair| &*pair[1])
        .peekable();
    let without = |part: &str| WITHOUT.iter().any(|item| item.contains(part));
    only.peek().is_none() || !only.all(without)
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

/// Lets everything fail below the readers of two mounts.
pub(crate) fn chaos(args: &[String]) -> Result<()> {
    servers::install_fuse()?;
    run("chaos", args)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_needed_unless_only_items_without_one_are_chosen() {
        let needs = |words: &[&str]| {
            let args: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
            needs_cluster(&args)
        };
        assert!(needs(&[]));
        assert!(needs(&["--only", "many pods"]));
        assert!(needs(&["--only", "csi-sanity", "--only", "first byte"]));
        assert!(!needs(&["--only", "csi-sanity", "--only", "interleavings"]));
    }
}
