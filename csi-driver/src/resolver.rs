//! From a dataset's name to who brings its bytes.

use std::path::PathBuf;

use async_trait::async_trait;

use crate::error::{Error, Kind, Phase, Result};
use crate::spec::Supply;
use crate::volume_context::VolumeContext;

/// Knows who brings the bytes of a dataset.
#[async_trait]
pub(crate) trait Resolver: Send + Sync {
    /// Who brings the bytes of the dataset that the volume names. MUST refuse a volume that
    /// may not see the dataset.
    async fn resolve(&self, volume: &VolumeContext) -> Result<Supply>;
}

/// Takes the volume's own word for where its objects are, within what the node allows.
/// Volumes that say nothing of it are left to the node's cache server.
#[derive(Clone, Debug)]
pub(crate) struct FromVolume {
    /// Whether a volume may show a directory of the node.
    pub(crate) local_sources: bool,
    /// The socket of the node's cache server, if it has one.
    pub(crate) server: Option<PathBuf>,
}

#[async_trait]
impl Resolver for FromVolume {
    async fn resolve(&self, volume: &VolumeContext) -> Result<Supply> {
        let refused = |kind, what: &str| Error::new(kind, Phase::Resolve, what).of(&volume.dataset);
        if volume.ephemeral
            && let Some(pod) = &volume.pod
            && pod.namespace != volume.dataset.namespace
        {
            let what = format!(
                "a pod of namespace {} names it in the pod itself",
                pod.namespace
            );
            return Err(refused(Kind::Denied, &what)
                .next("use a dataset of the pod's namespace, or a PersistentVolume"));
        }
        match (&volume.source, &self.server) {
            (Some(source), _) if source.url.starts_with("file:") && !self.local_sources => {
                let what = "directories of the node are not shown to pods";
                Err(refused(Kind::Denied, what)
                    .next("use an object store, or start the driver with --local-sources"))
            }
            (Some(source), _) => Ok(Supply::Source(source.clone())),
            (None, Some(socket)) => Ok(Supply::Server {
                socket: socket.clone(),
            }),
            (None, None) => {
                let what = "the volume has no attribute url, and the node has no cache server";
                Err(refused(Kind::Invalid, what)
                    .next("add url: s3://bucket/prefix, or start the driver with --server"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    async fn resolve(pairs: &[(&str, &str)], resolver: FromVolume) -> Result<Supply> {
        let owned = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let mut map: HashMap<_, _> = owned.collect();
        map.insert("dataset".into(), "team/images".into());
        let volume = VolumeContext::parse(&map).unwrap();
        resolver.resolve(&volume).await
    }

    fn resolver(local_sources: bool) -> FromVolume {
        FromVolume {
            local_sources,
            server: None,
        }
    }

    #[tokio::test]
    async fn a_directory_of_the_node_is_shown_only_where_that_is_allowed() {
        let local = [("url", "file:///etc")];
        let error = resolve(&local, resolver(false)).await.unwrap_err();
        assert_eq!(error.kind, Kind::Denied);
        assert!(resolve(&local, resolver(true)).await.is_ok());
    }

    #[tokio::test]
    async fn a_volume_without_a_source_is_served_by_the_nodes_server_if_there_is_one() {
        let error = resolve(&[], resolver(true)).await.unwrap_err();
        assert_eq!(error.kind, Kind::Invalid);
        let socket = PathBuf::from("/run/forebay/cache.sock");
        let served = FromVolume {
            local_sources: false,
            server: Some(socket.clone()),
        };
        assert_eq!(
            resolve(&[], served.clone()).await.unwrap(),
            Supply::Server { socket }
        );
        let own = resolve(&[("url", "s3://bucket")], served).await.unwrap();
        assert!(matches!(own, Supply::Source(source) if source.url == "s3://bucket"));
    }

    #[tokio::test]
    async fn a_volume_in_a_pod_names_datasets_of_the_pods_namespace_only() {
        let inline = |namespace| {
            [
                ("url", "s3://bucket"),
                ("csi.storage.k8s.io/ephemeral", "true"),
                ("csi.storage.k8s.io/pod.name", "pod"),
                ("csi.storage.k8s.io/pod.namespace", namespace),
            ]
        };
        assert!(resolve(&inline("team"), resolver(false)).await.is_ok());
        let error = resolve(&inline("other"), resolver(false))
            .await
            .unwrap_err();
        assert_eq!(error.kind, Kind::Denied);
        assert!(
            error
                .to_string()
                .starts_with("dataset team/images: resolve: "),
            "{error}"
        );
    }
}
