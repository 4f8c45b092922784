//! Fuzzing with coverage.

use anyhow::Result;

use crate::command;

/// Builds the fuzzer with counters in what it fuzzes, and runs it.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let compiler = command::root().join("fuzz/coverage-rustc.sh");
    command::run_with(
        "cargo",
        &["build", "--locked", "-p", "forebay-fuzz"],
        &[("RUSTC_WORKSPACE_WRAPPER", command::utf8(&compiler)?)],
    )?;
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    command::run(&command::built("debug", "fuzz"), &args)
}
