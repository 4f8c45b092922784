//! The controller service: volumes are names for datasets, and nothing is made for them.

use std::collections::HashMap;

use forebay_proto::csi::v1::controller_server::Controller;
use forebay_proto::csi::v1::controller_service_capability::{Rpc, Type, rpc};
use forebay_proto::csi::v1::list_volumes_response::Entry;
use forebay_proto::csi::v1::validate_volume_capabilities_response::Confirmed;
use forebay_proto::csi::v1::{
    CapacityRange, ControllerGetCapabilitiesRequest, ControllerGetCapabilitiesResponse,
    ControllerServiceCapability, CreateVolumeRequest, CreateVolumeResponse, DeleteVolumeRequest,
    DeleteVolumeResponse, ListVolumesRequest, ListVolumesResponse,
    ValidateVolumeCapabilitiesRequest, ValidateVolumeCapabilitiesResponse, Volume,
    VolumeCapability,
};
use tonic::{Request, Response, Status};

use crate::capability;
use crate::error::{Error, Kind, Phase, Result};
use crate::task::Tasks;
use crate::volume_context::VolumeContext;

mod catalogue;

pub(crate) use catalogue::Catalogue;
use catalogue::Noted;

/// What the driver can do without a node.
const CAPABILITIES: [rpc::Type; 2] = [rpc::Type::CreateDeleteVolume, rpc::Type::ListVolumes];

/// Kubernetes' own parameters of a StorageClass, which are not the volume's.
const NOT_THE_VOLUMES: &str = "csi.storage.k8s.io/";

/// As long as the specification allows.
const LONGEST_NAME: usize = 128;

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct ControllerService {
    catalogue: std::sync::Arc<Catalogue>,
    tasks: Tasks,
}

impl ControllerService {
    pub(crate) fn new(catalogue: Catalogue, tasks: Tasks) -> Self {
        Self {
            catalogue: catalogue.into(),
            tasks,
        }
    }

    /// Looks into the catalogue, which is on a disk, within the call's deadline.
    async fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Catalogue) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let catalogue = std::sync::Arc::clone(&self.catalogue);
        let joined = async move {
            let done = tokio::task::spawn_blocking(move || work(&catalogue)).await;
            done.map_err(|error| Error::new(Kind::Internal, Phase::Catalogue, error.to_string()))?
        };
        self.tasks.run(Phase::Catalogue, joined).await
    }
}

/// Reads a request for a volume.
fn wanted(request: &CreateVolumeRequest) -> Result<Noted> {
    if request.name.is_empty() {
        return Err(Error::missing("name"));
    }
    if request.name.len() > LONGEST_NAME {
        return Err(Error::invalid(format!(
            "name is longer than {LONGEST_NAME} bytes"
        )));
    }
    every_capability(&request.volume_capabilities)?;
    if request.volume_content_source.is_some() {
        return Err(Error::invalid(
            "a dataset is not made from a snapshot or another volume",
        ));
    }
    if !request.mutable_parameters.is_empty() {
        return Err(
            Error::invalid("a volume's attributes cannot be changed").next("use parameters")
        );
    }
    let own = request
        .parameters
        .iter()
        .filter(|(key, _)| !key.starts_with(NOT_THE_VOLUMES));
    let context: HashMap<_, _> = own
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let read = VolumeContext::parse(&context);
    read.map_err(|error| {
        Error::invalid(error.to_string()).next("correct the StorageClass's parameters")
    })?;
    Ok(Noted {
        name: request.name.clone(),
        capacity_bytes: capacity(request.capacity_range.as_ref())?,
        context: context.into_iter().collect(),
    })
}

/// What is asked for: a dataset is as large as it is, and claims all the same name a size.
fn capacity(range: Option<&CapacityRange>) -> Result<i64> {
    let Some(range) = range else {
        return Ok(0);
    };
    let CapacityRange {
        required_bytes,
        limit_bytes,
    } = *range;
    if required_bytes < 0 || limit_bytes < 0 {
        return Err(Error::invalid("capacity_range is negative"));
    }
    if limit_bytes > 0 && limit_bytes < required_bytes {
        let what =
            format!("capacity_range asks for {required_bytes} bytes and at most {limit_bytes}");
        return Err(Error::new(Kind::OutOfRange, Phase::Request, what));
    }
    Ok(required_bytes)
}

fn every_capability(capabilities: &[VolumeCapability]) -> Result<()> {
    if capabilities.is_empty() {
        return Err(Error::missing("volume_capabilities"));
    }
    capabilities
        .iter()
        .try_for_each(|capability| capability::read(capability).map(drop))
}

fn volume(id: String, noted: Noted) -> Volume {
    Volume {
        volume_id: id,
        capacity_bytes: noted.capacity_bytes,
        volume_context: noted.context,
        ..Volume::default()
    }
}

type Answer<T> = std::result::Result<Response<T>, Status>;

fn answer<T>(result: Result<T>) -> Answer<T> {
    result.map(Response::new).map_err(Status::from)
}

#[tonic::async_trait]
impl Controller for ControllerService {
    async fn create_volume(
        &self,
        request: Request<CreateVolumeRequest>,
    ) -> Answer<CreateVolumeResponse> {
        let request = request.into_inner();
        let name = format!("volume {}", request.name);
        let created = async {
            let noted = wanted(&request)?;
            self.look(move |catalogue| catalogue.create(noted)).await
        };
        answer(
            created
                .await
                .map_err(|error| error.of(name))
                .map(|(id, noted)| CreateVolumeResponse {
                    volume: Some(volume(id, noted)),
                }),
        )
    }

    async fn delete_volume(
        &self,
        request: Request<DeleteVolumeRequest>,
    ) -> Answer<DeleteVolumeResponse> {
        let id = request.into_inner().volume_id;
        if id.is_empty() {
            return answer(Err(Error::missing("volume_id")));
        }
        let deleted = self.look(move |catalogue| catalogue.delete(&id)).await;
        answer(deleted.map(|()| DeleteVolumeResponse {}))
    }

    async fn validate_volume_capabilities(
        &self,
        request: Request<ValidateVolumeCapabilitiesRequest>,
    ) -> Answer<ValidateVolumeCapabilitiesResponse> {
        let request = request.into_inner();
        let (id, wanted) = (request.volume_id, request.volume_capabilities);
        if id.is_empty() {
            return answer(Err(Error::missing("volume_id")));
        }
        if wanted.is_empty() {
            return answer(Err(Error::missing("volume_capabilities")));
        }
        let name = format!("volume {id}");
        let found = self.look(move |catalogue| catalogue.find(&id)).await;
        let noted = match found {
            Ok(noted) => noted,
            Err(error) => return answer(Err(error.of(name))),
        };
        let confirmed = Confirmed {
            volume_context: noted.context,
            volume_capabilities: wanted.clone(),
            parameters: request.parameters,
            mutable_parameters: Default::default(),
        };
        answer(Ok(match every_capability(&wanted) {
            Ok(()) => ValidateVolumeCapabilitiesResponse {
                confirmed: Some(confirmed),
                message: String::new(),
            },
            Err(error) => ValidateVolumeCapabilitiesResponse {
                confirmed: None,
                message: error.what,
            },
        }))
    }

    async fn list_volumes(
        &self,
        request: Request<ListVolumesRequest>,
    ) -> Answer<ListVolumesResponse> {
        let ListVolumesRequest {
            max_entries,
            starting_token,
        } = request.into_inner();
        let Ok(most) = usize::try_from(max_entries) else {
            return answer(Err(Error::invalid("max_entries is negative")));
        };
        let page = self
            .look(move |catalogue| catalogue.page(&starting_token, most))
            .await;
        answer(page.map(|page| {
            ListVolumesResponse {
                next_token: page.next.unwrap_or_default(),
                entries: page
                    .volumes
                    .into_iter()
                    .map(|(id, noted)| Entry {
                        volume: Some(volume(id, noted)),
                        status: None,
                    })
                    .collect(),
            }
        }))
    }

    async fn controller_get_capabilities(
        &self,
        _: Request<ControllerGetCapabilitiesRequest>,
    ) -> Answer<ControllerGetCapabilitiesResponse> {
        let capability = |rpc: rpc::Type| ControllerServiceCapability {
            r#type: Some(Type::Rpc(Rpc { r#type: rpc.into() })),
        };
        answer(Ok(ControllerGetCapabilitiesResponse {
            capabilities: CAPABILITIES.map(capability).to_vec(),
        }))
    }
}
