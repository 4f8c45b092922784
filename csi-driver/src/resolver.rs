//! From a dataset's name to where its objects are.

use async_trait::async_trait;

use crate::error::{Error, Kind, Phase, Result};
use crate::volume_context::{Source, VolumeContext};

/// Knows where the objects of a dataset are.
#[async_trait]
pub(crate) trait Resolver: Send + Sync {
    /// The source of the dataset that the volume names. MUST refuse a volume that may not
    /// see the dataset.
    async fn resolve(&self, volume: &VolumeContext) -> Result<Source>;
}

/// Takes the volume's own word for it, within what the node allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FromVolume {
    /// Whether a volume may show a directory of the node.
    pub(crate) local_sources: bool,
}

#[async_trait]
impl Resolver for FromVolume {
    async fn resolve(&self, volume: &VolumeContext) -> Result<Source> {
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
        let source = volume.source.clone().ok_or_else(|| {
            refused(Kind::Invalid, "the volume has no attribute url")
                .next("add url: s3://bucket/prefix")
        })?;
        if source.url.starts_with("file:") && !self.local_sources {
            return Err(refused(
                Kind::Denied,
                "directories of the node are not shown to pods",
            )
            .next("use an object store, or start the driver with --local-sources"));
        }
        Ok(source)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    async fn resolve(pairs: &[(&str, &str)], local_sources: bool) -> Result<Source> {
        let owned = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let mut map: HashMap<_, _> = owned.collect();
        map.insert("dataset".into(), "team/images".into());
        let volume = VolumeContext::parse(&map).unwrap();
        FromVolume { local_sources }.resolve(&volume).await
    }

    #[tokio::test]
    async fn a_directory_of_the_node_is_shown_only_where_that_is_allowed() {
        let local = [("url", "file:///etc")];
        assert_eq!(resolve(&local, false).await.unwrap_err().kind, Kind::Denied);
        assert!(resolve(&local, true).await.is_ok());
        assert_eq!(resolve(&[], true).await.unwrap_err().kind, Kind::Invalid);
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
        assert!(resolve(&inline("team"), false).await.is_ok());
        let error = resolve(&inline("other"), false).await.unwrap_err();
        assert_eq!(error.kind, Kind::Denied);
        assert!(
            error
                .to_string()
                .starts_with("dataset team/images: resolve: "),
            "{error}"
        );
    }
}
