//! Cache servers on machines of their own, an origin, and mounts that read through them.
//!
//! Each node is a [`Namespace`](crate::Namespace) with a real `forebay cache-server` in it
//! and a directory of its own; the origin is an in-process server on the machine's side of
//! the bridge.

use forebay_loopback_s3::LoopbackS3;

use crate::bucket::Bucket;
use crate::dataset::Dataset;
use crate::endpoint::Endpoint;
use crate::netns::Network;
use crate::scratch::Scratch;

mod authority;
mod node;
pub mod stranger;

pub use authority::Authority;
pub use node::Node;

/// How the servers of a cluster know each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// By certificates of one authority.
    Certificates,
    /// Not at all.
    Everybody,
}

/// What a cluster is to be like.
#[derive(Clone, Copy, Debug)]
pub struct ClusterShape {
    /// How many nodes are listed as members.
    pub nodes: u8,
    /// How many of them are started; the others can join later.
    pub started: u8,
    /// How many of the nodes, from the first on, keep nothing for the others.
    pub guests: u8,
    /// What each cache may hold, in bytes.
    pub cache: u64,
    /// How they trust each other.
    pub trust: Trust,
    /// Whether the caches are in memory, as a faster disk than this machine's would be.
    pub in_memory: bool,
}

impl ClusterShape {
    /// This many nodes, all started, with certificates and caches of this size.
    pub const fn of(nodes: u8, cache: u64) -> Self {
        Self {
            nodes,
            started: nodes,
            guests: 0,
            cache,
            trust: Trust::Certificates,
            in_memory: false,
        }
    }
}

/// A cluster of cache servers. Mounts of it must be dropped first.
#[derive(Debug)]
pub struct PeerCluster {
    nodes: Vec<Node>,
    origin: LoopbackS3,
    endpoint: Endpoint,
    authority: Authority,
    network: Network,
}

impl PeerCluster {
    /// The name under which the servers have the bucket.
    pub const DATASET: &'static str = "data";

    /// Starts the origin with `dataset` in it, and the servers; returns when those that
    /// were started see each other.
    ///
    /// # Panics
    /// Without root, and if something does not start.
    pub fn start(test: &str, shape: &ClusterShape, dataset: &Dataset) -> Self {
        let need = shape.cache * u64::from(shape.nodes);
        let scratch = match shape.in_memory {
            true => Scratch::in_memory(test, need),
            false => Scratch::new(test, need),
        };
        let network = Network::within(scratch, shape.nodes);
        let (origin, endpoint) = Endpoint::at(network.host().into());
        origin.create_bucket(Bucket::NAME);
        dataset.put_to(&origin, Bucket::NAME, "");
        let authority = Authority::new();
        let members: Vec<_> = network
            .namespaces()
            .iter()
            .zip(0..)
            .map(|(namespace, number)| {
                let weight = u8::from(number >= shape.guests);
                format!("{}:{},weight={weight}", namespace.address(), Node::PORT)
            })
            .collect();
        let nodes = network.namespaces().iter().enumerate();
        let nodes = nodes.map(|(number, namespace)| {
            let dir = network.scratch().dir(&format!("n{number}"));
            let node = Node::new(namespace.clone(), dir, &endpoint, shape.cache, &members);
            if shape.trust == Trust::Certificates {
                node.certify(&authority);
            }
            node
        });
        let cluster = Self {
            nodes: nodes.collect(),
            origin,
            endpoint,
            authority,
            network,
        };
        let started = &cluster.nodes[..shape.started.into()];
        started.iter().for_each(Node::start_server);
        started.iter().for_each(|node| node.sees(started.len()));
        cluster
    }

    /// The nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The origin.
    pub fn origin(&self) -> &LoopbackS3 {
        &self.origin
    }

    /// Bytes of objects that the origin has sent.
    pub fn origin_bytes(&self) -> u64 {
        self.origin.stats().object_bytes_sent
    }

    /// Where the origin is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Who has certified the servers.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }
}
