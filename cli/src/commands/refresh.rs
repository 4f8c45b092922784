//! `forebay refresh`.

use forebay_proto::mount::v1::{RefreshRequest, RefreshResponse};

use crate::args::OneMountJson;
use crate::control_client::{self, failure};
use crate::exit::Failure;
use crate::output::{self, count, counted};
use crate::size::Size;

pub(super) async fn run(args: &OneMountJson) -> Result<(), Failure> {
    let mut control = control_client::connect(&args.dir).await?;
    let answer = control
        .refresh(RefreshRequest {})
        .await
        .map_err(|s| failure(&s))?;
    let refreshed = answer.into_inner();
    if args.json {
        output::print_json(&refreshed)
    } else {
        output::print(&describe(&refreshed))
    }
}

fn describe(refreshed: &RefreshResponse) -> String {
    let drift = refreshed.drift.clone().unwrap_or_default();
    let size = format!(
        "{}, {}",
        counted(refreshed.files, "file"),
        Size(refreshed.bytes)
    );
    if drift.from_version == drift.to_version {
        return format!(
            "version {}: {size}; nothing has changed\n",
            drift.to_version
        );
    }
    let (added, removed) = (count(drift.added), count(drift.removed));
    let changed = count(drift.changed);
    format!(
        "version {}: {size}; {added} added, {removed} removed, {changed} changed\n",
        drift.to_version
    )
}

#[cfg(test)]
mod tests {
    use forebay_proto::mount::v1::Drift;

    use super::*;

    #[test]
    fn drift_is_told_or_that_there_is_none() {
        let same = Drift {
            from_version: "a".into(),
            to_version: "a".into(),
            ..Drift::default()
        };
        let other = Drift {
            to_version: "b".into(),
            added: 1200,
            ..same.clone()
        };
        let told = |drift| {
            describe(&RefreshResponse {
                drift: Some(drift),
                files: 1,
                bytes: 1024,
            })
        };
        assert_eq!(
            told(same),
            "version a: 1 file, 1.0 KiB; nothing has changed\n"
        );
        assert_eq!(
            told(other),
            "version b: 1 file, 1.0 KiB; 1,200 added, 0 removed, 0 changed\n"
        );
    }
}
