//! The quality gates: format, lints, crate edges, documentation, licences.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::{boundaries, command};

/// Pages that are printed from code, with the arguments of `forebay` that print them.
const GENERATED: &[(&str, &[&str])] = &[
    ("docs/METRICS.md", &["config", "print", "--metrics"]),
    ("docs/CONFIGURATION.md", &["config", "print", "--reference"]),
];

/// Runs every gate; the first one that fails ends the run.
pub(crate) fn check() -> Result<()> {
    command::run("cargo", &["fmt", "--all", "--check"])?;
    boundaries::check()?;
    command::run(
        "cargo",
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ],
    )?;
    command::run_with(
        "cargo",
        &[
            "doc",
            "--workspace",
            "--no-deps",
            "--locked",
            "--document-private-items",
        ],
        &[("RUSTDOCFLAGS", "-D warnings")],
    )?;
    generated()?;
    licences()
}

/// Writes the generated pages.
pub(crate) fn generate() -> Result<()> {
    for (path, arguments) in GENERATED {
        let path = command::root().join(path);
        fs::write(&path, page(arguments)?).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// Fails if a generated page is not what the code prints.
fn generated() -> Result<()> {
    for (path, arguments) in GENERATED {
        let written = fs::read_to_string(command::root().join(path)).unwrap_or_default();
        if written != page(arguments)? {
            bail!("{path} differs from what the code prints; run `cargo xtask generate`");
        }
    }
    println!("generated pages: as printed");
    Ok(())
}

fn page(arguments: &[&str]) -> Result<String> {
    let forebay = ["run", "--quiet", "--locked", "--package", "forebay", "--"];
    command::output("cargo", &[&forebay, arguments].concat())
}

/// cargo-deny's checks that need no network: licences, bans and sources. Advisories need
/// a database from outside and are left to whoever has one.
fn licences() -> Result<()> {
    if command::output("cargo", &["deny", "--version"]).is_err() {
        command::run("cargo", &["install", "--locked", "cargo-deny@0.20.2"])?;
    }
    command::run(
        "cargo",
        &["deny", "--offline", "check", "licenses", "bans", "sources"],
    )
}
