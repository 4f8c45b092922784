//! What readers have seen that they should not.

use forebay_tests::Seen;

use crate::report::Report;

/// Adds to the report how many errors and wrong bytes readers have seen.
pub(super) fn tell(report: &mut Report, item: &str, readers: usize, seen: &[&Seen]) {
    let faults: Vec<_> = seen.iter().flat_map(|one| &one.faults).collect();
    let operations: u64 = seen.iter().map(|one| one.operations).sum();
    let bytes: u64 = seen.iter().map(|one| one.bytes).sum();
    let figure = format!(
        "{} in {operations} operations, {} MiB compared",
        faults.len(),
        bytes >> 20
    );
    let met = faults.is_empty() && operations > 0 && bytes > 0;
    let errors = format!("{item}: errors and wrong bytes of {readers} readers");
    report.line(met, &errors, figure, "0");
    for fault in faults.iter().take(5) {
        println!("       {fault}");
    }
}
