//! Somebody who speaks the servers' protocol, and may or may not be one of them.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use forebay_core::ByteRange;
use forebay_proto::peer::{NEWEST, OLDEST, ReadRequest, Request};
use rustix::process::Uid;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::{Authority, Node, PeerCluster};
use crate::bucket::Bucket;
use crate::dataset::File;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// What it shows when it is asked who it is.
#[derive(Clone, Copy, Debug)]
pub enum Shows<'a> {
    /// It speaks no TLS.
    Plain,
    /// No certificate.
    Nothing,
    /// One of this authority.
    Certificate(&'a Authority),
}

/// In which protocol it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// That of the bytes.
    Data,
    /// That of control calls.
    Control,
}

/// How a client of control calls begins: the preface of HTTP/2 and an empty frame of
/// settings (RFC 9113, 3.4 and 6.5), which every server answers with its own.
const CONTROL: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Asks a server for a file of the dataset in the words of a member.
#[derive(Clone, Debug)]
pub struct Stranger {
    address: String,
    words: Vec<u8>,
}

impl Stranger {
    /// One who wants `file` of `node`.
    pub fn new(cluster: &PeerCluster, node: &Node, file: &File) -> Self {
        // The same content again: for its validator.
        let etag = cluster
            .origin()
            .put_synthetic(Bucket::NAME, &file.path, file.size, file.seed);
        let origin = cluster.endpoint().url.trim_start_matches("http://");
        let hello = Request::Hello {
            oldest: OLDEST,
            newest: NEWEST,
            cluster: "forebay".into(),
            member: "203.0.113.255:7070".into(),
        };
        let read = Request::Read(ReadRequest {
            origin: format!("s3://{}@{origin}", Bucket::NAME),
            key: file.path.clone().into(),
            etag: format!("\"{etag}\""),
            size: file.size,
            range: ByteRange::new(0, file.size),
            present_only: false,
        });
        Self {
            address: node.address(),
            words: [hello.frame(), read.frame()].concat(),
        }
    }

    /// Asks the server, which `trusted` has certified; all that it answers.
    ///
    /// # Panics
    /// If nobody listens.
    pub fn ask(&self, trusted: &Authority, shows: Shows<'_>) -> Vec<u8> {
        self.ask_in(Words::Data, trusted, shows)
    }

    /// The same in the words of either protocol; those of control ask for nothing but how
    /// the server wants to be spoken to.
    ///
    /// # Panics
    /// As [`ask`](Self::ask).
    pub fn ask_in(&self, words: Words, trusted: &Authority, shows: Shows<'_>) -> Vec<u8> {
        let words = match words {
            Words::Data => &self.words[..],
            Words::Control => CONTROL,
        };
        let stream = self.connect();
        match shows {
            Shows::Plain => answer(stream, words),
            Shows::Nothing | Shows::Certificate(_) => {
                answer(StreamOwned::new(connection(trusted, shows), stream), words)
            }
        }
    }

    /// The certificate that the server shows to a member certified by `authority`; `None`
    /// if they do not shake hands.
    ///
    /// # Panics
    /// If nobody listens.
    pub fn shown(&self, authority: &Authority) -> Option<Vec<u8>> {
        let mut stream = self.connect();
        let mut connection = connection(authority, Shows::Certificate(authority));
        while connection.is_handshaking() {
            connection.complete_io(&mut stream).ok()?;
        }
        Some(connection.peer_certificates()?.first()?.to_vec())
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address);
        let stream = stream.unwrap_or_else(|error| panic!("connect to {}: {error}", self.address));
        let limited = stream.set_read_timeout(Some(PATIENCE));
        limited.expect("a time that is not zero");
        stream
    }
}

/// Says `words` and listens until the other side has nothing more to say.
fn answer(mut stream: impl Read + Write, words: &[u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    let said = stream.write_all(words);
    if said.and_then(|()| stream.flush()).is_ok() {
        // It ends with an error or by itself; what came before counts.
        let _ = stream.read_to_end(&mut answer);
    }
    answer
}

fn connection(trusted: &Authority, shows: Shows<'_>) -> ClientConnection {
    // An error says that a test before this one has installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(trusted.pem().as_bytes());
    let added = roots.add(root.expect("an authority's certificate is PEM"));
    added.expect("an authority's certificate can be trusted");
    let config = ClientConfig::builder().with_root_certificates(roots);
    let config = match shows {
        Shows::Certificate(authority) => {
            let (cert, key) = authority.certificate();
            let cert = CertificateDer::from_pem_slice(cert.as_bytes()).expect("PEM");
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
            let config = config.with_client_auth_cert(vec![cert], key);
            config.expect("the key belongs to the certificate")
        }
        Shows::Plain | Shows::Nothing => config.with_no_client_auth(),
    };
    let name = ServerName::try_from(Authority::NAME).expect("a DNS name");
    ClientConnection::new(Arc::new(config), name).expect("a usable configuration")
}

/// The ports at which something listens in the network of a process: TCP in state LISTEN,
/// and UDP at all.
///
/// # Panics
/// If there is no such process.
pub fn listening_ports(pid: u32) -> Vec<u16> {
    let mut ports = Vec::new();
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}"));
        for line in text.expect("a process runs").lines().skip(1) {
            // number, local address, remote address, state, … (man 5 proc)
            let mut fields = line.split_whitespace().skip(1);
            let (local, state) = (fields.next(), fields.nth(1));
            let port = local.and_then(|local| local.rsplit_once(':'));
            let port = port.and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
            if state == Some("0A") || table.starts_with("udp") {
                ports.extend(port);
            }
        }
    }
    ports
}

/// How many Unix sockets below `dir` are listened at in the network of a process.
///
/// # Panics
/// If there is no such process.
pub fn listening_sockets(pid: u32, dir: &Path) -> usize {
    let text = fs::read_to_string(format!("/proc/{pid}/net/unix")).expect("a process runs");
    let dir = dir.display().to_string();
    let listening = text.lines().filter(|line| {
        // The flag __SO_ACCEPTCON.
        line.split_whitespace().nth(3) == Some("00010000") && line.contains(&dir)
    });
    listening.count()
}

/// Whether the user of this number can connect to `socket`.
///
/// # Panics
/// If this is not run by root.
pub fn connects(socket: &Path, uid: u32) -> bool {
    let connect = move || {
        let uid = Uid::from_raw(uid);
        rustix::thread::set_thread_res_uid(uid, uid, uid).expect("root may");
        UnixStream::connect(socket).is_ok()
    };
    // In a thread of its own, whose user changes for good.
    thread::scope(|threads| threads.spawn(connect).join().expect("it does not panic"))
}
