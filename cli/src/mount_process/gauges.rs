//! What a mount shows and how it is read, as metrics.

use std::sync::Arc;

use forebay_core::metric::{self, Measured, Reading};

use super::Service;

/// The build, the dataset version that new opens see, and the reads of the kernel.
#[derive(Debug)]
pub(super) struct Gauges {
    service: Arc<Service>,
}

impl Gauges {
    pub(super) fn new(service: &Arc<Service>) -> Self {
        Self {
            service: Arc::clone(service),
        }
    }
}

impl Measured for Gauges {
    fn readings(&self) -> Vec<Reading> {
        let totals = self.service.current().totals();
        let fuse = self.service.mount().fs().stats().snapshot();
        let plan = self.service.plan_use().unwrap_or_default();
        let wait_seconds = Reading {
            metric: &metric::FUSE_WAIT_SECONDS,
            labels: Vec::new(),
            value: fuse.waited.as_secs_f64(),
        };
        let mut readings = vec![
            Reading::labelled(&metric::BUILD_INFO, env!("CARGO_PKG_VERSION"), 1),
            Reading::plain(&metric::DATASET_FILES, totals.files),
            Reading::plain(&metric::DATASET_BYTES, totals.bytes),
            Reading::plain(&metric::DATASET_SKIPPED, totals.skipped),
            Reading::plain(&metric::FUSE_READS, fuse.reads),
            Reading::plain(&metric::FUSE_READ_BYTES, fuse.read_bytes),
            Reading::plain(&metric::FUSE_WAITS, fuse.waits),
            wait_seconds,
            Reading::plain(&metric::FUSE_OPEN_HANDLES, fuse.open_handles),
            Reading::plain(&metric::PREFETCH_UNUSED_BYTES, fuse.unused_bytes),
            Reading::plain(&metric::PLAN_ENTRIES, plan.entries),
            Reading::plain(&metric::PLAN_POSITION, plan.position),
            Reading::plain(&metric::PLAN_AHEAD_BYTES, plan.ahead_bytes),
        ];
        let opens = fuse.opens.into_iter();
        readings
            .extend(opens.map(|(read, count)| Reading::labelled(&metric::FUSE_OPENS, read, count)));
        let errors = fuse.errors.into_iter();
        readings.extend(
            errors.map(|(errno, count)| Reading::labelled(&metric::FUSE_ERRORS, errno, count)),
        );
        readings
    }
}
