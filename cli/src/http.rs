//! Metrics and health over HTTP, on TCP or a Unix socket.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use forebay_core::metric::{self, Measured, Metric, MetricKind, Reading};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::exit::{Exit, Failure};
use crate::options::MetricsAddr;

/// The content type of the text that [`prometheus_client::encoding::text`] writes.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Why metrics cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("serve metrics at {address}")]
pub struct Error {
    address: String,
    source: io::Error,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(Exit::Failed, error).next("choose another address with --metrics, or off")
    }
}

/// A socket that is listened on, and what it is called.
#[derive(Debug)]
pub struct Endpoint {
    address: String,
    listener: Listener,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Endpoint {
    /// Listens at `address`, or at the Unix socket `default`; `None` if it is off.
    ///
    /// # Errors
    /// If the address is taken or may not be used.
    pub async fn bind(
        address: Option<&MetricsAddr>,
        default: PathBuf,
    ) -> Result<Option<Self>, Error> {
        let address = address.cloned().unwrap_or(MetricsAddr::Unix(default));
        let listener = match &address {
            MetricsAddr::Off => return Ok(None),
            MetricsAddr::Tcp(address) => TcpListener::bind(address).await.map(Listener::Tcp),
            MetricsAddr::Unix(path) => crate::socket::listen(path).map(Listener::Unix),
        };
        let listener = listener.map_err(|source| Error {
            address: address.to_string(),
            source,
        })?;
        // The port may have been 0.
        let address = match &listener {
            Listener::Tcp(listener) => listener.local_addr().map(|bound| bound.to_string()),
            Listener::Unix(_) => Ok(address.to_string()),
        };
        let address = address.map_err(|source| Error {
            address: "its own address".into(),
            source,
        })?;
        Ok(Some(Self { address, listener }))
    }

    /// Where it listens: `host:port` or `unix:PATH`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Serves `/metrics` and `/healthz` until `stop`.
    pub fn serve(
        self,
        measured: Vec<Arc<dyn Measured>>,
        stop: CancellationToken,
    ) -> JoinHandle<io::Result<()>> {
        let app = router(measured);
        let stopped = stop.cancelled_owned();
        tokio::spawn(async move {
            match self.listener {
                Listener::Tcp(listener) => {
                    axum::serve(listener, app)
                        .with_graceful_shutdown(stopped)
                        .await
                }
                Listener::Unix(listener) => {
                    axum::serve(listener, app)
                        .with_graceful_shutdown(stopped)
                        .await
                }
            }
        })
    }
}

fn router(measured: Vec<Arc<dyn Measured>>) -> Router {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Measurements(measured)));
    let registry = Arc::new(registry);
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(move || async move { scrape(&registry) }))
}

fn scrape(registry: &Registry) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Reads everything that is measured when somebody asks.
#[derive(Debug)]
struct Measurements(Vec<Arc<dyn Measured>>);

impl Collector for Measurements {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let readings: Vec<Reading> = self.0.iter().flat_map(|part| part.readings()).collect();
        for metric in metric::ALL {
            let mut values = readings
                .iter()
                .filter(|found| found.metric == metric)
                .peekable();
            let Some(kind) = values.peek().and(metric_type(metric)) else {
                continue;
            };
            let mut family = encoder.encode_descriptor(metric.name, metric.help, None, kind)?;
            for reading in values {
                let labels: Vec<_> = metric
                    .labels
                    .iter()
                    .copied()
                    .zip(reading.labels.iter().copied())
                    .collect();
                if labels.is_empty() {
                    encode_value(&mut family, metric.kind, reading.value)?;
                } else {
                    let mut labelled = family.encode_family(&labels)?;
                    encode_value(&mut labelled, metric.kind, reading.value)?;
                }
            }
        }
        Ok(())
    }
}

/// A single reading is no histogram: those have no place in a [`Reading`] yet.
fn metric_type(metric: &Metric) -> Option<MetricType> {
    match metric.kind {
        MetricKind::Counter => Some(MetricType::Counter),
        MetricKind::Gauge => Some(MetricType::Gauge),
        MetricKind::Histogram => None,
    }
}

fn encode_value(
    encoder: &mut MetricEncoder<'_>,
    kind: MetricKind,
    value: f64,
) -> Result<(), std::fmt::Error> {
    match kind {
        MetricKind::Counter => encoder.encode_counter::<NoLabelSet, f64, f64>(&value, None),
        MetricKind::Gauge | MetricKind::Histogram => encoder.encode_gauge(&value),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;

    #[derive(Debug)]
    struct Fixed;

    impl Measured for Fixed {
        fn readings(&self) -> Vec<Reading> {
            vec![
                Reading::plain(&metric::ORIGIN_REQUESTS, 3),
                Reading::labelled(&metric::ORIGIN_ERRORS, "throttled", 2),
                Reading::plain(&metric::CACHE_USED, 7),
            ]
        }
    }

    async fn get(socket: &std::path::Path, path: &str) -> String {
        let mut stream = UnixStream::connect(socket).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn counters_and_gauges_are_served_under_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("m.sock");
        let endpoint = Endpoint::bind(None, socket.clone()).await.unwrap().unwrap();
        let stop = CancellationToken::new();
        let serving = endpoint.serve(vec![Arc::new(Fixed)], stop.clone());
        let answer = get(&socket, "/metrics").await;
        assert!(
            answer.contains("forebay_origin_requests_total 3"),
            "{answer}"
        );
        assert!(
            answer.contains("forebay_origin_errors_total{kind=\"throttled\"} 2"),
            "{answer}"
        );
        assert!(answer.contains("forebay_cache_used_bytes 7"), "{answer}");
        assert!(answer.trim_end().ends_with("# EOF"), "{answer}");
        assert!(get(&socket, "/healthz").await.starts_with("HTTP/1.1 200"));
        stop.cancel();
        serving.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_taken_address_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let error = Endpoint::bind(Some(&MetricsAddr::Tcp(address.clone())), PathBuf::new())
            .await
            .unwrap_err();
        assert!(error.to_string().contains(&address));
        assert!(
            Endpoint::bind(Some(&MetricsAddr::Off), PathBuf::new())
                .await
                .unwrap()
                .is_none()
        );
    }
}
