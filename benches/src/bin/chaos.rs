//! `cargo xtask chaos`: everything fails, and readers must see pauses only.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Parser;
use forebay_tests::{Chaos, Plan};

/// Kills clients, cache server and origin, delays, truncates, refuses and fills the disk,
/// while 16 readers of two mounts check every byte.
///
/// What happens when follows from the seed and is printed. Ends with 1 if a reader saw an
/// error or a wrong byte, if a process panicked, or if one did not end in order.
#[derive(Parser)]
struct Args {
    /// The seed of the plan; by default from the clock.
    #[arg(long)]
    seed: Option<u64>,
    /// How long, in minutes.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=10_080))]
    minutes: u64,
    /// Prints the plan and does nothing.
    #[arg(long)]
    plan: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seed = args
        .seed
        .unwrap_or_else(|| now.map_or(0, |now| now.as_secs()));
    let plan = Plan::new(seed, Duration::from_secs(60 * args.minutes));
    println!(
        "seed {seed}: {} steps in {} minutes",
        plan.steps().len(),
        args.minutes
    );
    let say = |at: Duration, step: &dyn std::fmt::Display| {
        println!("{:7.1} s  {step}", at.as_secs_f64());
    };
    if args.plan {
        plan.steps().iter().for_each(|(at, step)| say(*at, step));
        return ExitCode::SUCCESS;
    }
    let chaos = Chaos::run(&plan, |at, step| say(at, step));
    print!("{chaos}");
    if chaos.is_unharmed() {
        println!("unharmed");
        return ExitCode::SUCCESS;
    }
    println!(
        "harmed; again with: cargo xtask chaos --seed {seed} --minutes {}",
        args.minutes
    );
    ExitCode::FAILURE
}
