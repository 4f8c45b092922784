//! `forebay status`.

use std::time::Duration;

use forebay_proto::mount::v1::{PlanUse, StatusRequest, StatusResponse};

use crate::args::StatusArgs;
use crate::control_client::{self, Mounted};
use crate::exit::Failure;
use crate::output::{self, count, counted, percent};
use crate::rundir::{self, RunDir};
use crate::size::Size;

pub(super) async fn run(args: &StatusArgs) -> Result<(), Failure> {
    match &args.dir {
        Some(dir) => {
            let mut control = control_client::connect(dir).await?;
            let status = control_client::answer(control.status(StatusRequest {})).await?;
            if args.json {
                output::print_json(&status)
            } else {
                output::print(&describe(&status))
            }
        }
        None => {
            let all = all().await?;
            if args.json {
                return output::print_json(&all);
            }
            let texts: Vec<_> = all.iter().map(describe).collect();
            output::print(&texts.join("\n"))
        }
    }
}

/// Every mount that answers; the others are told on the standard error.
async fn all() -> Result<Vec<StatusResponse>, Failure> {
    let mut all = Vec::new();
    for dir in RunDir::all(&rundir::base())? {
        let Some(state) = dir.state() else { continue };
        if !dir.is_held() {
            eprintln!(
                "forebay: {0}: its process has gone; clean up with `forebay umount {0}`",
                state.mountpoint
            );
            continue;
        }
        match ask(Mounted {
            mountpoint: state.mountpoint.into(),
            dir,
        })
        .await
        {
            Ok(status) => all.push(status),
            Err(failure) => eprintln!("forebay: {failure}"),
        }
    }
    Ok(all)
}

async fn ask(mounted: Mounted) -> Result<StatusResponse, Failure> {
    let mut control = mounted.connect().await?;
    control_client::answer(control.status(StatusRequest {})).await
}

fn describe(status: &StatusResponse) -> String {
    let mut fields = Vec::new();
    for source in &status.sources {
        let name = if source.name.is_empty() {
            String::new()
        } else {
            format!("{} = ", source.name)
        };
        fields.push(("source", format!("{name}{}", source.url)));
    }
    fields.push(("version", version(status)));
    fields.push(("files", files(status)));
    fields.push(("cached", cached(status)));
    fields.extend(skipped(status).map(|text| ("skipped", text)));
    if let Some(origin) = &status.origin {
        let (requests, errors) = (
            counted(origin.requests, "request"),
            counted(origin.errors, "error"),
        );
        fields.push((
            "origin",
            format!("{requests}, {}, {errors}", Size(origin.bytes)),
        ));
    }
    fields.extend(cache(status).map(|text| ("cache", text)));
    if !status.open_mode.is_empty() {
        let text = format!("{} ({})", status.open_mode, status.open_mode_reason);
        fields.push(("open mode", text));
    }
    fields.extend(status.plan.iter().map(|plan| ("plan", plan_progress(plan))));
    if let Some(drift) = &status.drift {
        let (added, removed) = (count(drift.added), count(drift.removed));
        let changed = count(drift.changed);
        let text =
            format!("{added} added, {removed} removed, {changed} changed at the last refresh");
        fields.push(("drift", text));
    }
    if !status.metrics.is_empty() {
        fields.push(("metrics", status.metrics.clone()));
    }
    let up = humantime::format_duration(Duration::from_secs(status.uptime_seconds));
    fields.push((
        "process",
        format!("{}, up {up}{}", status.pid, others(status)),
    ));
    fields.extend(status.warnings.iter().map(|text| ("warning", text.clone())));
    output::fields(&status.mountpoint, &fields)
}

fn plan_progress(plan: &PlanUse) -> String {
    let (read, files) = (count(plan.position), counted(plan.entries, "file"));
    let ahead = Size(plan.ahead_bytes);
    let text = format!("{read} of {files} read, {ahead} ahead");
    match plan.plans.len() {
        0 | 1 => text,
        several => format!("{text}, in {several} plans"),
    }
}

/// The other processes of the mount.
fn others(status: &StatusResponse) -> String {
    let mut text = String::new();
    if status.supervisor_pid != 0 {
        text += &format!("; supervised by {}", status.supervisor_pid);
    }
    if status.keeper_pid != 0 {
        text += &format!("; kept by {}", status.keeper_pid);
    }
    if status.restarts > 0 {
        text += &format!("; {}", counted(status.restarts, "restart"));
    }
    text
}

fn version(status: &StatusResponse) -> String {
    if status.origin_unreachable_at_mount {
        format!("{} (stored; the origin was out of reach)", status.version)
    } else {
        status.version.clone()
    }
}

fn files(status: &StatusResponse) -> String {
    let (files, directories) = (
        counted(status.files, "file"),
        counted(status.directories, "directory"),
    );
    format!("{files} in {directories}, {}", Size(status.bytes))
}

fn cached(status: &StatusResponse) -> String {
    let share = percent(status.cached_bytes, status.bytes);
    let files = counted(status.cached_files, "file");
    format!("{files}, {} ({share:.1} %)", Size(status.cached_bytes))
}

fn skipped(status: &StatusResponse) -> Option<String> {
    let skipped = status
        .skipped
        .as_ref()
        .filter(|skipped| skipped.total > 0)?;
    let reasons = skipped
        .by_reason
        .iter()
        .map(|(reason, n)| format!("{} {reason}", count(*n)));
    let reasons = reasons.collect::<Vec<_>>().join(", ");
    Some(format!(
        "{} ({reasons}); --json lists the first",
        counted(skipped.total, "object")
    ))
}

fn cache(status: &StatusResponse) -> Option<String> {
    let cache = status.cache.as_ref()?;
    let used = format!(
        "{} of {}",
        Size(cache.used_bytes),
        Size(cache.capacity_bytes)
    );
    let mut text = format!(
        "{}: {used}, {} evicted",
        cache.dir,
        Size(cache.evicted_bytes)
    );
    if status.corrupt_chunks > 0 {
        text += &format!(
            ", {} dropped",
            counted(status.corrupt_chunks, "corrupt chunk")
        );
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use forebay_proto::mount::v1::{CacheUse, Drift, OriginUse, Skipped, Source};

    use super::*;

    fn status() -> StatusResponse {
        StatusResponse {
            mountpoint: "/mnt/d".into(),
            sources: vec![Source {
                name: "train".into(),
                url: "s3://b/t".into(),
            }],
            version: "ab".repeat(16),
            files: 1_281_167,
            directories: 1,
            bytes: 4 << 30,
            cached_bytes: 1 << 30,
            cached_files: 10,
            skipped: Some(Skipped {
                total: 3,
                by_reason: [("nul-byte".to_owned(), 3)].into(),
                sample: Vec::new(),
            }),
            pid: 7,
            origin: Some(OriginUse {
                requests: 12,
                bytes: 1 << 20,
                errors: 1,
            }),
            corrupt_chunks: 2,
            uptime_seconds: 3661,
            cache: Some(CacheUse {
                dir: "/c".into(),
                ..CacheUse::default()
            }),
            plan: Some(PlanUse {
                entries: 20_000,
                position: 1234,
                ahead_bytes: 3 << 20,
                plans: Vec::new(),
            }),
            drift: Some(Drift {
                added: 1,
                ..Drift::default()
            }),
            metrics: String::new(),
            open_mode: "no-open".into(),
            open_mode_reason: "small files".into(),
            origin_unreachable_at_mount: false,
            supervisor_pid: 5,
            keeper_pid: 6,
            fuse_client_pid: 7,
            restarts: 2,
            warnings: vec!["the keeper has gone".into()],
        }
    }

    #[test]
    fn people_see_every_figure_that_is_not_zero() {
        let text = describe(&status());
        for words in [
            "/mnt/d\n",
            "train = s3://b/t",
            "1,281,167 files in 1 directory, 4.0 GiB",
            "10 files, 1.0 GiB (25.0 %)",
            "3 objects (3 nul-byte)",
            "12 requests, 1.0 MiB, 1 error",
            "2 corrupt chunks dropped",
            "1,234 of 20,000 files read, 3.0 MiB ahead",
            "1 added, 0 removed",
            "7, up 1h 1m 1s; supervised by 5; kept by 6; 2 restarts",
            "the keeper has gone",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }

    #[test]
    fn scripts_find_the_fields_of_the_contract() {
        let json = serde_json::to_value(status()).unwrap();
        for field in [
            "mountpoint",
            "sources",
            "version",
            "files",
            "bytes",
            "cached_bytes",
            "cached_files",
            "skipped",
            "pid",
            "origin",
            "corrupt_chunks",
            "uptime_seconds",
            "cache",
            "drift",
            "plan",
            "supervisor_pid",
            "keeper_pid",
            "fuse_client_pid",
            "restarts",
            "warnings",
        ] {
            assert!(!json[field].is_null(), "{field}");
        }
        assert_eq!(json["skipped"]["by_reason"]["nul-byte"], 3);
        assert_eq!(json["origin"]["requests"], 12);
    }
}
