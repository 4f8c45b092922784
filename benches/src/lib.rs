//! Measurements: what a mount does beside the limit of the same machine in the same run.
//!
//! Every figure is taken several times and given as median and spread; comparisons are
//! made pair by pair, because a shared machine's speed drifts.

pub mod machine;
pub mod object;
pub mod page_cache;
pub mod process;
pub mod raw_get;
pub mod report;
pub mod sample;
pub mod sequential;
pub mod show;
