//! `forebay warmup --server`.

use std::path::Path;

use forebay_proto::cache::v1::cache_control_client::CacheControlClient;
use forebay_proto::cache::v1::{
    CancelWarmupRequest, StartWarmupRequest, Warmup, WatchWarmupRequest,
};
use forebay_proto::mount::v1::{FailedFile, WarmupProgress, WarmupSummary};
use indicatif::ProgressBar;
use serde::Serialize;
use tonic::transport::Channel;

use super::{bar, conclude, describe, show};
use crate::args::WarmupArgs;
use crate::control_client::{self, failure};
use crate::exit::{Exit, Failure};
use crate::options::ServerAddr;
use crate::output;

/// A report in JSON: the same fields as those of a mount's warm-up, and more.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Report<'a> {
    Progress(&'a forebay_proto::cache::v1::WarmupProgress),
    Summary(&'a Warmup),
}

type Control = CacheControlClient<Channel>;

pub(super) async fn run(
    server: &ServerAddr,
    dataset: &Path,
    args: &WarmupArgs,
) -> Result<(), Failure> {
    let mut control = control_client::of_server(server).await?;
    if let Some(name) = &args.cancel {
        let warmup = cancel(&mut control, name).await?;
        return match args.json {
            true => output::print_json_line(&warmup),
            false => output::print(&format!("{}: {}\n", warmup.name, warmup.phase)),
        };
    }
    let dataset = dataset.to_str().ok_or_else(|| {
        let text = format!("{} is no name of a dataset", dataset.display());
        Failure::new(Exit::Usage, text)
    })?;
    let version = args.version.as_ref();
    let request = StartWarmupRequest {
        dataset: dataset.to_owned(),
        version: version.map_or_else(String::new, |prefix| prefix.as_str().to_owned()),
        patterns: args.patterns.clone(),
        replicas: args.replicas.unwrap_or(0),
        bytes_per_second: args.rate.map_or(0, |rate| rate.0),
        name: args.name.clone().unwrap_or_default(),
    };
    // Without a limit on the wait: the sources may have to be listed.
    let started = control.start_warmup(request).await;
    let warmup = started.map_err(|status| failure(&status))?.into_inner();
    match (args.detach, args.json) {
        (true, true) => output::print_json_line(&warmup),
        (true, false) => output::print(&format!("{}\n", warmup.name)),
        (false, _) => follow(&mut control, &warmup.name, args.json).await,
    }
}

async fn cancel(control: &mut Control, name: &str) -> Result<Warmup, Failure> {
    let name = name.to_owned();
    control_client::answer(control.cancel_warmup(CancelWarmupRequest { name })).await
}

async fn follow(control: &mut Control, name: &str, json: bool) -> Result<(), Failure> {
    let request = WatchWarmupRequest {
        name: name.to_owned(),
    };
    let watched = control.watch_warmup(request).await;
    let mut states = watched.map_err(|status| failure(&status))?.into_inner();
    let bar = if json { ProgressBar::hidden() } else { bar() };
    let mut last: Option<Warmup> = None;
    loop {
        let next = tokio::select! {
            next = states.message() => next,
            _ = tokio::signal::ctrl_c() => {
                bar.abandon();
                cancel(control, name).await?;
                return Err(Failure::new(Exit::Incomplete, "the warm-up was cancelled")
                    .next("what was fetched stays in the cache"));
            }
        };
        let Ok(Some(state)) = next else { break };
        let progress = state.progress.unwrap_or_default();
        if let Some(before) = &last
            && json
        {
            output::print_json_line(&Report::Progress(&before.progress.unwrap_or_default()))?;
        }
        show(&bar, &counts(&progress));
        last = Some(state);
    }
    bar.finish_and_clear();
    match last.filter(|state| is_end(&state.phase)) {
        Some(end) => told(&end, json),
        None => {
            let text = "the cache server ended before the warm-up";
            let step = format!("it takes it up again: follow it with --name {name}");
            Err(Failure::new(Exit::Incomplete, text).next(step))
        }
    }
}

fn is_end(phase: &str) -> bool {
    ["complete", "failed", "cancelled"].contains(&phase)
}

fn told(end: &Warmup, json: bool) -> Result<(), Failure> {
    if json {
        output::print_json_line(&Report::Summary(end))?;
    }
    if end.phase == "cancelled" {
        return Err(Failure::new(Exit::Incomplete, "the warm-up was cancelled")
            .next("what was fetched stays in the cache"));
    }
    let summary = summary(end);
    if !end.trouble.is_empty() {
        if !json {
            output::print(&describe(&summary))?;
        }
        let text = format!("what was fetched may not be durable: {}", end.trouble);
        return Err(Failure::new(Exit::Incomplete, text).next("run it again"));
    }
    conclude(&summary, &format!("of {}", end.dataset), json)
}

fn counts(progress: &forebay_proto::cache::v1::WarmupProgress) -> WarmupProgress {
    WarmupProgress {
        files_done: progress.files_done,
        files_total: progress.files_total,
        bytes_done: progress.bytes_done,
        bytes_total: progress.bytes_total,
        files_failed: progress.files_failed,
    }
}

fn summary(end: &Warmup) -> WarmupSummary {
    let failed = end.failed.iter().map(|file| FailedFile {
        path: file.path.clone(),
        reason: file.reason.clone(),
    });
    WarmupSummary {
        complete: end.complete,
        progress: Some(counts(&end.progress.unwrap_or_default())),
        seconds: end.seconds,
        failed: failed.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(phase: &str) -> Warmup {
        Warmup {
            phase: phase.into(),
            complete: phase == "complete",
            dataset: "d".into(),
            ..Warmup::default()
        }
    }

    #[test]
    fn only_what_is_complete_and_durable_is_a_success() {
        assert!(told(&end("complete"), true).is_ok());
        for phase in ["failed", "cancelled"] {
            let failure = told(&end(phase), true).unwrap_err();
            assert_eq!(failure.exit(), Exit::Incomplete);
        }
        let unsure = Warmup {
            trouble: "disk on fire".into(),
            ..end("failed")
        };
        let failure = told(&unsure, true).unwrap_err().to_string();
        assert!(failure.contains("disk on fire"), "{failure}");
    }
}
