//! Several nodes in one process, each with a store, an address and a view of the members.

#![expect(
    clippy::unwrap_used,
    reason = "a fixture that cannot be set up fails its test"
)]

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use forebay_cache_server::cluster::{
    Cluster, ClusterConfig, Clustered, Feed, MemberInfo, PeerServer, Security,
};
use forebay_cache_server::eviction::PolicyKind;
use forebay_cache_server::fill::FillConfig;
use forebay_cache_server::node::NodeCache;
use forebay_cache_server::origin::{Faulty, MemoryOrigin, Origin};
use forebay_cache_server::store::{Store, StoreConfig, TierConfig, TierKind};
use forebay_core::ByteRange;
use forebay_core::cache::{Availability, Cache, CacheError, FileRef};
use forebay_core::manifest::{Builder, Listed, Manifest, Source};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

pub(crate) const MIB: usize = 1 << 20;

/// `len` bytes that differ from chunk to chunk and from object to object.
pub(crate) fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| (i % 251) as u8 ^ (i / MIB) as u8 ^ seed as u8)
        .collect()
}

/// An origin and nodes that read from it.
pub(crate) struct Site {
    pub(crate) origin: Arc<Faulty>,
    pub(crate) feed: Feed,
    /// What the cache of a node may hold.
    pub(crate) quota: u64,
    /// What goes first there.
    pub(crate) policy: PolicyKind,
    manifest: Arc<Manifest>,
    contents: Vec<(String, Vec<u8>)>,
    dir: TempDir,
}

/// One node.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) cache: Arc<NodeCache>,
    stop: CancellationToken,
}

impl Site {
    /// `count` objects of `len` bytes.
    pub(crate) fn new(count: usize, len: usize) -> Self {
        let dir = TempDir::new().unwrap();
        let memory = Arc::new(MemoryOrigin::default());
        let contents: Vec<_> = (0..count)
            .map(|n| (format!("o{n}"), pattern(n, len)))
            .collect();
        let source = Source {
            name: String::new(),
            url: memory.identity().to_owned(),
        };
        let mut builder = Builder::new(dir.path(), vec![source]).unwrap();
        for (key, bytes) in &contents {
            let listed = memory.put(key, bytes.clone());
            let modified = listed.modified.duration_since(UNIX_EPOCH).unwrap();
            let object = Listed {
                key: &listed.key,
                size: listed.size,
                modified: modified.as_nanos() as i64,
                etag: listed.etag.as_str(),
            };
            builder.push(0, object).unwrap();
        }
        let version = builder.finish().unwrap();
        let manifest = dir.path().join(format!("{version}.manifest"));
        Self {
            origin: Arc::new(Faulty::new(memory as Arc<dyn Origin>)),
            feed: Feed::new(Vec::new()),
            quota: 1 << 30,
            policy: PolicyKind::default(),
            manifest: Arc::new(Manifest::open(&manifest).unwrap()),
            contents,
            dir,
        }
    }

    /// Starts `count` nodes that know each other.
    pub(crate) async fn nodes(&self, count: usize) -> Vec<Node> {
        let mut nodes = Vec::new();
        for _ in 0..count {
            nodes.push(self.node("test", Security::Insecure).await);
        }
        self.list(&nodes);
        for node in &nodes {
            node.sees(count).await;
        }
        nodes
    }

    /// Lists these nodes as the members.
    pub(crate) fn list(&self, nodes: &[Node]) {
        let members = nodes.iter().map(|node| MemberInfo::new(&node.name));
        self.feed.publish(members.collect());
    }

    /// Starts a node, which is not listed yet.
    pub(crate) async fn node(&self, cluster: &str, security: Security) -> Node {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let name = listener.local_addr().unwrap().to_string();
        let stop = CancellationToken::new();
        let config = ClusterConfig {
            name: cluster.into(),
            member: name.clone(),
            replicas: 1,
            security,
        };
        let cluster = Cluster::join(config, &self.feed, stop.clone());
        let cache = self.cache(&self.dir_of(&name));
        let inner = Arc::clone(&self.origin) as Arc<dyn Origin>;
        let clustered = Clustered::new(Arc::clone(&inner), Arc::clone(&cluster));
        cache.attach(Arc::clone(&self.manifest), vec![Arc::new(clustered)]);
        let server = PeerServer::new(Arc::clone(&cluster), Arc::clone(&cache));
        server.add_origin(inner);
        tokio::spawn(server.serve(listener, stop.clone()));
        Node {
            name,
            cluster,
            cache,
            stop,
        }
    }

    fn cache(&self, dir: &Path) -> Arc<NodeCache> {
        let tier = TierConfig::new(TierKind::Disk, dir, self.quota);
        let config = StoreConfig {
            policy: self.policy,
            ..StoreConfig::new(vec![tier])
        };
        let store = Store::open(config).unwrap();
        let config = FillConfig {
            origin_timeout: Duration::from_secs(20),
            ..FillConfig::default()
        };
        NodeCache::new(store, config, Handle::current())
    }

    /// Reads every object through `node`, in an order of its own, and compares.
    pub(crate) async fn read_all(&self, node: &Node, first: usize) -> Result<(), CacheError> {
        let count = self.contents.len();
        for n in (0..count).map(|n| (n + first) % count) {
            let (key, content) = &self.contents[n];
            let read = self.read(node, key).await?;
            assert!(
                read == *content,
                "wrong bytes of {key} through {}",
                node.name
            );
        }
        Ok(())
    }

    pub(crate) async fn read(&self, node: &Node, key: &str) -> Result<Vec<u8>, CacheError> {
        self.read_range(node, key, ByteRange::new(0, u64::MAX))
            .await
    }

    /// Reads as much of `range` as the object has.
    pub(crate) async fn read_range(
        &self,
        node: &Node,
        key: &str,
        range: ByteRange,
    ) -> Result<Vec<u8>, CacheError> {
        let file = FileRef {
            version: self.manifest.version(),
            entry: self.manifest.resolve(key.as_bytes()).unwrap(),
        };
        let lease = node.cache.lease(file).await?;
        let range = range.clamp_to(lease.size);
        match node.cache.ensure(&lease, range).await? {
            Availability::Inline(bytes) => Ok(bytes.into()),
            Availability::Backed(backing) => {
                let mut bytes = vec![0; range.len() as usize];
                backing
                    .file
                    .read_exact_at(&mut bytes, backing.offset + range.start())
                    .unwrap();
                Ok(bytes)
            }
        }
    }

    /// Flips a bit in each page of every file in which `node` keeps large objects.
    pub(crate) fn spoil(&self, node: &Node) {
        let objects = self.dir_of(&node.name).join("objects");
        let dirs = std::fs::read_dir(objects).unwrap().flatten();
        let files = dirs.flat_map(|dir| std::fs::read_dir(dir.path()).unwrap().flatten());
        let mut spoiled = 0;
        for file in files {
            let mut bytes = std::fs::read(file.path()).unwrap();
            bytes.iter_mut().step_by(4096).for_each(|byte| *byte ^= 1);
            std::fs::write(file.path(), bytes).unwrap();
            spoiled += 1;
        }
        assert!(spoiled > 0, "{} keeps nothing", node.name);
    }

    fn dir_of(&self, name: &str) -> PathBuf {
        self.dir.path().join(name.replace(':', "-"))
    }

    /// Bytes that were asked of the origin.
    pub(crate) fn origin_bytes(&self) -> u64 {
        let reads = self.origin.reads();
        reads.iter().map(|read| read.range.len()).sum()
    }

    /// Bytes of all objects.
    pub(crate) fn bytes(&self) -> u64 {
        self.contents
            .iter()
            .map(|(_, bytes)| bytes.len() as u64)
            .sum()
    }
}

impl Node {
    /// Waits until this node sees `count` members, itself included.
    pub(crate) async fn sees(&self, count: usize) {
        let waited = self.cluster.members_reach(count);
        let waited = tokio::time::timeout(Duration::from_secs(10), waited).await;
        waited.unwrap_or_else(|_| panic!("{:?} instead of {count}", self.cluster.members()));
    }

    /// Ends it at once: every connection breaks off.
    pub(crate) fn kill(&self) {
        self.stop.cancel();
    }
}
