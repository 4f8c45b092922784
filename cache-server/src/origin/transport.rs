//! The HTTP client under the origins.

use std::error::Error as StdError;
use std::time::Duration;

use reqwest::redirect::Policy;

use super::Error;

/// A server that is there answers a SYN within this time, or the route to it is gone.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes a client for one server.
///
/// HTTP/1 only: many connections carry more than many streams of one. No limit on the
/// whole request: how long a read may take is for the retrying wrapper to say.
pub(super) fn client(https: bool, idle_connections: usize) -> reqwest::Result<reqwest::Client> {
    install_crypto_provider();
    let builder = reqwest::Client::builder()
        .http1_only()
        .redirect(Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .pool_max_idle_per_host(idle_connections)
        .user_agent(concat!("forebay/", env!("CARGO_PKG_VERSION")));
    if https {
        return builder.build();
    }
    // Without https no certificate is ever looked at, and a machine that has none
    // installed can still read from a server on its network.
    builder.tls_certs_only([]).build()
}

/// Names the process's one source of cryptography, which the HTTP clients insist on.
///
/// `main` does so first thing; here it is repeated for whoever uses the library by
/// itself. The first one counts.
pub(crate) fn install_crypto_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A transport error, as the origin error that it is for `what`.
pub(super) fn unreachable(what: &str, server: &str, error: &reqwest::Error) -> Error {
    let verb = if error.is_connect() {
        "connect to"
    } else {
        "talk to"
    };
    let reason = format!("{verb} {server}: {}", root_cause(error));
    Error::Unreachable {
        what: what.to_owned(),
        reason,
    }
}

/// The innermost error: the layers above it only say that a request failed, and may
/// repeat its URL.
pub(super) fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
