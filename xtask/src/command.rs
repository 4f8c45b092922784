//! Running other programs, and saying which one failed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the repository")
        .to_owned()
}

/// The path of a program that was built under `profile`, `debug` or `release`.
pub(crate) fn built(profile: &str, program: &str) -> String {
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| root().join("target"), PathBuf::from);
    target
        .join(profile)
        .join(program)
        .to_string_lossy()
        .into_owned()
}

/// A command in the repository's root.
///
/// Without the variables that `cargo run` has set for xtask itself: build scripts (ring's
/// is one) look at them, and everything behind them would be built anew whenever a build
/// is begun from here.
fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(root());
    for (name, _) in std::env::vars_os() {
        let of_package = name.to_string_lossy();
        if of_package.starts_with("CARGO_PKG_") || of_package.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs `program` in the repository's root, its output going where ours goes.
pub(crate) fn run(program: &str, args: &[&str]) -> Result<()> {
    run_with(program, args, &[])
}

/// [`run`] with additional environment variables.
pub(crate) fn run_with(program: &str, args: &[&str], env: &[(&str, &str)]) -> Result<()> {
    eprintln!("$ {program} {}", args.join(" "));
    let status = command(program, args)
        .envs(env.iter().copied())
        .status()
        .with_context(|| format!("start {program}"))?;
    if !status.success() {
        bail!("`{program} {}` ended with {status}", args.join(" "));
    }
    Ok(())
}

/// Builds everything, tests included, as the tests want it.
///
/// One set of packages for every build: with fewer, libraries get fewer features, and
/// are built a second time.
pub(crate) fn build_all() -> Result<()> {
    run(
        "cargo",
        &["build", "--workspace", "--all-targets", "--locked"],
    )
}

/// Runs `program` and returns what it printed.
pub(crate) fn output(program: &str, args: &[&str]) -> Result<String> {
    let done = command(program, args)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("start {program}"))?;
    if !done.status.success() {
        bail!("`{program} {}` ended with {}", args.join(" "), done.status);
    }
    String::from_utf8(done.stdout).with_context(|| format!("{program} printed no UTF-8"))
}

/// Runs `program` without a word; what it said is in the error if it fails, and what it
/// printed is returned if it does not.
pub(crate) fn quiet(program: &str, args: &[&str]) -> Result<String> {
    let done = command(program, args)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start {program}"))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        bail!(
            "`{program} {}` ended with {}: {}",
            args.join(" "),
            done.status,
            said.trim()
        );
    }
    String::from_utf8(done.stdout).with_context(|| format!("{program} printed no UTF-8"))
}

/// A path for a command line.
pub(crate) fn utf8(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))
}
