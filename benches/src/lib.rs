//! Measurements: what a mount does beside the limit of the same machine in the same run.
//!
//! Every figure is taken several times and given as median and spread; comparisons are
//! made pair by pair, because a shared machine's speed drifts.

pub mod chart;
pub mod contest;
pub mod data;
#[cfg(test)]
mod golden;
pub mod hit_ratio;
pub mod machine;
pub mod memory;
pub mod meter;
pub mod metrics;
pub mod object;
pub mod page;
pub mod page_cache;
pub mod process;
pub mod raw_get;
pub mod report;
pub mod sample;
pub mod sequential;
pub mod show;
pub mod site;
pub mod subject;
pub mod table;
pub mod trace;
pub mod workload;

/// What a panic said.
pub(crate) fn panic_words(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("panicked")
}
