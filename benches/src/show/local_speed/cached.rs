//! Everything cached: beside the same files on the same disk.

use anyhow::Result;

use super::judge::{alone, beside_limit, course, held, setting};
use crate::contest::{Contest, Course};
use crate::data::Set;
use crate::report::Report;
use crate::show::Options;
use crate::subject::{Forebay, State};
use crate::workload::Workload;

/// Large files: nothing stands between the reader and the file.
const LARGE: f64 = 0.95;
/// Small files from memory; the kernel still has to be asked for each.
const HOT_EPOCH: f64 = 0.9;
/// Small files from the disk.
const WARM_EPOCH: f64 = 0.8;
/// Duels for each round: of reads that take a second or less, and of others.
const SHORT: usize = 8;
const LONG: usize = 1;

pub(super) fn large(report: &mut Report, options: &Options) -> Result<()> {
    let courses = [alone(Workload::Sequential), alone(Workload::Random)];
    item(report, options, Set::Large, &courses, [LARGE; 2], SHORT)
}

pub(super) fn mmap(report: &mut Report, options: &Options) -> Result<()> {
    let courses = [
        Workload::Tensors,
        Workload::TensorsCopied,
        Workload::TensorsShuffled,
    ];
    item(
        report,
        options,
        Set::Tensors,
        &courses.map(alone),
        [LARGE; 2],
        SHORT,
    )
}

pub(super) fn epoch(report: &mut Report, options: &Options) -> Result<()> {
    let courses = [alone(Workload::Epoch), course(Workload::Epoch, 4)];
    item(
        report,
        options,
        Set::Small,
        &courses,
        [WARM_EPOCH, HOT_EPOCH],
        LONG,
    )
}

pub(super) fn columns(report: &mut Report, options: &Options) -> Result<()> {
    let courses = [alone(Workload::Columns), course(Workload::Columns, 4)];
    item(report, options, Set::Columns, &courses, [LARGE; 2], SHORT)
}

/// `bounds` are those after dropping the page cache, and hot; `duels` is for each round.
fn item(
    report: &mut Report,
    options: &Options,
    set: Set,
    cached: &[Course],
    bounds: [f64; 2],
    duels: usize,
) -> Result<()> {
    let contest = Contest {
        set,
        cold: &[],
        cached,
        rounds: options.rounds,
        duels: options.rounds * duels,
    };
    let standings = held(report, options, &contest)?;
    for course in cached {
        for (state, bound) in [State::Warm, State::Hot].into_iter().zip(bounds) {
            beside_limit(
                report,
                &standings,
                setting(*course, state),
                Forebay::NAME,
                bound,
            );
        }
    }
    Ok(())
}
