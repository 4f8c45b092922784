//! The quality gates: format, lints, crate edges, documentation, licences.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::{boundaries, command};

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
        // A public page may point at a private one: developers read both.
        &[(
            "RUSTDOCFLAGS",
            "-D warnings -A rustdoc::private_intra_doc_links",
        )],
    )?;
    generated()?;
    licences()
}

/// Writes the generated pages.
pub(crate) fn generate() -> Result<()> {
    for (path, page) in pages()? {
        let path = command::root().join(path);
        fs::write(&path, page).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// Fails if a generated page is not what the code prints.
fn generated() -> Result<()> {
    for (path, page) in pages()? {
        let written = fs::read_to_string(command::root().join(path)).unwrap_or_default();
        if written != page {
            bail!("{path} differs from what the code prints; run `cargo xtask generate`");
        }
    }
    println!("generated pages: as printed");
    Ok(())
}

/// The pages that are printed from code.
fn pages() -> Result<[(&'static str, String); 2]> {
    command::build_all()?;
    let forebay = command::built("debug", "forebay");
    let settings = ["config", "print", "--reference"];
    Ok([
        ("docs/METRICS.md", forebay_core::metric::reference()),
        (
            "docs/CONFIGURATION.md",
            command::output(&forebay, &settings)?,
        ),
    ])
}

/// cargo-deny's checks that need no network: licences, bans and sources. Advisories need
/// a database from outside and are left to whoever has one.
fn licences() -> Result<()> {
    if command::output("cargo", &["deny", "--version"]).is_err() {
        command::run("cargo", &["install", "--locked", "cargo-deny@0.20.2"])?;
    }
    // Those of other platforms, too: a build has not asked for them, and deny looks at all.
    command::run("cargo", &["fetch", "--locked"])?;
    command::run(
        "cargo",
        &["deny", "--offline", "check", "licenses", "bans", "sources"],
    )
}
