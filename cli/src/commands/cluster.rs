//! `forebay cluster`.

use std::time::Duration;

use forebay_proto::cache::v1::{
    ClusterStatusRequest, ClusterStatusResponse, DatasetUse, MemberState,
};

use crate::args::ClusterStatusArgs;
use crate::control_client;
use crate::exit::{Exit, Failure};
use crate::options::ServerAddr;
use crate::output::{self, counted};
use crate::rundir;
use crate::server_process::socket_in;
use crate::size::Size;

/// `forebay cluster status`.
pub(super) async fn status(args: &ClusterStatusArgs) -> Result<(), Failure> {
    let default = || ServerAddr(socket_in(&rundir::base()));
    let server = args.server.clone().unwrap_or_else(default);
    let mut control = control_client::of_server(&server).await?;
    let asked = control.cluster_status(ClusterStatusRequest {});
    let status = control_client::answer(asked).await?;
    match args.json {
        true => output::print_json(&status)?,
        false => output::print(&describe(&status))?,
    }
    verdict(&status)
}

/// An error unless the cluster is whole.
fn verdict(status: &ClusterStatusResponse) -> Result<(), Failure> {
    if status.whole {
        return Ok(());
    }
    let ill = status.members.iter().filter(|member| !is_well(member));
    let ill: Vec<_> = ill.map(|member| member.name.as_str()).collect();
    let of = counted(status.members.len() as u64, "server");
    let text = format!("not all of {of} are well: {}", ill.join(", "));
    Err(Failure::new(Exit::Degraded, text).next("see their logs; reads go on without them"))
}

fn is_well(member: &MemberState) -> bool {
    member.state == "live" && member.report.is_some()
}

fn describe(status: &ClusterStatusResponse) -> String {
    let title = match status.name.as_str() {
        "" => "no cluster: this server is alone\n".to_owned(),
        name => {
            let well = status.members.iter().filter(|member| is_well(member));
            let (well, all) = (well.count(), counted(status.members.len() as u64, "server"));
            format!("{name}: {well} of {all} well, epoch {}\n", status.epoch)
        }
    };
    let mut text = format!("{title}\n{}", output::table(&members(status)));
    for member in &status.members {
        if !member.trouble.is_empty() {
            text += &format!("{}: {}\n", member.name, member.trouble);
        }
    }
    if !status.datasets.is_empty() {
        text += &format!("\n{}", output::table(&datasets(&status.datasets)));
    }
    text
}

fn members(status: &ClusterStatusResponse) -> Vec<Vec<String>> {
    let head = [
        "server", "zone", "state", "heard", "version", "capacity", "used", "cached", "copies",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(status.members.iter().map(row));
    rows
}

fn row(member: &MemberState) -> Vec<String> {
    let or_dash = |text: &str| match text {
        "" => "-".to_owned(),
        text => text.to_owned(),
    };
    let heard = match (member.is_self, member.heard_seconds) {
        (true, _) => "asked".to_owned(),
        (false, None) => "never".to_owned(),
        (false, Some(seconds)) => ago(seconds),
    };
    let name = match member.is_self {
        true if member.name.is_empty() => "this one".to_owned(),
        _ => member.name.clone(),
    };
    let mut row = vec![name, or_dash(&member.zone), state(member), heard];
    match &member.report {
        None => row.extend(std::iter::repeat_n("-".to_owned(), 5)),
        Some(report) => {
            let bytes = [
                report.capacity_bytes,
                report.used_bytes,
                report.cached_bytes,
                report.copied_bytes,
            ];
            row.push(report.version.clone());
            row.extend(bytes.map(|bytes| Size(bytes).to_string()));
        }
    }
    row
}

fn state(member: &MemberState) -> String {
    match member.trouble.is_empty() {
        true => member.state.clone(),
        false => format!("{}, silent", member.state),
    }
}

/// How long ago, in whole seconds.
fn ago(seconds: f64) -> String {
    let whole = Duration::from_secs(seconds as u64);
    match whole.is_zero() {
        true => "now".to_owned(),
        false => format!("{} ago", humantime::format_duration(whole)),
    }
}

fn datasets(datasets: &[DatasetUse]) -> Vec<Vec<String>> {
    let head = ["dataset", "bytes", "quota a server", "pinned", "priority"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(datasets.iter().map(|dataset| {
        let quota = dataset.quota_bytes.map(|bytes| Size(bytes).to_string());
        vec![
            dataset.name.clone(),
            Size(dataset.bytes).to_string(),
            quota.unwrap_or_else(|| "-".to_owned()),
            if dataset.pin { "yes" } else { "no" }.to_owned(),
            dataset.priority.to_string(),
        ]
    }));
    rows
}

#[cfg(test)]
mod tests {
    use forebay_proto::cache::v1::MemberReport;

    use super::*;

    fn member(name: &str, state: &str) -> MemberState {
        MemberState {
            name: name.into(),
            state: state.into(),
            zone: "a".into(),
            report: (state != "dead").then(|| MemberReport {
                version: "1.2.3".into(),
                capacity_bytes: 4 << 30,
                cached_bytes: 1 << 30,
                copied_bytes: 3 << 20,
                ..MemberReport::default()
            }),
            heard_seconds: Some(61.7),
            ..MemberState::default()
        }
    }

    fn status(members: Vec<MemberState>) -> ClusterStatusResponse {
        ClusterStatusResponse {
            name: "c".into(),
            epoch: 7,
            whole: members.iter().all(is_well),
            members,
            datasets: vec![DatasetUse {
                name: "imagenet".into(),
                bytes: 2 << 30,
                quota_bytes: Some(5 << 30),
                pin: true,
                priority: -2,
            }],
        }
    }

    #[test]
    fn people_see_who_is_well_and_what_each_dataset_has() {
        let silent = MemberState {
            report: None,
            trouble: "it did not answer within 2 s".into(),
            ..member("c:1", "live")
        };
        let own = MemberState {
            is_self: true,
            ..member("a:1", "live")
        };
        let text = describe(&status(vec![own, member("b:1", "dead"), silent]));
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        let has = |cells: &str| {
            let cells: Vec<_> = cells.split_whitespace().collect();
            assert!(lines.contains(&cells), "{cells:?} in\n{text}");
        };
        has("c: 1 of 3 servers well, epoch 7");
        has("a:1 a live asked 1.2.3 4.0 GiB 0 B 1.0 GiB 3.0 MiB");
        has("b:1 a dead 1m 1s ago - - - - -");
        has("c:1 a live, silent 1m 1s ago - - - - -");
        has("c:1: it did not answer within 2 s");
        has("imagenet 2.0 GiB 5.0 GiB yes -2");
    }

    #[test]
    fn only_a_whole_cluster_is_a_success() {
        assert!(verdict(&status(vec![member("a:1", "live")])).is_ok());
        for state in ["dead", "leaving"] {
            let failure = verdict(&status(vec![member("a:1", "live"), member("b:1", state)]));
            let failure = failure.unwrap_err();
            assert_eq!(failure.exit(), Exit::Degraded);
            assert!(failure.to_string().contains("well: b:1"), "{failure}");
        }
    }
}
