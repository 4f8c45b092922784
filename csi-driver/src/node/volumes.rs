//! What the calls for volumes do.

use super::Parts;
use super::request::{Publish, Stage};
use crate::error::{Error, Phase, Result};
use crate::place::Place;
use crate::record::Record;
use crate::secrets::Secrets;
use crate::shared::View;
use crate::spec::{MountSpec, Supply};
use crate::volume_context::VolumeContext;

impl Parts {
    /// Mounts the dataset if nobody has, and marks the staging path.
    pub(super) async fn stage(&self, stage: Stage, place: Place) -> Result<()> {
        let dataset = stage.context.dataset.clone();
        let record = self
            .record(&stage.context, stage.wanted.gid, stage.secrets)
            .await?;
        let staged = self.shared.stage(record, place).await;
        staged.map_err(|error| error.of(dataset))
    }

    pub(super) async fn unstage(&self, place: &Place) -> Result<()> {
        self.shared.hide(place, Phase::Unstage).await
    }

    /// Shows what is staged, or a part of it, in the pod's directory.
    pub(super) async fn publish(
        &self,
        publish: Publish,
        staged: Option<Place>,
        place: Place,
    ) -> Result<()> {
        let Publish {
            context,
            wanted,
            secrets,
        } = publish;
        let dataset = context.dataset.clone();
        let view = View {
            sub_path: context.sub_path.clone().into(),
            place,
            restrictions: wanted.restrictions,
            phase: Phase::Publish,
        };
        let shown = match staged {
            Some(staged) => self.shared.show_staged(&staged, view).await,
            None => {
                let record = self.record(&context, wanted.gid, secrets).await?;
                self.shared.show(record, view).await
            }
        };
        shown.map_err(|error| error.of(dataset))
    }

    pub(super) async fn unpublish(&self, place: &Place) -> Result<()> {
        self.shared.hide(place, Phase::Unpublish).await?;
        let path = place.path();
        place
            .remove()
            .map_err(|error| Error::system(Phase::Unpublish, "remove", &path, error))
    }

    /// What is to be mounted for a volume.
    async fn record(
        &self,
        context: &VolumeContext,
        gid: Option<u32>,
        secrets: Secrets,
    ) -> Result<Record> {
        let supply = self.resolver.resolve(context).await?;
        if matches!(supply, Supply::Server { .. }) && !secrets.is_empty() {
            let what = "the volume has a Secret and no source that it is for";
            return Err(Error::invalid(what)
                .next("leave the Secret out, the node's cache server has its own; or add url"));
        }
        let spec = MountSpec {
            dataset: context.dataset.clone(),
            supply,
            version: context.version.clone(),
            tree: context.tree.clone(),
            gid,
            node_credentials: self.config.node_credentials,
        };
        Ok(Record { spec, secrets })
    }
}
