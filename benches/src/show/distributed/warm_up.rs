//! A warm-up of many files: beside plain GETs and the disk on one node, and shared by four.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use forebay_tests::{ClusterShape, Dataset, PeerCluster};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path as Key;
use object_store::{GetOptions, GetRange, ObjectStore};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::load;
use crate::data::Scale;
use crate::page_cache;
use crate::raw_get::PART_BYTES;
use crate::report::Report;
use crate::sample::Sample;
use crate::show::Options;

const BOUND: f64 = 0.9;
const NODES: u8 = 4;
/// How far from an equal share a node's part may be.
const EVEN: f64 = 0.1;
/// GETs at once: more bring nothing.
const GETS_AT_ONCE: usize = 32;
/// Each round writes all of it twice.
const MOST_ROUNDS: usize = 3;

pub(super) fn run(report: &mut Report, options: &Options) -> Result<()> {
    let dataset = dataset(options.scale);
    one_node(report, &dataset, options.rounds.min(MOST_ROUNDS))?;
    four_nodes(report, &dataset)
}

/// 20,000 small files and 20 large ones.
fn dataset(scale: Scale) -> Dataset {
    let (small, large) = match scale == Scale::TINY {
        true => ((400, 20 << 10), (20, 2 << 20)),
        false => ((20_000, 110 << 10), (20, 64 << 20)),
    };
    load::large_and_small(large, small)
}

/// Seconds of one round.
struct Round {
    raw: f64,
    disk: f64,
    warm_up: f64,
}

fn one_node(report: &mut Report, dataset: &Dataset, rounds: usize) -> Result<()> {
    let rounds: Vec<Round> = (0..rounds).map(|_| round(dataset)).collect::<Result<_>>()?;
    let mib = dataset.bytes() as f64 / f64::from(1 << 20);
    let rate = |of: fn(&Round) -> f64| Sample::new(rounds.iter().map(|round| mib / of(round)));
    let raw = rate(|round| round.raw);
    report.figure("raw GETs, thrown away, MiB/s", format_args!("{raw:.0}"));
    let disk = rate(|round| round.disk);
    report.figure("disk, written and synced, MiB/s", format_args!("{disk:.0}"));
    let warm_up = rate(|round| round.warm_up);
    report.figure("warm-up, MiB/s", format_args!("{warm_up:.0}"));
    let ratio = rounds
        .iter()
        .map(|round| round.raw.max(round.disk) / round.warm_up);
    let ratio = Sample::new(ratio);
    let item = format!(
        "one node, {} files, {mib:.0} MiB: warm-up : the slower of GETs and disk",
        dataset.files().len()
    );
    report.line(ratio.median() >= BOUND, &item, &ratio, BOUND);
    Ok(())
}

/// The limits and a warm-up into an empty cache, on the same machine and disk.
fn round(dataset: &Dataset) -> Result<Round> {
    let room = dataset.bytes() * 5 / 4 + (64 << 20);
    let shape = ClusterShape::of(1, room);
    let cluster = PeerCluster::start("warm-up", &shape, dataset);
    let store: Arc<dyn ObjectStore> = Arc::new(cluster.endpoint().object_store("data"));
    let runtime = Runtime::new()?;
    page_cache::drop_all()?;
    let raw = runtime.block_on(get_all(&store, dataset))?;
    let disk = write(
        &cluster.network().scratch().path().join("disk"),
        dataset.bytes(),
    )?;
    page_cache::drop_all()?;
    let begun = Instant::now();
    let warmed = cluster.nodes()[0].warm_up(&[]);
    let warm_up = begun.elapsed().as_secs_f64();
    ensure!(warmed["complete"] == true, "warm-up: {warmed:#}");
    Ok(Round { raw, disk, warm_up })
}

/// Gets every byte, large files in parts, and returns how long it took in seconds.
async fn get_all(store: &Arc<dyn ObjectStore>, dataset: &Dataset) -> Result<f64> {
    let begun = Instant::now();
    let parts = dataset.files().iter().flat_map(|file| {
        let starts = (0..file.size).step_by(PART_BYTES as usize);
        starts.map(|start| (&file.path, start..(start + PART_BYTES).min(file.size)))
    });
    futures::stream::iter(parts.map(|(path, range)| {
        let (store, key) = (Arc::clone(store), Key::parse(path));
        async move {
            let options = GetOptions {
                range: Some(GetRange::Bounded(range.clone())),
                ..GetOptions::default()
            };
            let mut body = store.get_opts(&key?, options).await?.into_stream();
            let mut left = range.end - range.start;
            while let Some(piece) = body.next().await {
                left = left.saturating_sub(piece?.len() as u64);
            }
            ensure!(left == 0, "{left} bytes are missing");
            Ok(())
        }
    }))
    .buffer_unordered(GETS_AT_ONCE)
    .try_collect::<()>()
    .await?;
    Ok(begun.elapsed().as_secs_f64())
}

/// Writes so many bytes to a file and syncs it; how long it took in seconds.
fn write(path: &Path, bytes: u64) -> Result<f64> {
    // Not zeros, which some disks do not write.
    let piece: Vec<u8> = (0..4_u32 << 20)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8)
        .collect();
    let begun = Instant::now();
    let mut file = File::create(path).with_context(|| format!("create {}", path.display()))?;
    let mut left = bytes as usize;
    while left > 0 {
        let len = left.min(piece.len());
        file.write_all(&piece[..len])?;
        left -= len;
    }
    file.sync_data()?;
    let took = begun.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(took)
}

fn four_nodes(report: &mut Report, dataset: &Dataset) -> Result<()> {
    let shape = ClusterShape::of(NODES, dataset.bytes() + (64 << 20));
    let cluster = PeerCluster::start("warm-up-four", &shape, dataset);
    let warmed = cluster.nodes()[0].warm_up(&[]);
    ensure!(warmed["complete"] == true, "warm-up: {warmed:#}");
    let shares = shares(&warmed)?;
    let fair = dataset.bytes() as f64 / f64::from(NODES);
    let off = Sample::new(shares.iter().map(|share| share / fair));
    let worst = (off.max() - 1.0).max(1.0 - off.min());
    report.line(
        shares.len() == usize::from(NODES) && worst <= EVEN,
        &format!("{NODES} nodes: the part of each : an equal share"),
        &off,
        format_args!("1 within {EVEN}"),
    );
    let sent = cluster.origin_bytes() as f64 / dataset.bytes() as f64;
    report.figure(
        "bytes of the origin : the dataset",
        format_args!("{sent:.4}"),
    );
    Ok(())
}

/// The bytes that each member has taken.
fn shares(warmup: &Value) -> Result<Vec<f64>> {
    let members = warmup["members"].as_array().context("members")?;
    let shares = members.iter().map(|member| member["bytes"].as_f64());
    shares.collect::<Option<_>>().context("each has a share")
}
