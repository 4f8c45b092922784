//! The whole test suite, from a bare machine.

use anyhow::Result;

use crate::{check, command, servers};

/// Sets up what the tests need, then runs the quality gates and every test.
pub(crate) fn test() -> Result<()> {
    servers::install()?;
    check::check()?;
    // Tests of the mount start the binary: it must be there, and be this tree's.
    command::build_all()?;
    command::run(
        "cargo",
        &["test", "--workspace", "--locked", "--no-fail-fast"],
    )
}

/// Builds a release and runs the demonstration.
pub(crate) fn demo() -> Result<()> {
    servers::install_fuse()?;
    command::run(
        "cargo",
        &["build", "--release", "--locked", "--package", "forebay"],
    )?;
    command::run(&command::built("release", "forebay"), &["demo"])
}
