//! A server inside the test that answers as a function says.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use crate::peers::Authority;

/// What is asked; nobody who asks these servers sends a body.
pub type Question = Request<()>;

/// What is answered.
pub type Answer = Response<Vec<u8>>;

type Answers = Arc<dyn Fn(&Question) -> Answer + Send + Sync>;

/// An answer without headers.
///
/// # Panics
/// If `status` is none.
pub fn answer(status: u16, body: impl Into<Vec<u8>>) -> Answer {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = StatusCode::from_u16(status).expect("a status");
    answer
}

/// A server of HTTP/1.1 on a free port of 127.0.0.1, gone when it is dropped.
#[derive(Debug)]
pub struct HttpServer {
    url: String,
    // Its end is that of all connections.
    _runtime: Runtime,
}

impl HttpServer {
    /// A server that answers as `answers` says.
    ///
    /// # Panics
    /// If there is no port or no thread to be had.
    pub fn start(answers: impl Fn(&Question) -> Answer + Send + Sync + 'static) -> Self {
        Self::listen(None, Arc::new(answers))
    }

    /// [`Self::start`] over TLS, with a certificate of `authority`.
    ///
    /// # Panics
    /// If there is no port or no thread to be had.
    pub fn start_tls(
        authority: &Authority,
        answers: impl Fn(&Question) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::listen(Some(acceptor(authority)), Arc::new(answers))
    }

    fn listen(tls: Option<TlsAcceptor>, answers: Answers) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a thread");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = runtime.block_on(TcpListener::bind(any)).expect("a port");
        let address = listener.local_addr().expect("a socket that listens");
        let scheme = if tls.is_some() { "https" } else { "http" };
        runtime.spawn(accept(listener, tls, answers));
        Self {
            url: format!("{scheme}://{address}"),
            _runtime: runtime,
        }
    }

    /// Its URL, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }
}

fn acceptor(authority: &Authority) -> TlsAcceptor {
    let (cert, key) = authority.certificate_for(&Ipv4Addr::LOCALHOST.to_string());
    let cert = CertificateDer::from_pem_slice(cert.as_bytes()).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_no_client_auth()
        .with_single_cert(vec![cert], key)
        .expect("a certificate and its key");
    TlsAcceptor::from(Arc::new(config))
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, answers: Answers) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, answers) = (tls.clone(), Arc::clone(&answers));
        tokio::spawn(async move {
            let Some(tls) = tls else {
                return serve(stream, answers).await;
            };
            // Who does not trust the certificate has gone again.
            if let Ok(stream) = tls.accept(stream).await {
                serve(stream, answers).await;
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, answers: Answers) {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let answer = answers(&request.map(drop));
        async move { Ok::<_, Infallible>(answer.map(|body| Full::new(Bytes::from(body)))) }
    });
    // A connection may break off whenever its other end likes.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
