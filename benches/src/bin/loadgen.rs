//! Training-shaped reads below any directory: of Forebay, of another program, or local.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use forebay_benches::contest::{Entry, Round, Setting, Standings};
use forebay_benches::data::{Data, Scale, Set};
use forebay_benches::meter::Meter;
use forebay_benches::subject::{Role, State};
use forebay_benches::workload::{Check, Load, Workload};
use forebay_benches::{page_cache, process, table};
use forebay_tests::Endpoint;

/// Reads as training jobs do, checks what it reads, and prints rates, processor time and
/// memory as medians with their spread.
///
/// First `write` the data to a directory, or `put` it into a bucket; then `read` it there,
/// or through a mount of the bucket.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Write the data below a directory.
    Write {
        /// The directory.
        dir: PathBuf,
        #[command(flatten)]
        which: Which,
    },
    /// Put the data into a new bucket; the keys come from AWS_ACCESS_KEY_ID and
    /// AWS_SECRET_ACCESS_KEY.
    Put {
        /// The bucket.
        bucket: String,
        /// The address of the S3 server.
        #[arg(long)]
        endpoint: String,
        #[command(flatten)]
        which: Which,
    },
    /// Read the data and print what it took.
    Read(ReadArgs),
}

/// Which data.
#[derive(Args)]
struct Which {
    /// How much.
    #[arg(long, value_enum, default_value_t = Size::Tiny)]
    size: Size,
}

#[derive(Clone, Copy, ValueEnum)]
enum Size {
    /// A few MiB.
    Tiny,
    /// About 3 GiB.
    Medium,
    /// About 8 GiB.
    Full,
}

#[derive(Args)]
struct ReadArgs {
    /// The directory that has the data.
    dir: PathBuf,
    #[command(flatten)]
    which: Which,
    /// How to read; may be repeated. Without it, in every way.
    #[arg(long, value_enum)]
    workload: Vec<Workload>,
    /// On how many threads; may be repeated.
    #[arg(long, default_values_t = [1], value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Vec<u32>,
    /// From where; may be repeated, and is done in this order. `cold` needs
    /// --empty-cache; `warm` and `cold` drop the page cache, which takes root.
    #[arg(long, value_enum, default_values_t = [From::Warm, From::Hot])]
    state: Vec<From>,
    /// A shell command that leaves the mount with an empty cache.
    #[arg(long)]
    empty_cache: Option<String>,
    /// Passes of each.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// A process that serves the mount, to be measured with all that it starts; may be
    /// repeated.
    #[arg(long)]
    pid: Vec<u32>,
    /// Compare every byte, not one word of every page.
    #[arg(long)]
    every_byte: bool,
    /// Write every pass as JSON to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum From {
    Cold,
    Warm,
    Hot,
}

impl From {
    fn state(self) -> State {
        match self {
            Self::Cold => State::Cold,
            Self::Warm => State::Warm,
            Self::Hot => State::Hot,
        }
    }
}

impl Which {
    fn data(&self) -> Data {
        let scale = match self.size {
            Size::Tiny => Scale::TINY,
            Size::Medium => Scale::MEDIUM,
            Size::Full => Scale::FULL,
        };
        Data::new(scale, &Set::ALL)
    }
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loadgen: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Write { dir, which } => which.data().write_to(&dir),
        Task::Put {
            bucket,
            endpoint,
            which,
        } => {
            let key = |name| std::env::var(name).with_context(|| format!("{name} is not set"));
            let endpoint = Endpoint {
                url: endpoint.trim_end_matches('/').to_owned(),
                access_key: key("AWS_ACCESS_KEY_ID")?,
                secret_key: key("AWS_SECRET_ACCESS_KEY")?,
            };
            which.data().upload(&endpoint, &bucket);
            Ok(())
        }
        Task::Read(args) => read(&args),
    }
}

fn read(args: &ReadArgs) -> Result<()> {
    let data = args.which.data();
    let workloads = if args.workload.is_empty() {
        Workload::ALL.to_vec()
    } else {
        args.workload.clone()
    };
    let mut entry = Entry::new("loadgen", args.dir.display().to_string(), Role::Ours);
    for workload in workloads {
        for threads in &args.threads {
            for run in 0..args.runs as usize {
                for from in &args.state {
                    let setting = Setting {
                        workload,
                        threads: *threads as usize,
                        state: from.state(),
                    };
                    pass(args, &data, setting, run, &mut entry)?;
                }
            }
        }
    }
    let standings = Standings {
        entries: vec![entry],
    };
    if let Some(path) = &args.json {
        let json = serde_json::to_vec_pretty(&standings)?;
        fs::write(path, json).with_context(|| format!("write {}", path.display()))?;
    }
    print!("{}", table::details(&standings));
    Ok(())
}

fn pass(
    args: &ReadArgs,
    data: &Data,
    setting: Setting,
    run: usize,
    entry: &mut Entry,
) -> Result<()> {
    if setting.state == State::Cold {
        let script = args.empty_cache.as_deref();
        let script = script.context("--state cold needs --empty-cache")?;
        let status = Command::new("sh").args(["-c", script]).status()?;
        ensure!(status.success(), "--empty-cache: {status}");
    }
    if setting.state != State::Hot {
        page_cache::drop_all()?;
    }
    let load = Load {
        threads: setting.threads,
        check: if args.every_byte {
            Check::Bytes
        } else {
            Check::Pages(run as u64)
        },
        ..Load::new(setting.workload, data)
    };
    let pids: Vec<u32> = args
        .pid
        .iter()
        .flat_map(|pid| process::family(*pid))
        .collect();
    let meter = Meter::start(&pids);
    let pass = load.run(&args.dir).with_context(|| setting.to_string())?;
    entry.record(setting, Round::new(run, &pass, meter.stop()));
    Ok(())
}
