//! Cache servers on the nodes, as users install them.

use super::Cluster;
use crate::endpoint::Endpoint;

const MANIFEST: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../deploy/kubernetes/cache-server.yaml"
);
/// The DaemonSet, and the label of its pods.
pub const CACHE_SERVER: &str = "forebay-cache-server";
const DATASETS: &str = "forebay-datasets";

/// They are deleted with this value.
#[derive(Debug)]
pub(super) struct CacheServers {
    cluster: Cluster,
}

impl CacheServers {
    /// Starts servers that know the dataset `name` at `url`.
    pub(super) fn start(cluster: &Cluster, name: &str, url: &str, endpoint: &Endpoint) -> Self {
        cluster.apply(&format!(
            "apiVersion: v1
kind: ConfigMap
metadata: {{name: {DATASETS}, namespace: forebay-system}}
data:
  cache-server.toml: |
    memory-size = \"0\"
    cache-size = \"2GiB\"
    [[dataset]]
    name = {name:?}
    url = {url:?}
    endpoint = {server:?}
---
apiVersion: v1
kind: Secret
metadata: {{name: {DATASETS}, namespace: forebay-system}}
stringData: {{AWS_ACCESS_KEY_ID: {access}, AWS_SECRET_ACCESS_KEY: {secret}}}
",
            server = endpoint.url,
            access = endpoint.access_key,
            secret = endpoint.secret_key,
        ));
        cluster.kubectl(&["apply", "-f", MANIFEST]);
        let servers = Self {
            cluster: cluster.clone(),
        };
        cluster.wait_rollout(CACHE_SERVER);
        servers
    }
}

impl Drop for CacheServers {
    fn drop(&mut self) {
        let objects = [
            ("daemonset", CACHE_SERVER),
            ("configmap", DATASETS),
            ("secret", DATASETS),
        ];
        for (kind, name) in objects {
            // A test that failed has its message already.
            let words = ["-n", "forebay-system", "delete", kind, name];
            let _ = self
                .cluster
                .try_kubectl(&[&words[..], &["--timeout=60s"]].concat());
        }
    }
}
