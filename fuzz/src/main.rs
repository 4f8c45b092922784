//! `cargo xtask fuzz`: campaigns against one target or all of them.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use clap::Parser;
use forebay_fuzz::{Campaign, Corpus, Crash, Make, Outcome, all, save_crash};

/// Reads mutated files, frames and documents, and looks for what is not borne: a panic,
/// memory without bound, an endless loop, a wrong byte.
///
/// Prints a line for each target: inputs read, inputs a second, inputs that reached new
/// code, crashes. Ends with 1 if there was a crash; its input is kept in fuzz/crashes.
#[derive(Parser)]
struct Args {
    /// How long each target is fuzzed, in minutes; a part of one is a number like 0.1.
    #[arg(long, default_value_t = 1.0, value_parser = minutes)]
    minutes: f64,
    /// Only this target; may be repeated: manifest, keeper, store, local, peer, plan.
    #[arg(long)]
    target: Vec<String>,
    /// Mutations follow from it; by default from the clock. It is printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Reads this input once, and nothing else; needs one --target.
    #[arg(long)]
    replay: Option<PathBuf>,
    /// Puts the shortest inputs that reach everything in the place of the corpus.
    #[arg(long)]
    keep: bool,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let chosen = chosen(&args.target)?;
    if let Some(path) = &args.replay {
        return replay(&chosen, path);
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seed = args
        .seed
        .unwrap_or_else(|| now.map_or(0, |now| now.as_secs()));
    let time = Duration::from_secs_f64(args.minutes * 60.0);
    println!("seed {seed}, {time:.0?} a target");
    let mut crashes = 0;
    for make in &chosen {
        let target = make();
        let name = target.name();
        let corpus = Corpus::of(name);
        let mut campaign = Campaign::new(target, corpus.inputs()?, seed);
        let outcome = campaign.run(time, |so_far| progress(name, so_far));
        clear_progress();
        println!("{}", line(name, &outcome));
        if let Some(Crash { input, reason }) = &outcome.crash {
            println!("  {reason}");
            println!("  found with --seed {seed}; {}", save_crash(name, input));
            crashes += 1;
        }
        if args.keep {
            let kept = corpus.replace(campaign.distilled())?;
            println!("  {kept} inputs kept");
        }
    }
    println!("{} targets, {crashes} crashes", chosen.len());
    Ok(match crashes {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(minutes) if minutes > 0.0 && minutes <= 7.0 * 24.0 * 60.0 => Ok(minutes),
        _ => Err("a number of minutes, more than 0 and at most a week's".to_owned()),
    }
}

fn chosen(names: &[String]) -> Result<Vec<Make>> {
    let all = all();
    let known = all.map(|(name, _)| name).join(", ");
    if let Some(name) = names
        .iter()
        .find(|name| all.iter().all(|(known, _)| known != name))
    {
        bail!("--target {name}: there is no such target; there are {known}");
    }
    let is_wanted = |name: &&str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    let wanted = all.into_iter().filter(|(name, _)| is_wanted(name));
    Ok(wanted.map(|(_, make)| make).collect())
}

fn replay(chosen: &[Make], path: &PathBuf) -> Result<ExitCode> {
    let [make] = chosen else {
        bail!("--replay needs one --target: the one that the input is for");
    };
    let input = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let mut campaign = Campaign::new(make(), Vec::new(), 0);
    Ok(match campaign.read(&input) {
        Some(crash) => {
            println!("crash: {}", crash.reason);
            ExitCode::FAILURE
        }
        None => {
            println!("borne: {} bytes", input.len());
            ExitCode::SUCCESS
        }
    })
}

fn line(name: &str, outcome: &Outcome) -> String {
    let Outcome {
        runs,
        took,
        found,
        branches,
        crash,
    } = outcome;
    let rate = *runs as f64 / took.as_secs_f64().max(1e-9);
    let reached = match branches {
        0 => "coverage not counted".to_owned(),
        _ => format!("{branches} branches reached, {found} inputs with new ones"),
    };
    let crashes = u8::from(crash.is_some());
    format!(
        "{name:<9} {runs:>9} runs in {:>4.0} s, {rate:>7.0} runs/s, {crashes} crashes; {reached}",
        took.as_secs_f64()
    )
}

fn progress(name: &str, so_far: &Outcome) {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        let _ = write!(out, "\r\x1b[K{}", line(name, so_far));
    }
}

fn clear_progress() {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        let _ = write!(out, "\r\x1b[K");
    }
}
