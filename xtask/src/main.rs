//! The project's front door: check, test, demo, show.

mod command;
mod servers;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Builds, checks and shows the project.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// The servers that the tests run against.
    #[command(subcommand)]
    Servers(Servers),
}

#[derive(Subcommand)]
enum Servers {
    /// Installs SeaweedFS below .servers, and Ceph and FUSE from Debian; needs root for
    /// the latter.
    Install,
}

fn main() -> Result<()> {
    match Cli::parse().task {
        Task::Servers(Servers::Install) => servers::install(),
    }
}
