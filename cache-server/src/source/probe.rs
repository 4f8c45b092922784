//! The check at mount time: is there anything to list?

use std::sync::Arc;
use std::time::Duration;

use super::open::Opener;
use super::{Error, OriginConfig};
use crate::origin::{self, Depth, PageRequest};

/// How long the probe tries. With the five seconds that a lost connection attempt
/// takes, and the start of a process, it stays below the promised fifteen.
const TIMEOUT: Duration = Duration::from_secs(6);

/// See [`SourceSpec::probe`](super::SourceSpec::probe).
pub(super) async fn probe(opener: &Opener<'_>) -> Result<(), Error> {
    let config = OriginConfig {
        timeout: TIMEOUT,
        stall: TIMEOUT,
        idle_connections: 1,
        // What the mount reports are its own requests.
        stats: Arc::default(),
    };
    let origin = opener.open(&config)?;
    let first = PageRequest {
        prefix: b"",
        depth: Depth::One,
        after: None,
    };
    let url = || opener.spec.url.clone();
    let page = origin
        .list(first)
        .await
        .map_err(|error| explain(url(), error))?;
    let is_empty = page.objects.is_empty()
        && page.prefixes.is_empty()
        && page.unservable.is_empty()
        && page.next.is_none();
    if is_empty {
        Err(Error::Empty { url: url() })
    } else {
        Ok(())
    }
}

fn explain(url: String, error: origin::Error) -> Error {
    match error {
        origin::Error::NotFound { .. } => Error::NoSuchPlace { url },
        origin::Error::Forbidden { reason, .. } => Error::Denied { url, reason },
        origin::Error::Unreachable { reason, .. } | origin::Error::TimedOut { reason, .. } => {
            Error::NoAnswer { url, reason }
        }
        source @ (origin::Error::Changed { .. }
        | origin::Error::OutOfRange { .. }
        | origin::Error::Throttled { .. }
        | origin::Error::Server { .. }
        | origin::Error::Truncated { .. }
        | origin::Error::Protocol { .. }) => Error::Unlisted { url, source },
    }
}
