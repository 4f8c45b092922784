//! `cargo xtask show NAME`: what an area of the project must show, measured.

use anyhow::Result;

use crate::{command, servers};

/// Builds what is measured and runs the list `name`.
pub(crate) fn show(name: &str, only: &[String]) -> Result<()> {
    servers::install()?;
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
    let mut args = vec![name];
    for item in only {
        args.extend(["--only", item]);
    }
    command::run(&command::built("release", "show"), &args)
}
