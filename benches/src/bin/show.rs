//! What an area of the project must show, measured in this run.

use std::process::ExitCode;

use anyhow::Result;
use chrono::Utc;
use clap::{Parser, ValueEnum};
use forebay_benches::data::Scale;
use forebay_benches::memory::Comb;
use forebay_benches::show::{self, Options};
use forebay_benches::{machine, page};

/// Runs a list and prints one line an item: figure, bound, `ok` or `short`.
#[derive(Parser)]
struct Args {
    /// The list.
    list: List,
    /// Only the items whose names contain this; may be repeated.
    #[arg(long)]
    only: Vec<String>,
    /// local-speed: leave other programs out, and the lines that compare with them.
    #[arg(long)]
    without_peers: bool,
    /// local-speed, distributed: rounds of each comparison.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// local-speed, survive, distributed: a few MiB and a few blows, not what the promises
    /// are made for, to see that everything runs.
    #[arg(long)]
    tiny: bool,
    /// local-speed, distributed: less data than the promises are made for.
    #[arg(long, conflicts_with = "tiny")]
    medium: bool,
    /// local-speed: write the lines into benches/README.md, too.
    #[arg(long)]
    write: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum List {
    ReadPath,
    LocalSpeed,
    Survive,
    Csi,
    Distributed,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let items = match args.list {
        List::ReadPath => show::read_path::ITEMS,
        List::LocalSpeed => show::local_speed::ITEMS,
        List::Survive => show::survive::ITEMS,
        List::Csi => show::csi::ITEMS,
        List::Distributed => show::distributed::ITEMS,
    };
    let (scale, less) = match (args.tiny, args.medium) {
        (true, _) => (Scale::TINY, ", a few MiB (`--tiny`)"),
        (_, true) => (
            Scale::MEDIUM,
            ", less data than the promises are made for (`--medium`)",
        ),
        _ => (Scale::FULL, ""),
    };
    let options = Options {
        peers: !args.without_peers,
        scale,
        rounds: args.rounds as usize,
    };
    let items = show::chosen(items, &args.only)?;
    // Of a few MiB, and of pods and pauses, nothing is compared that closely.
    let is_close = !matches!(args.list, List::Survive | List::Csi) && !args.tiny;
    let _comb = if is_close { Comb::hold()? } else { None };
    let report = show::run(&items, &options);
    if args.write && args.list == List::LocalSpeed {
        let text = format!(
            "{}, {}, medians of {} rounds{less}.\n\n{}",
            Utc::now().format("%Y-%m-%d"),
            machine::describe(),
            args.rounds,
            report.markdown()
        );
        page::write(&page::path("benches/README.md"), "local-speed", &text)?;
    }
    Ok(if report.finish() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
