//! What an area of the project must show, measured in this run.

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use forebay_benches::show;

/// Runs a list and prints one line an item: figure, bound, `ok` or `short`.
#[derive(Parser)]
struct Args {
    /// The list.
    list: List,
    /// Only the items whose names contain this; may be repeated.
    #[arg(long)]
    only: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum List {
    ReadPath,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let items = match args.list {
        List::ReadPath => show::read_path::ITEMS,
    };
    if show::run(items, &args.only) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
