//! A cache behind the socket of a server: what happens when either side goes away.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use forebay_cache_client::{Client, ClientConfig, ConnectError, Wanted};
use forebay_cache_server::fill::FillConfig;
use forebay_cache_server::local::{
    self, Attached, ClientStats, Datasets, LocalConfig, LocalServer,
};
use forebay_cache_server::node::{NodeCache, Summary, WarmupProgress};
use forebay_cache_server::origin::Fault;
use forebay_core::cache::{Cache, CacheError};
use forebay_core::manifest::{EntryId, VersionId};
use forebay_core::{ByteRange, ErrorKind};
use forebay_proto::local::{
    Attach, FrameReader, FrameWriter, Hello, Reply, Report, Request, StoredVersion,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::fixture::{MIB, Node, bytes_of, pattern};

const GRACE: Duration = Duration::from_millis(300);

/// The one dataset of the test's node.
#[derive(Debug)]
struct OneDataset {
    node: Arc<NodeCache>,
    version: VersionId,
    manifest: PathBuf,
}

impl Datasets for OneDataset {
    fn attach<'a>(
        &'a self,
        attach: Attach,
        listed: &'a (dyn Fn(u64, u64) + Send + Sync),
    ) -> BoxFuture<'a, Result<Attached, CacheError>> {
        async move {
            if attach.dataset != "d" {
                return Err(CacheError::new(ErrorKind::NotFound, "no such dataset"));
            }
            listed(1, 2);
            Ok(Attached {
                version: self.version,
                manifest: File::open(&self.manifest).unwrap(),
                origin_unreachable: false,
            })
        }
        .boxed()
    }

    fn versions(&self, _: String) -> BoxFuture<'_, Result<Vec<StoredVersion>, CacheError>> {
        let stored = StoredVersion {
            version: self.version,
            listed_unix_seconds: 7,
            files: 1,
            bytes: 2,
        };
        futures::future::ready(Ok(vec![stored])).boxed()
    }

    fn report(&self, version: VersionId) -> BoxFuture<'_, Result<Report, CacheError>> {
        async move {
            let census = self.node.census(version).await?;
            Ok(Report {
                bytes: census.bytes,
                files: census.files,
                ..Report::default()
            })
        }
        .boxed()
    }

    fn warmup<'a>(
        &'a self,
        version: VersionId,
        runs: Vec<(u32, u32)>,
        progress: &'a WarmupProgress,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Summary, CacheError>> {
        async move {
            let files: Vec<_> = runs
                .into_iter()
                .flat_map(|(first, count)| (first..first + count).map(EntryId))
                .collect();
            self.node.warmup(version, &files, progress, cancel).await
        }
        .boxed()
    }
}

/// A server of a node's cache, and a client of it.
pub(crate) struct Separate {
    pub(crate) client: Arc<Client>,
    server: Server,
}

struct Server {
    local: Arc<LocalServer>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Server {
    fn start(node: &Node) -> Self {
        let datasets = OneDataset {
            node: Arc::clone(&node.cache),
            version: node.version,
            manifest: node.manifest_path(),
        };
        let stop = CancellationToken::new();
        let config = LocalConfig {
            grace: GRACE,
            ..LocalConfig::default()
        };
        let cache = Arc::clone(&node.cache);
        let local = LocalServer::new(cache, Arc::new(datasets), config, stop.clone());
        let listener = local::bind(&node.socket(), None).unwrap();
        let serving = tokio::spawn(Arc::clone(&local).serve(listener));
        Self {
            local,
            stop,
            serving,
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.serving.await.unwrap();
    }
}

impl Separate {
    pub(crate) async fn start(node: &Node) -> Self {
        let server = Server::start(node);
        let client = client(node).await;
        Self { client, server }
    }

    /// A server for a client that is there already.
    pub(crate) fn serve(node: &Node, client: &Arc<Client>) -> Self {
        Self {
            client: Arc::clone(client),
            server: Server::start(node),
        }
    }

    pub(crate) fn stats(&self) -> Arc<ClientStats> {
        Arc::clone(self.server.local.stats())
    }

    pub(crate) async fn stop(self) {
        self.server.stop().await;
    }
}

async fn client(node: &Node) -> Arc<Client> {
    let config = ClientConfig {
        socket: node.socket(),
        patience: Duration::from_secs(5),
    };
    let client = Client::connect(config).await.unwrap();
    let attached = client.attach("d", Wanted::Latest, &mut |_, _| {}).await;
    assert_eq!(attached.unwrap().version, node.version);
    client
}

pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{what}"));
}

const FIRST: ByteRange = ByteRange::at(0, MIB as u64);
const SECOND: ByteRange = ByteRange::at(MIB as u64, MIB as u64);

#[tokio::test]
async fn a_dataset_is_asked_for_by_name_and_its_manifest_comes_as_a_descriptor() {
    let node = Node::start(&[("a", pattern(10))]).await;
    let separate = Separate::start(&node).await;
    let mut listed = Vec::new();
    let mut note = |objects, bytes| listed.push((objects, bytes));
    let attached = separate.client.attach("d", Wanted::Latest, &mut note).await;
    let attached = attached.unwrap();
    let len = attached.manifest.metadata().unwrap().len();
    assert_eq!(len, node.manifest_path().metadata().unwrap().len());
    let unknown = separate.client.attach("x", Wanted::Latest, &mut note).await;
    assert_eq!(unknown.unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(listed, [(1, 2)]);
    let versions = separate.client.versions("d").await.unwrap();
    assert_eq!(versions[0].version, node.version);
}

#[tokio::test]
async fn what_is_present_stays_readable_while_the_server_is_gone() {
    let node = Node::start(&[("a", pattern(3 * MIB))]).await;
    let separate = Separate::start(&node).await;
    let client = &separate.client;
    let lease = client.lease(node.file("a")).await.unwrap();
    client.ensure(&lease, FIRST).await.unwrap();
    separate.server.stop().await;
    let ready = client.ready(&lease, FIRST).expect("known to be present");
    assert_eq!(bytes_of(&ready, FIRST), pattern(3 * MIB)[..MIB]);
}

#[tokio::test]
async fn who_waits_when_the_server_goes_is_served_by_the_next_one() {
    let mut node = Node::start(&[("a", pattern(3 * MIB))]).await;
    let separate = Separate::start(&node).await;
    let client = Arc::clone(&separate.client);
    let lease = client.lease(node.file("a")).await.unwrap();
    client.ensure(&lease, FIRST).await.unwrap();
    node.origin.on_reads([Fault::Hang]);
    let waiting = client.ensure(&lease, SECOND);
    let again = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        separate.server.stop().await;
        node.restart().await;
        Server::start(&node)
    };
    let (found, server) = tokio::join!(waiting, again);
    let found = found.unwrap();
    assert_eq!(bytes_of(&found, SECOND), pattern(3 * MIB)[MIB..2 * MIB]);
    // The lease is held in the new server, and the old file is still what is read.
    assert_eq!(server.local.stats().leases(), 1);
    let found = client.ensure(&lease, FIRST).await.unwrap();
    assert_eq!(bytes_of(&found, FIRST), pattern(3 * MIB)[..MIB]);
}

#[tokio::test]
async fn without_a_server_a_wait_ends_when_patience_does() {
    let node = Node::start(&[("a", pattern(MIB))]).await;
    let server = Server::start(&node);
    let config = ClientConfig {
        socket: node.socket(),
        patience: Duration::from_millis(300),
    };
    let client = Client::connect(config).await.unwrap();
    let attached = client.attach("d", Wanted::Latest, &mut |_, _| {}).await;
    attached.unwrap();
    let lease = client.lease(node.file("a")).await.unwrap();
    server.stop().await;
    let error = client.ensure(&lease, FIRST).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.to_string().contains("cache.sock"), "{error}");
}

#[tokio::test]
async fn leases_of_a_client_that_dies_end_after_the_grace_time() {
    let node = Node::start(&[("a", pattern(MIB))]).await;
    let server = Server::start(&node);
    // A client that says nothing more, as one that was killed.
    let stream = Arc::new(UnixStream::connect(node.socket()).await.unwrap());
    let (writer, mut reader) = (
        FrameWriter::new(Arc::clone(&stream)),
        FrameReader::new(stream),
    );
    let hello = Request::Hello(Hello {
        oldest: 1,
        newest: 9,
        token: [7; 16],
    });
    let lease = Request::Lease(node.file("a"));
    for (number, request) in [(1, hello), (2, lease)] {
        writer.write(&request.frame(number), None).await.unwrap();
        reader.next().await.unwrap();
    }
    assert_eq!(server.local.stats().leases(), 1);
    let died = tokio::time::Instant::now();
    drop((writer, reader));
    until("the connection ends", || {
        server.local.stats().connections() == 0
    })
    .await;
    until("the lease ends", || server.local.stats().leases() == 0).await;
    assert!(died.elapsed() >= GRACE, "kept for the grace time");
}

#[tokio::test]
async fn a_client_that_closes_keeps_nothing() {
    let node = Node::start(&[("a", pattern(MIB))]).await;
    let separate = Separate::start(&node).await;
    let stats = Arc::clone(separate.server.local.stats());
    let lease = separate.client.lease(node.file("a")).await.unwrap();
    assert_eq!(stats.leases(), 1);
    drop(lease);
    until("the lease is given back", || stats.leases() == 0).await;
    let _lease = separate.client.lease(node.file("a")).await.unwrap();
    let closed = tokio::time::Instant::now();
    separate.client.close();
    until("all is given back", || stats.leases() == 0).await;
    assert!(closed.elapsed() < GRACE);
}

#[tokio::test]
async fn a_warm_up_is_watched_and_ends_with_what_is_verified() {
    let objects = [("a", pattern(9 * MIB)), ("b", pattern(3))];
    let node = Node::start(&objects).await;
    let separate = Separate::start(&node).await;
    let mut files = [node.file("a").entry, node.file("b").entry];
    files.sort_unstable();
    let mut last = None;
    let mut progress = |counts| last = Some(counts);
    let warmed = separate.client.warmup(node.version, &files, &mut progress);
    let (end, failures) = warmed.await.unwrap();
    assert_eq!((end.files_done, end.files_failed), (2, 0));
    assert_eq!(end.bytes_done, 9 * MIB as u64 + 3);
    assert!(failures.is_empty());
    assert!(last.is_some());
    let report = separate.client.report(node.version).await.unwrap();
    assert_eq!((report.files, report.bytes), (2, end.bytes_done));
}

#[tokio::test]
async fn a_client_that_breaks_the_rules_is_disconnected_and_the_others_are_not() {
    let node = Node::start(&[("a", pattern(MIB))]).await;
    let separate = Separate::start(&node).await;
    let broken: [Vec<u8>; 4] = [
        b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec(),
        Request::Release(1).frame(1),
        vec![0xff; 100],
        [hello(), Request::Whole(77).frame(2)].concat(),
    ];
    for bytes in broken {
        let stream = Arc::new(UnixStream::connect(node.socket()).await.unwrap());
        let writer = FrameWriter::new(Arc::clone(&stream));
        let mut reader = FrameReader::new(stream);
        writer.write(&bytes, None).await.unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(2), async {
            while reader.next().await.is_ok() {}
        });
        ended.await.expect("disconnected at once");
    }
    let lease = separate.client.lease(node.file("a")).await.unwrap();
    separate.client.ensure(&lease, FIRST).await.unwrap();
}

fn hello() -> Vec<u8> {
    Request::Hello(Hello {
        oldest: 1,
        newest: 1,
        token: [1; 16],
    })
    .frame(1)
}

#[tokio::test]
async fn a_client_of_another_time_is_told_which_versions_are_spoken() {
    let node = Node::start(&[("a", pattern(1))]).await;
    let _server = Server::start(&node);
    let stream = Arc::new(UnixStream::connect(node.socket()).await.unwrap());
    let writer = FrameWriter::new(Arc::clone(&stream));
    let mut reader = FrameReader::new(stream);
    let hello = Request::Hello(Hello {
        oldest: 8,
        newest: 9,
        token: [1; 16],
    });
    writer.write(&hello.frame(1), None).await.unwrap();
    let frame = reader.next().await.unwrap();
    let reply = Reply::decode(frame.header.kind, &frame.payload).unwrap();
    let Reply::Failed { message, .. } = reply else {
        panic!("{reply:?}");
    };
    assert!(message.contains("8 to 9"), "{message}");
}

#[tokio::test]
async fn a_socket_without_a_server_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let config = ClientConfig {
        socket: dir.path().join("nobody.sock"),
        patience: Duration::from_secs(5),
    };
    let error = Client::connect(config).await.unwrap_err();
    assert!(matches!(error, ConnectError::NoServer { .. }));
    assert!(error.to_string().contains("nobody.sock"), "{error}");
}

#[tokio::test]
async fn hits_are_answered_without_a_message() {
    let config = FillConfig::default();
    let node = Node::start_with(&[("a", pattern(8 * MIB))], config, 1 << 30).await;
    node.read("a", ByteRange::at(0, 8 * MIB as u64))
        .await
        .unwrap();
    let separate = Separate::start(&node).await;
    let lease = separate.client.lease(node.file("a")).await.unwrap();
    // The server is gone, and still each read of what is present is answered.
    separate.server.stop().await;
    for at in 0..8 * MIB as u64 / 4096 {
        let range = ByteRange::at(at * 4096, 4096);
        assert!(separate.client.ready(&lease, range).is_some());
    }
    assert!(separate.client.whole(&lease).await.is_some());
}
