//! Every node reads everything at once, and the origin sends it once.

use std::thread;
use std::time::Instant;

use anyhow::Result;
use forebay_tests::{ClusterShape, Dataset, Mismatch, Mount, Node, PeerCluster};

use super::load;
use crate::data::Scale;
use crate::report::Report;
use crate::show::Options;

const NODES: u8 = 4;
const BOUND: f64 = 1.01;

pub(super) fn run(report: &mut Report, options: &Options) -> Result<()> {
    let dataset = dataset(options.scale);
    let bytes = dataset.bytes();
    // Room for all of it on each node, and the packs' slack.
    let shape = ClusterShape::of(NODES, bytes + bytes / 8 + (64 << 20));
    let cluster = PeerCluster::start("one-read", &shape, &dataset);
    let mounts = load::mounts(&cluster);
    // What sources are probed with is no part of the dataset.
    let before = cluster.origin_bytes();
    let begun = Instant::now();
    let wrong = read_everything(&mounts, &dataset);
    let took = begun.elapsed().as_secs_f64();
    let sent = cluster.origin_bytes() - before;

    let item = format!(
        "{NODES} nodes read {} files, {:.2} GB, all at once",
        dataset.files().len(),
        bytes as f64 / 1e9
    );
    let ratio = sent as f64 / bytes as f64;
    report.line(
        (1.0..=BOUND).contains(&ratio),
        &format!("{item}: bytes of the origin : the dataset"),
        format_args!("{ratio:.4}"),
        format_args!("<= {BOUND}"),
    );
    report.line(
        wrong.is_empty(),
        &format!("{item}: files that cannot be read or are wrong"),
        wrong.len(),
        "0, every byte compared",
    );
    for mismatch in wrong.iter().take(5) {
        println!("       {mismatch}");
    }
    let passed_on: f64 = cluster.nodes().iter().map(sent_by).sum();
    report.figure(
        "each node read",
        format_args!(
            "{:.0} MB/s, while {:.2} GB went from node to node",
            bytes as f64 / 1e6 / took,
            passed_on / 1e9
        ),
    );
    drop(mounts);
    Ok(())
}

fn sent_by(node: &Node) -> f64 {
    node.metric("forebay_peer_sent_bytes_total").unwrap_or(0.0)
}

/// A fifth of the bytes in small files, which are packed, the rest in large ones.
fn dataset(scale: Scale) -> Dataset {
    let (small, large) = match scale {
        Scale::TINY => ((200, 20 << 10), (4, 9 << 20)),
        Scale::MEDIUM => ((4_000, 100_000), (6, 256 << 20)),
        _ => ((16_000, 100_000), (25, 256 << 20)),
    };
    load::large_and_small(large, small)
}

/// Reads and compares all of it at every mount at the same time.
fn read_everything(mounts: &[Mount], dataset: &Dataset) -> Vec<Mismatch> {
    thread::scope(|threads| {
        let readers: Vec<_> = mounts
            .iter()
            .map(|mount| threads.spawn(|| dataset.mismatches(&mount.path())))
            .collect();
        readers
            .into_iter()
            .flat_map(|reader| reader.join().expect("mismatches are collected"))
            .collect()
    })
}
