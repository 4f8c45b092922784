//! Reads as training jobs make them, of the files of [`Data`], and what they take.
//!
//! Each workload checks what it reads (see [`Check`]): a wrong byte fails the run, so a
//! figure is always one of right answers.

use std::path::Path;

use anyhow::Result;
use clap::ValueEnum;
use forebay_tests::{File, Random};
use serde::Serialize;

use crate::data::{Data, Set};

mod check;
mod columns;
mod crew;
mod epoch;
mod pass;
mod random;
mod sequential;
mod tensors;
#[cfg(test)]
mod tests;
mod walk;

pub use check::Check;
pub use pass::Pass;
pub use random::READ_BYTES;

pub(crate) use random::place as random_place;

/// A way to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// Large files from front to back, in reads of 1 MiB.
    Sequential,
    /// Every small file once, whole, in shuffled order.
    Epoch,
    /// Reads of 128 KiB at random places of large files.
    Random,
    /// Of each table the footer, then three of sixteen column chunks of every row group.
    Columns,
    /// The tensors of a mapped file in order, each page touched.
    Tensors,
    /// The same, each tensor copied out of the mapping.
    TensorsCopied,
    /// The tensors of a mapped file in shuffled order, each page touched.
    TensorsShuffled,
    /// Names and attributes of all small files.
    Walk,
}

impl Workload {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Sequential,
        Self::Epoch,
        Self::Random,
        Self::Columns,
        Self::Tensors,
        Self::TensorsCopied,
        Self::TensorsShuffled,
        Self::Walk,
    ];

    /// The data it reads.
    pub fn set(self) -> Set {
        match self {
            Self::Sequential | Self::Random => Set::Large,
            Self::Epoch | Self::Walk => Set::Small,
            Self::Columns => Set::Columns,
            Self::Tensors | Self::TensorsCopied | Self::TensorsShuffled => Set::Tensors,
        }
    }

    /// What it is called in tables.
    pub fn title(self) -> &'static str {
        match self {
            Self::Sequential => "sequential",
            Self::Epoch => "shuffled epoch",
            Self::Random => "random 128 KiB",
            Self::Columns => "columns",
            Self::Tensors => "mmap in order",
            Self::TensorsCopied => "mmap copied",
            Self::TensorsShuffled => "mmap shuffled",
            Self::Walk => "walk",
        }
    }

    /// What its rate is counted in.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Walk => "entries/s",
            _ => "MiB/s",
        }
    }
}

/// One pass to be made.
#[derive(Clone, Copy, Debug)]
pub struct Load<'d> {
    /// How.
    pub workload: Workload,
    /// What.
    pub data: &'d Data,
    /// Which part of it.
    pub set: Set,
    /// On how many threads.
    pub threads: usize,
    /// Passes of one seed read the same bytes in the same order.
    pub seed: u64,
    /// How what is read is compared.
    pub check: Check,
}

impl<'d> Load<'d> {
    /// One thread, the order of seed 1, a word of every page compared.
    pub fn new(workload: Workload, data: &'d Data) -> Self {
        Self {
            workload,
            data,
            set: workload.set(),
            threads: 1,
            seed: 1,
            check: Check::Pages(1),
        }
    }

    /// Every byte of `set`, front to back, each compared: fills a cache, and shows that
    /// what it holds is right.
    pub fn whole(set: Set, data: &'d Data) -> Self {
        let workload = match set {
            Set::Small => Workload::Epoch,
            _ => Workload::Sequential,
        };
        Self {
            set,
            check: Check::Bytes,
            ..Self::new(workload, data)
        }
    }

    /// The files that are read.
    pub fn files(&self) -> &'d [File] {
        self.data.files(self.set)
    }

    /// Positions of files (below `count`) in the order in which they are read.
    pub fn order(&self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        let is_shuffled = !matches!(
            self.workload,
            Workload::Sequential | Workload::Tensors | Workload::TensorsCopied
        );
        if is_shuffled {
            let mut random = Random::new(self.seed);
            for last in (1..count).rev() {
                order.swap(last, random.below(last as u64 + 1) as usize);
            }
        }
        order
    }

    /// Reads below `root`.
    ///
    /// # Errors
    /// If a file cannot be read, or what is read is not what was written.
    pub fn run(&self, root: &Path) -> Result<Pass> {
        match self.workload {
            Workload::Sequential => sequential::run(root, self),
            Workload::Epoch => epoch::run(root, self),
            Workload::Random => random::run(root, self),
            Workload::Columns => columns::run(root, self),
            Workload::Tensors | Workload::TensorsCopied | Workload::TensorsShuffled => {
                tensors::run(root, self)
            }
            Workload::Walk => walk::run(root, self),
        }
    }
}
