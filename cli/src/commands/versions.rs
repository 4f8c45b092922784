//! `forebay versions`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use forebay_proto::mount::v1::{Version, VersionsRequest};

use crate::args::OneMountJson;
use crate::control_client;
use crate::exit::Failure;
use crate::output::{self, counted};
use crate::size::Size;

pub(super) async fn run(args: &OneMountJson) -> Result<(), Failure> {
    let mut control = control_client::connect(&args.dir).await?;
    let versions = control_client::answer(control.versions(VersionsRequest {}))
        .await?
        .versions;
    if args.json {
        return output::print_json(&versions);
    }
    let rows: Vec<_> = versions.iter().map(row).collect();
    output::print(&output::table(&rows))
}

fn row(version: &Version) -> Vec<String> {
    vec![
        version.version.clone(),
        listed(version.listed_unix_seconds),
        counted(version.files, "file"),
        Size(version.bytes).to_string(),
        if version.current { "current" } else { "" }.to_owned(),
    ]
}

fn listed(unix_seconds: i64) -> String {
    let since = Duration::from_secs(u64::try_from(unix_seconds).unwrap_or_default());
    let time: SystemTime = UNIX_EPOCH + since;
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_row_with_its_time_in_utc() {
        let version = Version {
            version: "ab".into(),
            listed_unix_seconds: 1_700_000_000,
            files: 2,
            bytes: 1 << 20,
            current: true,
        };
        assert_eq!(
            row(&version),
            [
                "ab",
                "2023-11-14T22:13:20Z",
                "2 files",
                "1.0 MiB",
                "current"
            ]
        );
    }
}
