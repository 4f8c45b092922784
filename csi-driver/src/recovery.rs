//! After a start, and from time to time: what is on the node is compared with what should
//! be there, and mended.
//!
//! - A mount that somebody shows and nobody serves is served again.
//! - A mount that nobody shows is ended; so are its directory and its note.
//! - A process that serves a mount that nobody knows of is ended.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::shared::SharedMounts;

/// Looks at every shared mount once. What cannot be mended is logged, and tried again the
/// next time.
pub(crate) async fn sweep(shared: &SharedMounts) {
    let keys = match shared.keys() {
        Ok(keys) => keys,
        Err(error) => {
            tracing::error!(%error, "the mounts of this node cannot be listed");
            return;
        }
    };
    for key in keys {
        if let Err(error) = shared.reconcile(&key).await {
            tracing::error!(mount = %key, %error, "not repaired");
        }
    }
    if let Err(error) = shared.end_strays().await {
        tracing::warn!(%error, "processes of unknown mounts were not looked for");
    }
}

/// Sweeps every `every` until `stop`.
pub(crate) async fn watch(shared: Arc<SharedMounts>, every: Duration, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => sweep(&shared).await,
        }
    }
}
