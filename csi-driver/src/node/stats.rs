//! How large a volume is, and whether it can be read.

use std::path::Path;
use std::time::Duration;

use forebay_proto::csi::v1::volume_usage::Unit;
use forebay_proto::csi::v1::{NodeGetVolumeStatsResponse, VolumeCondition, VolumeUsage};
use rustix::fs::{StatVfs, statvfs};

use super::Parts;
use crate::error::{Error, Kind, Phase, Result};
use crate::task::blocking;

/// How long a mount may take to say how large it is.
const ANSWER: Duration = Duration::from_secs(10);

impl Parts {
    /// The size and the condition of the volume at `path`.
    pub(super) async fn stats(&self, path: &Path) -> Result<NodeGetVolumeStatsResponse> {
        let nothing = || {
            let what = format!("no volume is at {}", path.display());
            Error::new(Kind::NotFound, Phase::Stats, what)
        };
        let place = path
            .to_str()
            .and_then(|path| self.root.place("volume_path", path).ok());
        let place = place.ok_or_else(nothing)?;
        if crate::shared::mounted(&place.path())?.is_none() {
            return Err(nothing());
        }
        let Some(key) = self.shared.key_at(&place)? else {
            return Ok(abnormal(
                "the mount has gone; delete the pod to get a new one",
            ));
        };
        if !self.shared.is_served(&key).await {
            return Ok(abnormal(
                "no process serves the mount; it is being started again",
            ));
        }
        let asked = place.path();
        let answered = blocking(Phase::Stats, ANSWER, move || statvfs(&asked)).await;
        Ok(match answered {
            Ok(Ok(stat)) => NodeGetVolumeStatsResponse {
                usage: vec![bytes(&stat), inodes(&stat)],
                volume_condition: Some(VolumeCondition {
                    abnormal: false,
                    message: "the dataset is mounted and answers".to_owned(),
                }),
            },
            Ok(Err(errno)) => abnormal(&format!("the mount answers with an error: {errno}")),
            Err(error) => abnormal(&error.what),
        })
    }
}

fn abnormal(message: &str) -> NodeGetVolumeStatsResponse {
    NodeGetVolumeStatsResponse {
        // A volume that does not answer has a size all the same; it is only not known.
        usage: vec![usage(Unit::Bytes, 0, 0), usage(Unit::Inodes, 0, 0)],
        volume_condition: Some(VolumeCondition {
            abnormal: true,
            message: message.to_owned(),
        }),
    }
}

fn bytes(stat: &StatVfs) -> VolumeUsage {
    let size = stat.f_frsize.max(1);
    usage(
        Unit::Bytes,
        stat.f_blocks.saturating_mul(size),
        stat.f_bavail.saturating_mul(size),
    )
}

fn inodes(stat: &StatVfs) -> VolumeUsage {
    usage(Unit::Inodes, stat.f_files, stat.f_favail)
}

fn usage(unit: Unit, total: u64, available: u64) -> VolumeUsage {
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    VolumeUsage {
        unit: unit.into(),
        total: signed(total),
        available: signed(available),
        used: signed(total.saturating_sub(available)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_beyond_the_protocol_are_the_largest_it_has() {
        let huge = usage(Unit::Bytes, u64::MAX, 1);
        assert_eq!(huge.total, i64::MAX);
        assert_eq!((huge.used, huge.available), (i64::MAX, 1));
    }

    #[test]
    fn a_volume_without_an_answer_is_abnormal() {
        let condition = abnormal("gone").volume_condition.unwrap();
        assert!(condition.abnormal);
    }
}
