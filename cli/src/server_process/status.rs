//! How a server and its cluster are.

use std::sync::Arc;

use forebay_cache_server::cluster::Cluster;
use forebay_cache_server::node::NodeCache;
use forebay_proto::cache::v1::{ClusterStatusResponse, DatasetUse, MemberState};

/// Who can tell.
#[derive(Debug)]
pub(super) struct StatusService {
    node: Arc<NodeCache>,
    cluster: Option<Arc<Cluster>>,
}

impl StatusService {
    pub(super) fn new(node: &Arc<NodeCache>, cluster: Option<Arc<Cluster>>) -> Self {
        Self {
            node: Arc::clone(node),
            cluster,
        }
    }

    /// The members, and what they have of each dataset.
    pub(super) async fn cluster(&self) -> ClusterStatusResponse {
        let own = self.node.report();
        let (name, epoch, members) = match &self.cluster {
            Some(cluster) => {
                let members = cluster.members_report(own).await;
                let (epoch, _) = cluster.members();
                (cluster.name().to_owned(), epoch, members)
            }
            None => {
                let alone = MemberState {
                    weight: 1,
                    state: "live".to_owned(),
                    is_self: true,
                    report: Some(own),
                    ..MemberState::default()
                };
                (String::new(), 0, vec![alone])
            }
        };
        let is_well = |member: &MemberState| member.state == "live" && member.report.is_some();
        ClusterStatusResponse {
            name,
            epoch,
            whole: members.iter().all(is_well),
            datasets: sums(&members),
            members,
        }
    }
}

/// The datasets of all members, each with its bytes on all of them.
fn sums(members: &[MemberState]) -> Vec<DatasetUse> {
    let reports = members.iter().filter_map(|member| member.report.as_ref());
    let mut sums: Vec<DatasetUse> = Vec::new();
    for found in reports.flat_map(|report| &report.datasets) {
        match sums.iter_mut().find(|sum| sum.name == found.name) {
            Some(sum) => sum.bytes += found.bytes,
            None => sums.push(found.clone()),
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use forebay_proto::cache::v1::MemberReport;

    use super::*;

    #[test]
    fn a_dataset_has_what_it_has_on_all_members_that_tell() {
        let member = |datasets: &[(&str, u64)]| MemberState {
            report: Some(MemberReport {
                datasets: datasets
                    .iter()
                    .map(|&(name, bytes)| DatasetUse {
                        name: name.into(),
                        bytes,
                        ..DatasetUse::default()
                    })
                    .collect(),
                ..MemberReport::default()
            }),
            ..MemberState::default()
        };
        let members = [
            member(&[("a", 1), ("b", 2)]),
            MemberState::default(),
            member(&[("b", 40), ("c", 3)]),
        ];
        let sums = sums(&members);
        let sums: Vec<_> = sums.iter().map(|sum| (&*sum.name, sum.bytes)).collect();
        assert_eq!(sums, [("a", 1), ("b", 42), ("c", 3)]);
    }
}
