//! What one pass took.

use std::time::Duration;

use crate::sample::Sample;

/// One pass of a workload.
#[derive(Clone, Debug, Default)]
pub struct Pass {
    /// Bytes read.
    pub bytes: u64,
    /// Files, reads or names, whichever the workload counts.
    pub operations: u64,
    /// From the first to the last.
    pub time: Duration,
    /// Processor time of the reader.
    pub cpu: Duration,
    /// Time of each operation in seconds, where the workload takes it.
    pub latencies: Sample,
}

impl Pass {
    /// MiB a second; operations a second where no bytes are read.
    pub fn rate(&self) -> f64 {
        let amount = match self.bytes {
            0 => self.operations as f64,
            bytes => bytes as f64 / f64::from(1 << 20),
        };
        amount / self.time.as_secs_f64()
    }

    /// What processor time is related to: GiB read, or millions of operations where no
    /// bytes are read.
    pub fn volume(&self) -> f64 {
        match self.bytes {
            0 => self.operations as f64 / 1e6,
            bytes => bytes as f64 / f64::from(1 << 30),
        }
    }
}
