//! The node service: volumes are staged, published and taken away again.
//!
//! Staging a volume mounts its dataset, if no other volume has, and marks the staging path;
//! publishing shows the dataset, or a part of it, in the pod's directory. A volume that is
//! written in the pod itself is not staged.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use forebay_proto::csi::v1::node_server::Node;
use forebay_proto::csi::v1::node_service_capability::{Rpc, Type, rpc};
use forebay_proto::csi::v1::{
    NodeGetCapabilitiesRequest, NodeGetCapabilitiesResponse, NodeGetInfoRequest,
    NodeGetInfoResponse, NodeGetVolumeStatsRequest, NodeGetVolumeStatsResponse,
    NodePublishVolumeRequest, NodePublishVolumeResponse, NodeServiceCapability,
    NodeStageVolumeRequest, NodeStageVolumeResponse, NodeUnpublishVolumeRequest,
    NodeUnpublishVolumeResponse, NodeUnstageVolumeRequest, NodeUnstageVolumeResponse, Topology,
};
use tonic::{Request, Response, Status};

use crate::config::Config;
use crate::error::{Error, Phase, Result};
use crate::locks::Locks;
use crate::place::{Place, Root};
use crate::resolver::Resolver;
use crate::shared::SharedMounts;
use crate::task::Tasks;

mod request;
mod stats;
mod volumes;

use request::{Publish, Stage, subject};

/// The segment of a node's topology that is its name.
const TOPOLOGY: &str = "topology.csi.forebay.dev/node";

/// What the driver can do on a node.
const CAPABILITIES: [rpc::Type; 4] = [
    rpc::Type::StageUnstageVolume,
    rpc::Type::GetVolumeStats,
    rpc::Type::VolumeCondition,
    rpc::Type::VolumeMountGroup,
];

/// The service.
#[derive(Clone)]
pub(crate) struct NodeService {
    parts: Arc<Parts>,
    tasks: Tasks,
}

/// What calls work with.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) root: Root,
    pub(crate) shared: Arc<SharedMounts>,
    pub(crate) resolver: Box<dyn Resolver>,
    /// Calls for one volume follow each other.
    pub(crate) volumes: Locks,
}

impl NodeService {
    pub(crate) fn new(parts: Parts, tasks: Tasks) -> Self {
        Self {
            parts: Arc::new(parts),
            tasks,
        }
    }

    /// Does the work of a call on the parts, under the lock of its volume, unless the
    /// request was wrong. Says in the log what came of it, and in an error whom it is about.
    async fn call<T, W>(
        &self,
        volume: &str,
        about: String,
        phase: Phase,
        work: Result<impl FnOnce(Arc<Parts>) -> W + Send + 'static>,
    ) -> Result<T>
    where
        T: Send + 'static,
        W: Future<Output = Result<T>> + Send,
    {
        if volume.is_empty() {
            return Err(Error::missing("volume_id"));
        }
        let begun = std::time::Instant::now();
        let done = match work {
            Ok(work) => self.work(volume, phase, work).await,
            Err(error) => Err(error),
        };
        let done = done.map_err(|error| error.of(about));
        let seconds = begun.elapsed().as_secs_f64();
        match &done {
            Ok(_) => tracing::info!(volume, %phase, seconds, "done"),
            Err(error) => tracing::warn!(volume, %phase, seconds, %error, "refused"),
        }
        done
    }

    async fn work<T, W>(
        &self,
        volume: &str,
        phase: Phase,
        work: impl FnOnce(Arc<Parts>) -> W + Send + 'static,
    ) -> Result<T>
    where
        T: Send + 'static,
        W: Future<Output = Result<T>> + Send,
    {
        let parts = Arc::clone(&self.parts);
        let volume = volume.to_owned();
        let done = self.tasks.run(phase, async move {
            let _held = parts.volumes.lock(&volume).await;
            work(Arc::clone(&parts)).await
        });
        done.await
    }

    fn place(&self, field: &'static str, path: &str) -> Result<Place> {
        if path.is_empty() {
            return Err(Error::missing(field));
        }
        let place = self.parts.root.place(field, path);
        place.map_err(|error| Error::invalid(error.to_string()))
    }
}

type Answer<T> = std::result::Result<Response<T>, Status>;

fn answer<T>(result: Result<T>) -> Answer<T> {
    result.map(Response::new).map_err(Status::from)
}

#[tonic::async_trait]
impl Node for NodeService {
    async fn node_stage_volume(
        &self,
        request: Request<NodeStageVolumeRequest>,
    ) -> Answer<NodeStageVolumeResponse> {
        let request = request.into_inner();
        let work = self
            .place("staging_target_path", &request.staging_target_path)
            .and_then(|place| Ok((place, Stage::read(&request)?)))
            .map(|(place, stage)| {
                move |parts: Arc<Parts>| async move { parts.stage(stage, place).await }
            });
        let about = subject(&request.volume_id, &request.volume_context);
        let staged = self
            .call(&request.volume_id, about, Phase::Stage, work)
            .await;
        answer(staged.map(|()| NodeStageVolumeResponse {}))
    }

    async fn node_unstage_volume(
        &self,
        request: Request<NodeUnstageVolumeRequest>,
    ) -> Answer<NodeUnstageVolumeResponse> {
        let request = request.into_inner();
        let place = self.place("staging_target_path", &request.staging_target_path);
        let work =
            place.map(|place| move |parts: Arc<Parts>| async move { parts.unstage(&place).await });
        let about = subject(&request.volume_id, &HashMap::new());
        let unstaged = self
            .call(&request.volume_id, about, Phase::Unstage, work)
            .await;
        answer(unstaged.map(|()| NodeUnstageVolumeResponse {}))
    }

    async fn node_publish_volume(
        &self,
        request: Request<NodePublishVolumeRequest>,
    ) -> Answer<NodePublishVolumeResponse> {
        let request = request.into_inner();
        let staged = match request.staging_target_path.as_str() {
            "" => Ok(None),
            path => self.place("staging_target_path", path).map(Some),
        };
        let work = self
            .place("target_path", &request.target_path)
            .and_then(|place| Ok((place, staged?, Publish::read(&request)?)))
            .map(|(place, staged, publish)| {
                move |parts: Arc<Parts>| async move { parts.publish(publish, staged, place).await }
            });
        let about = subject(&request.volume_id, &request.volume_context);
        let published = self
            .call(&request.volume_id, about, Phase::Publish, work)
            .await;
        answer(published.map(|()| NodePublishVolumeResponse {}))
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<NodeUnpublishVolumeRequest>,
    ) -> Answer<NodeUnpublishVolumeResponse> {
        let request = request.into_inner();
        let place = self.place("target_path", &request.target_path);
        let work = place
            .map(|place| move |parts: Arc<Parts>| async move { parts.unpublish(&place).await });
        let about = subject(&request.volume_id, &HashMap::new());
        let unpublished = self
            .call(&request.volume_id, about, Phase::Unpublish, work)
            .await;
        answer(unpublished.map(|()| NodeUnpublishVolumeResponse {}))
    }

    async fn node_get_volume_stats(
        &self,
        request: Request<NodeGetVolumeStatsRequest>,
    ) -> Answer<NodeGetVolumeStatsResponse> {
        let request = request.into_inner();
        if request.volume_id.is_empty() {
            return answer(Err(Error::missing("volume_id")));
        }
        if request.volume_path.is_empty() {
            return answer(Err(Error::missing("volume_path")));
        }
        let parts = Arc::clone(&self.parts);
        let path = PathBuf::from(request.volume_path);
        let read = self
            .tasks
            .run(Phase::Stats, async move { parts.stats(&path).await });
        let read = read.await;
        answer(read.map_err(|error| error.of(format!("volume {}", request.volume_id))))
    }

    async fn node_get_capabilities(
        &self,
        _: Request<NodeGetCapabilitiesRequest>,
    ) -> Answer<NodeGetCapabilitiesResponse> {
        let capability = |rpc: rpc::Type| NodeServiceCapability {
            r#type: Some(Type::Rpc(Rpc { r#type: rpc.into() })),
        };
        answer(Ok(NodeGetCapabilitiesResponse {
            capabilities: CAPABILITIES.map(capability).to_vec(),
        }))
    }

    async fn node_get_info(&self, _: Request<NodeGetInfoRequest>) -> Answer<NodeGetInfoResponse> {
        let config = &self.parts.config;
        let own = (TOPOLOGY.to_owned(), config.node.clone());
        answer(Ok(NodeGetInfoResponse {
            node_id: config.node.clone(),
            // As many as there are pods.
            max_volumes_per_node: 0,
            accessible_topology: Some(Topology {
                segments: config.topology.iter().cloned().chain([own]).collect(),
            }),
        }))
    }
}

#[cfg(test)]
mod tests;
