//! Work that blocks, away from the threads that must not.

use crate::exit::{Exit, Failure};

/// Runs what blocks on a thread for that.
///
/// # Errors
/// If the work broke off.
pub(crate) async fn off_runtime<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(|error| Failure::new(Exit::Failed, error))
}
