//! Forebay's command line: what the binary does, in testable parts.

use std::ffi::OsString;

use clap::FromArgMatches;
use clap::error::ErrorKind;

pub mod allocator;
pub mod args;
pub mod audience;
mod commands;
pub mod config;
pub mod control_client;
mod control_server;
mod dataset;
mod directory;
pub mod exit;
pub mod http;
pub mod mount_process;
pub mod mountpoint;
mod node;
mod off_runtime;
pub mod options;
pub mod output;
mod reports;
pub mod rundir;
mod selection;
pub mod server_process;
mod signals;
pub mod size;
mod socket;
mod supervisor;
pub mod telemetry;

use args::Cli;
use exit::{Exit, Failure};

/// Runs the command line `words`, the program's name first.
///
/// # Errors
/// The [`Failure`] to tell and to exit with.
pub fn run(words: impl IntoIterator<Item = OsString>) -> Result<(), Failure> {
    let words: Vec<_> = words.into_iter().collect();
    let command = args::command();
    match command.clone().try_get_matches_from(&words) {
        Ok(matches) => {
            let cli =
                Cli::from_arg_matches(&matches).map_err(|error| misused(&error, "forebay"))?;
            commands::run(&cli)
        }
        Err(error) if !error.use_stderr() => {
            // A reader that has seen enough of the help is no error.
            let _ = error.print();
            Ok(())
        }
        Err(error) => {
            let named = words.get(1).and_then(|word| word.to_str());
            let named = named.and_then(|word| command.find_subcommand(word));
            let asked = named.map_or_else(String::new, |found| format!(" {}", found.get_name()));
            Err(misused(&error, &format!("forebay{asked}")))
        }
    }
}

/// The parser's message and tips on one line, and where to read on.
fn misused(error: &clap::Error, command: &str) -> Failure {
    let said = match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "a command is missing".to_owned(),
        _ => first_paragraphs(&error.render().to_string()),
    };
    Failure::new(Exit::Usage, said).next(format!("see `{command} --help`"))
}

/// What stands before the usage, in one line.
fn first_paragraphs(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let said = lines.take_while(|line| {
        !line.starts_with("Usage:") && !line.starts_with("For more information")
    });
    let said: Vec<_> = said
        .map(|line| line.trim_start_matches("error: "))
        .collect();
    said.join("; ").replace(":; ", ": ")
}
