//! A member joins, a member leaves: no more bytes move than must.
//!
//! Everything is brought to the members that own it; after the change it is brought again,
//! and what is fetched then has moved. Only the member that joins may get anything, and
//! only what the one that leaves has owned may be fetched anew.

use anyhow::{Context, Result, ensure};
use forebay_tests::{ClusterShape, Dataset, PeerCluster, Shape, Sizes};
use serde_json::Value;

use crate::data::Scale;
use crate::report::Report;
use crate::show::Options;

const NODES: u8 = 4;
/// How far from a member's fair share the bytes that move may be.
const BOUND: f64 = 0.05;

pub(super) fn run(report: &mut Report, options: &Options) -> Result<()> {
    let files = match options.scale == Scale::TINY {
        true => 4000,
        false => 40_000,
    };
    // Small ones, each of which is placed by itself.
    let dataset = Dataset::new(&Shape {
        files,
        directories: files / 200,
        sizes: Sizes::Even(8 << 10, 24 << 10),
        seed: 3,
    });
    let bytes = dataset.bytes();
    let shape = ClusterShape {
        started: NODES - 1,
        ..ClusterShape::of(NODES, bytes * 2)
    };
    let cluster = PeerCluster::start("join-leave", &shape, &dataset);
    let [leaves, asked, _, joins] = cluster.nodes() else {
        anyhow::bail!("four nodes")
    };
    let fair = bytes as f64 / f64::from(NODES);
    let first = fetched(&asked.warm_up(&[]))?;
    ensure!(
        first == bytes,
        "{first} of {bytes} bytes were fetched at first"
    );
    joins.start_server();
    cluster
        .nodes()
        .iter()
        .for_each(|node| node.sees(NODES.into()));
    tell(report, "join", fetched(&asked.warm_up(&[]))?, fair);

    let ended = leaves.end_server();
    ensure!(ended.success(), "the server that left: {ended}");
    let stayed = &cluster.nodes()[1..];
    stayed.iter().for_each(|node| node.sees(stayed.len()));
    tell(report, "leave", fetched(&asked.warm_up(&[]))?, fair);
    let again = fetched(&asked.warm_up(&[]))?;
    report.line(again == 0, "then: bytes fetched again", again, "0");
    Ok(())
}

fn fetched(warmup: &Value) -> Result<u64> {
    ensure!(warmup["complete"] == true, "warm-up: {warmup:#}");
    let fetched = warmup["progress"]["bytes_fetched"].as_u64();
    fetched.context("bytes are counted")
}

fn tell(report: &mut Report, item: &str, moved: u64, fair: f64) {
    let off = moved as f64 / fair - 1.0;
    report.line(
        off.abs() <= BOUND,
        &format!("{item}, {NODES} nodes: bytes that moved : the member's fair share"),
        format_args!("{:.4} ({moved} bytes)", 1.0 + off),
        format_args!("1 within {BOUND}"),
    );
}
