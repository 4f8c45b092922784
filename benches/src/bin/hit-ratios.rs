//! Hit ratios of the eviction policies on stated traces.

use anyhow::Result;
use clap::Parser;
use forebay_benches::{hit_ratio, page};

/// Prints a table: one row a trace and size of cache, one column a policy. The same every
/// time.
#[derive(Parser)]
struct Args {
    /// Write the table into benches/README.md, too.
    #[arg(long)]
    write: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let table = hit_ratio::table(&hit_ratio::traces()).markdown();
    print!("{table}");
    if args.write {
        page::write(&page::path("benches/README.md"), "hit-ratios", &table)?;
    }
    Ok(())
}
