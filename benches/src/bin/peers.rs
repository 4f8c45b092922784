//! Forebay beside other programs of its purpose, and the limits, in one run.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use chrono::Utc;
use clap::{Parser, ValueEnum};
use forebay_benches::chart::Chart;
use forebay_benches::contest::{Contest, Course, Standings};
use forebay_benches::data::{Scale, Set};
use forebay_benches::memory::Comb;
use forebay_benches::site::Site;
use forebay_benches::workload::Workload;
use forebay_benches::{machine, page, subject, table};

/// Measures Forebay, rclone, s3fs, weed mount, JuiceFS, local files and raw GETs over the
/// same data, in turn, and prints every figure.
#[derive(Parser)]
struct Args {
    /// Rounds; figures are medians over them.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How much data.
    #[arg(long, value_enum, default_value_t = Size::Medium)]
    size: Size,
    /// Only these subjects, by name; may be repeated.
    #[arg(long)]
    only: Vec<String>,
    /// Write every round as JSON to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write the tables of README.md and benches/README.md, and the chart.
    #[arg(long)]
    write: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Size {
    Tiny,
    Medium,
    Full,
}

const fn course(workload: Workload, threads: usize) -> Course {
    Course { workload, threads }
}

/// What is held, one after the other: each set cold, then cached.
const COURSES: [(Set, &[Course], &[Course]); 4] = [
    (
        Set::Large,
        &[course(Workload::Sequential, 1), course(Workload::Random, 4)],
        &[course(Workload::Sequential, 1), course(Workload::Random, 4)],
    ),
    (
        Set::Small,
        &[course(Workload::Epoch, 4), course(Workload::Walk, 1)],
        &[course(Workload::Epoch, 1), course(Workload::Epoch, 4)],
    ),
    (
        Set::Columns,
        &[course(Workload::Columns, 2)],
        &[course(Workload::Columns, 2)],
    ),
    (
        Set::Tensors,
        &[course(Workload::Tensors, 1)],
        &[
            course(Workload::Tensors, 1),
            course(Workload::TensorsCopied, 1),
            course(Workload::TensorsShuffled, 1),
        ],
    ),
];

fn main() -> Result<()> {
    let args = Args::parse();
    let scale = match args.size {
        Size::Tiny => Scale::TINY,
        Size::Medium => Scale::MEDIUM,
        Size::Full => Scale::FULL,
    };
    let _comb = match args.size {
        Size::Tiny => None,
        Size::Medium | Size::Full => Comb::hold()?,
    };
    let mut standings = Standings::default();
    for (set, cold, cached) in COURSES {
        // A site for each set: less room is needed at once.
        eprintln!("{}", set.dir());
        let site = Site::new("peers", scale, &[set])?;
        let mut subjects = subject::all(&site);
        subjects.retain(|subject| {
            args.only.is_empty() || args.only.iter().any(|name| name == subject.name())
        });
        let contest = Contest {
            set,
            cold,
            cached,
            rounds: args.rounds as usize,
            duels: 0,
        };
        standings.merge(contest.hold(&site, &subjects));
    }
    if let Some(path) = &args.json {
        let json = serde_json::to_vec_pretty(&standings)?;
        fs::write(path, json).with_context(|| format!("write {}", path.display()))?;
    }
    let head = format!(
        "{}, {}, medians of {} rounds.\n\n",
        Utc::now().format("%Y-%m-%d"),
        machine::describe(),
        args.rounds
    );
    let summary = format!("{head}{}", table::summary(&standings));
    let details = format!(
        "{head}{}\n{}",
        table::subjects(&standings),
        table::details(&standings)
    );
    println!("{details}\n{summary}");
    if args.write {
        fs::write(page::path("benches/peers.svg"), Chart::of(&standings).svg())?;
        let with_chart = format!("{summary}\n![Share of the limit](benches/peers.svg)\n");
        page::write(&page::path("README.md"), "peers", &with_chart)?;
        page::write(&page::path("benches/README.md"), "peers", &details)?;
    }
    Ok(())
}
