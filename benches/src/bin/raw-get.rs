//! Gets one object with the plain library, for use beside a mount.

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use forebay_benches::raw_get::{S3Object, Sink, get};
use forebay_tests::Endpoint;

/// Reads an S3 object in parallel ranged GETs and prints MiB/s.
#[derive(Parser)]
struct Args {
    #[arg(long)]
    endpoint: String,
    #[arg(long)]
    bucket: String,
    #[arg(long)]
    key: String,
    #[arg(long)]
    size: u64,
    #[arg(long, default_value = "testkey")]
    access_key: String,
    #[arg(long, default_value = "testsecret")]
    secret_key: String,
    /// Write to this file instead of throwing the bytes away.
    #[arg(long)]
    to: Option<PathBuf>,
    #[arg(long, default_value_t = 3)]
    runs: u32,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let object = S3Object {
        endpoint: Endpoint {
            url: args.endpoint,
            access_key: args.access_key,
            secret_key: args.secret_key,
        },
        bucket: args.bucket,
        key: args.key,
        size: args.size,
    };
    let sink = args.to.map_or(Sink::Discard, Sink::File);
    for _ in 0..args.runs {
        let time = get(&object, &sink).await?;
        println!("{:.0}", object.size as f64 / 1048576.0 / time.as_secs_f64());
    }
    Ok(())
}
