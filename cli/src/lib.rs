//! Forebay's command line: what the binary does, in testable parts.

use std::ffi::OsString;

use clap::FromArgMatches;

pub mod args;
mod commands;
pub mod config;
pub mod control_client;
mod control_server;
pub mod exit;
pub mod http;
pub mod mount_process;
pub mod mountpoint;
pub mod options;
pub mod output;
pub mod rundir;
mod signals;
pub mod size;
pub mod telemetry;

use args::Cli;
use exit::{Exit, Failure};

/// Runs the command line `words`, the program's name first.
///
/// # Errors
/// The [`Failure`] to tell and to exit with.
pub fn run(words: impl IntoIterator<Item = OsString>) -> Result<(), Failure> {
    let matches = match args::command().try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) if !error.use_stderr() => {
            return output::print(&error.render().ansi().to_string());
        }
        Err(error) => return Err(usage(&error)),
    };
    let cli = Cli::from_arg_matches(&matches).map_err(|error| usage(&error))?;
    commands::run(&cli)
}

/// The parser's message and tips on one line; where to read on.
fn usage(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let lines = text.lines().map(str::trim);
    let said: Vec<_> = lines
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .map(|line| line.strip_prefix("error: ").unwrap_or(line))
        .filter(|line| !line.is_empty())
        .collect();
    Failure::new(Exit::Usage, said.join("; ")).next("see `forebay --help`")
}
