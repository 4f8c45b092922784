//! The identity service: who the driver is, and whether it is ready.

use forebay_proto::csi::v1::identity_server::Identity;
use forebay_proto::csi::v1::plugin_capability::{Service, Type, service};
use forebay_proto::csi::v1::{
    GetPluginCapabilitiesRequest, GetPluginCapabilitiesResponse, GetPluginInfoRequest,
    GetPluginInfoResponse, PluginCapability, ProbeRequest, ProbeResponse,
};
use tonic::{Request, Response, Status};

use crate::config::DRIVER_NAME;

/// What the driver has beside the node service. Nodes tell their topology, which the
/// specification allows to those with accessibility constraints only; volumes tell none,
/// which says that every node can read them.
const CAPABILITIES: [service::Type; 2] = [
    service::Type::ControllerService,
    service::Type::VolumeAccessibilityConstraints,
];

/// The service; it is served only once the driver is ready.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdentityService;

#[tonic::async_trait]
impl Identity for IdentityService {
    async fn get_plugin_info(
        &self,
        _: Request<GetPluginInfoRequest>,
    ) -> Result<Response<GetPluginInfoResponse>, Status> {
        Ok(Response::new(GetPluginInfoResponse {
            name: DRIVER_NAME.to_owned(),
            vendor_version: env!("CARGO_PKG_VERSION").to_owned(),
            manifest: Default::default(),
        }))
    }

    async fn get_plugin_capabilities(
        &self,
        _: Request<GetPluginCapabilitiesRequest>,
    ) -> Result<Response<GetPluginCapabilitiesResponse>, Status> {
        let capability = |service: service::Type| PluginCapability {
            r#type: Some(Type::Service(Service {
                r#type: service.into(),
            })),
        };
        Ok(Response::new(GetPluginCapabilitiesResponse {
            capabilities: CAPABILITIES.map(capability).to_vec(),
        }))
    }

    async fn probe(&self, _: Request<ProbeRequest>) -> Result<Response<ProbeResponse>, Status> {
        Ok(Response::new(ProbeResponse { ready: Some(true) }))
    }
}
