//! A server among the others of its cluster.

use std::sync::Arc;

use forebay_cache_server::cluster::{
    self, Cluster, Clustered, Dns, Feed, MemberService, Membership, PeerServer, Security, Tls,
    TlsError,
};
use forebay_cache_server::control::ControlPort;
use forebay_cache_server::node::NodeCache;
use forebay_cache_server::origin::Origin;
use forebay_proto::cache::v1::cache_member_server::CacheMemberServer;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{ClusterConfig, Members};
use crate::exit::{Exit, Failure};

/// This server's place in its cluster.
#[derive(Debug)]
pub(super) struct Peers {
    cluster: Arc<Cluster>,
    listener: TcpListener,
    security: Security,
    // Kept: members are looked up for as long as it lives.
    _membership: Box<dyn Membership>,
}

/// The part of it that runs.
#[derive(Debug)]
pub(super) struct Serving {
    cluster: Arc<Cluster>,
    server: Arc<PeerServer>,
    task: JoinHandle<()>,
    stop: CancellationToken,
    _membership: Box<dyn Membership>,
}

impl Peers {
    /// Reads the certificates, listens, and begins to look for the others.
    ///
    /// # Errors
    /// If the certificates cannot be used or the address is taken.
    pub(super) async fn join(
        config: &ClusterConfig,
        stop: &CancellationToken,
    ) -> Result<Self, Failure> {
        let security = match &config.tls {
            Some(files) => Security::Mutual(Tls::load(files.clone())?),
            None => {
                tracing::warn!("servers of the cluster talk without certificates, as asked for");
                Security::Insecure
            }
        };
        let not_listening = |error: std::io::Error| {
            let text = format!("listen to other servers at {}: {error}", config.listen);
            Failure::new(Exit::Failed, text).next("choose another address with --peer-listen")
        };
        let listener = TcpListener::bind(&config.listen)
            .await
            .map_err(not_listening)?;
        let own = listener.local_addr().map_err(not_listening)?;
        let membership: Box<dyn Membership> = match &config.members {
            Members::Listed(members) => Box::new(Feed::new(members.clone())),
            Members::Dns(name) => Box::new(Dns::start(name.clone())),
        };
        let own = cluster::ClusterConfig {
            name: config.name.clone(),
            member: config.address.clone().unwrap_or_else(|| own.to_string()),
            replicas: config.replicas,
            security: security.clone(),
        };
        Ok(Self {
            cluster: Cluster::join(own, &*membership, stop.clone()),
            listener,
            security,
            _membership: membership,
        })
    }

    /// `origin`, with the cluster before it.
    pub(super) fn before(cluster: &Arc<Cluster>, origin: Arc<dyn Origin>) -> Arc<dyn Origin> {
        Arc::new(Clustered::new(origin, Arc::clone(cluster)))
    }

    pub(super) fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// Serves `node`, and `origins` through it, to the others.
    pub(super) fn serve(
        self,
        node: &Arc<NodeCache>,
        origins: impl Iterator<Item = Arc<dyn Origin>>,
        control: ControlPort,
    ) -> Serving {
        let (cluster, node) = (Arc::clone(&self.cluster), Arc::clone(node));
        let server = PeerServer::with_control(cluster, node, Some(control));
        origins.for_each(|origin| server.add_origin(origin));
        // Not the process's: the others are served until they have heard that it leaves.
        let stop = CancellationToken::new();
        if let Security::Mutual(tls) = &self.security {
            let (tls, stopped) = (Arc::clone(tls), stop.clone());
            tokio::spawn(async move { stopped.run_until_cancelled(tls.keep_fresh()).await });
        }
        Serving {
            server: Arc::clone(&server),
            task: tokio::spawn(server.serve(self.listener, stop.clone())),
            cluster: self.cluster,
            stop,
            _membership: self._membership,
        }
    }
}

impl Serving {
    /// What the other members may ask of this one beside reading.
    pub(super) fn member_service(&self) -> CacheMemberServer<MemberService> {
        self.server.member_service()
    }

    /// Leaves: says so first, then ends the connections.
    pub(super) async fn leave(self) {
        self.cluster.drain().await;
        self.stop.cancel();
        let served = self.task.await;
        tracing::debug!(?served, "left the cluster");
    }
}

impl From<TlsError> for Failure {
    fn from(error: TlsError) -> Self {
        Self::new(Exit::Usage, error).next("check --peer-cert, --peer-key and --peer-ca")
    }
}
