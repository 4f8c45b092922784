//! Who has the right certificate, and what happens when it changes.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use forebay_cache_server::cluster::{Security, Tls, TlsFiles};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::fixture::{MIB, Node, Site};
use super::read_at_once;

/// Writes a certificate of `authority` for members, and returns what to load.
fn certificate(dir: &Path, authority: &Authority) -> TlsFiles {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["forebay-peer".to_owned()]).expect("a name");
    let cert = params.signed_by(&key, &authority.issuer).expect("signed");
    let files = TlsFiles {
        cert: dir.join("cert.pem"),
        key: dir.join("key.pem"),
        authority: dir.join("ca.pem"),
        name: "forebay-peer".into(),
    };
    std::fs::write(&files.cert, cert.pem()).expect("written");
    std::fs::write(&files.key, key.serialize_pem()).expect("written");
    std::fs::write(&files.authority, &authority.pem).expect("written");
    files
}

struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no name");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let cert = params.self_signed(&key).expect("signed");
        Self {
            pem: cert.pem(),
            issuer: rcgen::Issuer::new(params, key),
        }
    }
}

fn loaded(authority: &Authority) -> Security {
    let dir = tempfile::tempdir().expect("a directory");
    Security::Mutual(Tls::load(certificate(dir.path(), authority)).expect("usable"))
}

#[tokio::test(flavor = "multi_thread")]
async fn only_certificates_of_one_authority_talk() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    // In frames of a chunk, with one of a few bytes behind them.
    let site = Site::new(12, 2 * MIB + 5);
    let mut nodes = vec![
        site.node("test", loaded(&ours)).await,
        site.node("test", loaded(&ours)).await,
    ];
    site.list(&nodes);
    for node in &nodes {
        node.sees(2).await;
    }
    read_at_once(&site, &nodes).await;
    assert_eq!(site.origin_bytes(), site.bytes());
    let sent = |nodes: &[Node]| -> u64 {
        nodes
            .iter()
            .map(|node| node.cluster.stats().sent_bytes())
            .sum()
    };
    let before = sent(&nodes);
    // With a wrong certificate, and with none: listed, and still alone.
    nodes.push(site.node("test", loaded(&theirs)).await);
    nodes.push(site.node("test", Security::Insecure).await);
    site.list(&nodes);
    tokio::time::sleep(Duration::from_secs(1)).await;
    for node in &nodes[2..] {
        node.sees(1).await;
        site.read_all(node, 0).await.expect("from the origin");
    }
    nodes[0].sees(2).await;
    assert_eq!(sent(&nodes), before, "not a byte for strangers");
}

/// Connects to `node` with what is in `files`.
async fn connect(node: &Node, files: &TlsFiles) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(&files.authority).expect("PEM"))
        .expect("an authority");
    let cert = CertificateDer::from_pem_file(&files.cert).expect("PEM");
    let key = PrivateKeyDer::from_pem_file(&files.key).expect("PEM");
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![cert], key)
        .expect("usable");
    let stream = TcpStream::connect(&node.name).await?;
    let name = ServerName::try_from("forebay-peer").expect("a name");
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

/// The certificate that the other side has shown.
fn shown(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    let shown = stream.get_ref().1.peer_certificates();
    shown.expect("a server shows one")[0].to_vec()
}

/// Puts another certificate in the place of the one in `dir`, visibly later.
fn replace(dir: &Path, authority: &Authority) {
    let files = certificate(dir, authority);
    let later = SystemTime::now() + Duration::from_secs(5);
    for file in [&files.cert, &files.key, &files.authority] {
        let file = std::fs::File::options().write(true).open(file);
        let touched = file.and_then(|file| file.set_modified(later));
        touched.expect("touched");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_after_a_reload_is_shown_the_new_certificate() {
    let (old, new) = (Authority::new(), Authority::new());
    let dirs = [(); 3].map(|()| tempfile::tempdir().expect("a directory"));
    let [own, of_old, of_new] = dirs.each_ref().map(tempfile::TempDir::path);
    let files = certificate(own, &old);
    let (old_member, new_member) = (certificate(of_old, &old), certificate(of_new, &new));
    let tls = Tls::load(files.clone()).expect("usable");
    let site = Site::new(1, MIB);
    let node = site.node("test", Security::Mutual(Arc::clone(&tls))).await;
    let cert = |files: &TlsFiles| CertificateDer::from_pem_file(&files.cert).expect("PEM");

    let before = connect(&node, &old_member).await.expect("trusted");
    assert_eq!(shown(&before), cert(&files).to_vec());
    assert!(connect(&node, &new_member).await.is_err());

    // What cannot be used changes nothing.
    std::fs::write(&files.cert, "nonsense").expect("written");
    tls.refresh();
    let still = connect(&node, &old_member).await.expect("trusted");
    assert_eq!(shown(&still), shown(&before));

    replace(own, &new);
    tls.refresh();
    let after = connect(&node, &new_member).await.expect("trusted");
    assert_eq!(shown(&after), cert(&files).to_vec());
    assert_ne!(shown(&after), shown(&before));
    assert!(connect(&node, &old_member).await.is_err());
}

#[test]
fn a_certificate_without_its_key_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let files = certificate(dir.path(), &Authority::new());
    std::fs::remove_file(&files.key).expect("removed");
    let error = Tls::load(files).expect_err("no key").to_string();
    assert!(error.contains("key.pem"), "{error}");
}
