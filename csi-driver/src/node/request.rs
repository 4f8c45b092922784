//! Requests to the node, typed.

use std::collections::HashMap;

use forebay_proto::csi::v1::{NodePublishVolumeRequest, NodeStageVolumeRequest};

use crate::capability::{self, Wanted};
use crate::error::{Error, Kind, Phase, Result};
use crate::secrets::Secrets;
use crate::volume_context::{DatasetName, VolumeContext};

/// A volume to stage.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub(super) context: VolumeContext,
    pub(super) wanted: Wanted,
    pub(super) secrets: Secrets,
}

impl Stage {
    pub(super) fn read(request: &NodeStageVolumeRequest) -> Result<Self> {
        named(&request.volume_id)?;
        Ok(Self {
            wanted: capability::required(request.volume_capability.as_ref())?,
            context: context(&request.volume_context)?,
            secrets: secrets(&request.secrets)?,
        })
    }
}

/// A volume to publish.
#[derive(Clone, Debug)]
pub(super) struct Publish {
    pub(super) context: VolumeContext,
    pub(super) wanted: Wanted,
    pub(super) secrets: Secrets,
}

impl Publish {
    pub(super) fn read(request: &NodePublishVolumeRequest) -> Result<Self> {
        named(&request.volume_id)?;
        let wanted = capability::required(request.volume_capability.as_ref())?;
        let context = context(&request.volume_context)?;
        if request.staging_target_path.is_empty() && !context.ephemeral {
            let what = "staging_target_path is missing";
            return Err(Error::new(Kind::NotReady, Phase::Request, what));
        }
        Ok(Self {
            context,
            wanted,
            secrets: secrets(&request.secrets)?,
        })
    }
}

/// Whom a request is about: the dataset if it names one, or else the volume.
pub(super) fn subject(volume_id: &str, context: &HashMap<String, String>) -> String {
    let dataset = context
        .get("dataset")
        .map(|name| name.parse::<DatasetName>());
    match dataset {
        Some(Ok(dataset)) => dataset.to_string(),
        _ => format!("volume {volume_id}"),
    }
}

fn named(volume_id: &str) -> Result<()> {
    if volume_id.is_empty() {
        return Err(Error::missing("volume_id"));
    }
    Ok(())
}

fn context(map: &HashMap<String, String>) -> Result<VolumeContext> {
    let context = VolumeContext::parse(map);
    context
        .map_err(|error| Error::invalid(error.to_string()).next("correct the volume's attributes"))
}

fn secrets(map: &HashMap<String, String>) -> Result<Secrets> {
    let secrets = Secrets::parse(map);
    secrets.map_err(|error| {
        Error::invalid(error.to_string()).next("correct the Secret that the volume names")
    })
}
