//! The kubelet is told of the driver: plugin registration v1, without a sidecar.
//!
//! The kubelet watches a directory for sockets, asks who is there, and then talks to the
//! driver's own socket.

use std::path::Path;

use forebay_proto::plugin_registration::v1::registration_server::Registration;
use forebay_proto::plugin_registration::v1::{
    InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse,
};
use tonic::{Request, Response, Status};

use crate::config::DRIVER_NAME;

/// The service that the kubelet asks.
#[derive(Clone, Debug)]
pub(crate) struct RegistrationService {
    endpoint: String,
}

impl RegistrationService {
    /// Tells of a driver at `socket`.
    pub(crate) fn new(socket: &Path) -> Self {
        Self {
            endpoint: socket.display().to_string(),
        }
    }

    /// What the socket is called in the kubelet's directory.
    pub(crate) fn socket_name() -> String {
        format!("{DRIVER_NAME}-reg.sock")
    }
}

#[tonic::async_trait]
impl Registration for RegistrationService {
    async fn get_info(&self, _: Request<InfoRequest>) -> Result<Response<PluginInfo>, Status> {
        Ok(Response::new(PluginInfo {
            r#type: "CSIPlugin".to_owned(),
            name: DRIVER_NAME.to_owned(),
            endpoint: self.endpoint.clone(),
            supported_versions: vec!["1.0.0".to_owned()],
        }))
    }

    async fn notify_registration_status(
        &self,
        request: Request<RegistrationStatus>,
    ) -> Result<Response<RegistrationStatusResponse>, Status> {
        let status = request.into_inner();
        if status.plugin_registered {
            tracing::info!("registered with the kubelet");
        } else {
            tracing::error!(error = %status.error, "the kubelet refused the registration");
        }
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}
