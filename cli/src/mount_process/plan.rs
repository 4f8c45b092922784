//! Plans that come through the control socket.

use std::sync::Arc;

use forebay_fuse_client::{PlanError, PlanProgress, PlanSpec};
use forebay_proto::mount::v1::{
    DropPlansResponse, PlanProgress as Progress, PlanRequest, PlanResponse, PlanUse,
};
use futures::{Stream, StreamExt};

use super::{Service, off_runtime};
use crate::exit::{Exit, Failure};

impl Service {
    /// Follows the plan that comes in pieces.
    ///
    /// # Errors
    /// [`Exit::Usage`] if it is none that can be followed; the plans before it are
    /// followed as ever.
    pub(crate) async fn plan(
        self: &Arc<Self>,
        mut pieces: impl Stream<Item = Result<PlanRequest, tonic::Status>> + Unpin,
    ) -> Result<PlanResponse, Failure> {
        let mut document = Vec::new();
        while let Some(piece) = pieces.next().await {
            let piece = piece
                .map_err(|status| Failure::new(Exit::Failed, status))?
                .piece;
            if document.len() + piece.len() > PlanSpec::MOST_BYTES {
                return Err(refused(PlanError::TooLong));
            }
            document.extend_from_slice(&piece);
        }
        let service = Arc::clone(self);
        let set = move || {
            let spec = PlanSpec::parse(&document)?;
            service.mount().fs().set_plan(&spec)
        };
        let order = off_runtime(set).await?.map_err(refused)?;
        Ok(PlanResponse {
            entries: order.len(),
            bytes: order.bytes,
            name: order.name,
        })
    }

    /// Follows no plan any more.
    pub(crate) fn drop_plans(&self) -> DropPlansResponse {
        DropPlansResponse {
            dropped: self.mount().fs().drop_plans() as u64,
        }
    }

    /// How far the readers of plans are; `None` without a plan.
    pub(super) fn plan_use(&self) -> Option<PlanUse> {
        sum(self.mount().fs().plans())
    }
}

fn refused(error: PlanError) -> Failure {
    Failure::new(Exit::Usage, error)
}

fn sum(plans: Vec<PlanProgress>) -> Option<PlanUse> {
    let total = |field: fn(&PlanProgress) -> u64| plans.iter().map(field).sum();
    let all = PlanUse {
        entries: total(|plan| plan.entries),
        position: total(|plan| plan.position),
        ahead_bytes: total(|plan| plan.ahead_bytes),
        plans: Vec::new(),
    };
    let plans = plans.into_iter().map(|plan| Progress {
        name: plan.name,
        entries: plan.entries,
        position: plan.position,
        ahead_bytes: plan.ahead_bytes,
    });
    let plans: Vec<_> = plans.collect();
    (!plans.is_empty()).then_some(PlanUse { plans, ..all })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_told_together_and_one_by_one() {
        assert_eq!(sum(Vec::new()), None);
        let plan = |name: &str, position| PlanProgress {
            name: name.into(),
            entries: 10,
            position,
            ahead_bytes: 100,
        };
        let told = sum(vec![plan("a", 3), plan("b", 4)]).unwrap();
        assert_eq!(
            (told.entries, told.position, told.ahead_bytes),
            (20, 7, 200)
        );
        assert_eq!(told.plans[1].name, "b");
    }
}
