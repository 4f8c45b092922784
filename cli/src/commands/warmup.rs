//! `forebay warmup`.

use std::path::Path;

use forebay_proto::mount::v1::warmup_response::Event;
use forebay_proto::mount::v1::{WarmupProgress, WarmupRequest, WarmupSummary};
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::WarmupArgs;
use crate::control_client::{self, failure};
use crate::exit::{Exit, Failure};
use crate::output::{self, counted};
use crate::size::Size;

/// Failed files that are printed for people; `--json` has more of them.
const FAILED_SHOWN: usize = 20;

const BAR: &str =
    "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}, {eta} left";

mod server;

pub(super) async fn run(args: &WarmupArgs) -> Result<(), Failure> {
    let dir = args.dir.clone().unwrap_or_default();
    match &args.server {
        Some(server) => server::run(server, &dir, args).await,
        None => of_mount(&dir, args).await,
    }
}

async fn of_mount(dir: &Path, args: &WarmupArgs) -> Result<(), Failure> {
    let mut control = control_client::connect(dir).await?;
    let request = WarmupRequest {
        patterns: args.patterns.clone(),
    };
    let answer = control
        .warmup(request)
        .await
        .map_err(|status| failure(&status))?;
    let mut events = answer.into_inner();
    let bar = if args.json {
        ProgressBar::hidden()
    } else {
        bar()
    };
    loop {
        let message = tokio::select! {
            message = events.message() => message.map_err(|status| failure(&status))?,
            // The stream ends with this process, and the warm-up with the stream.
            _ = tokio::signal::ctrl_c() => {
                bar.abandon();
                return Err(Failure::new(Exit::Incomplete, "the warm-up was cancelled")
                    .next("what was fetched stays in the cache"));
            }
        };
        let Some(event) = message.and_then(|message| message.event) else {
            return Err(Failure::new(
                Exit::Incomplete,
                "the mount ended before the warm-up",
            ));
        };
        if args.json {
            output::print_json_line(&event)?;
        }
        match event {
            Event::Progress(progress) => show(&bar, &progress),
            Event::Summary(summary) => {
                bar.finish_and_clear();
                return conclude(&summary, &format!("below {}", dir.display()), args.json);
            }
        }
    }
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template(BAR).expect("a test draws it");
    ProgressBar::new(0).with_style(style.progress_chars("━╸ "))
}

fn show(bar: &ProgressBar, progress: &WarmupProgress) {
    bar.set_length(progress.bytes_total);
    bar.set_position(progress.bytes_done);
    let done = format!(
        "{} of {}",
        progress.files_done,
        counted(progress.files_total, "file")
    );
    bar.set_message(match progress.files_failed {
        0 => done,
        failed => format!("{done}, {failed} failed"),
    });
}

/// Prints the end; an error unless all is in the cache.
fn conclude(summary: &WarmupSummary, of: &str, json: bool) -> Result<(), Failure> {
    let progress = summary.progress.unwrap_or_default();
    if !json {
        output::print(&describe(summary))?;
    }
    if summary.complete {
        return Ok(());
    }
    let text = format!(
        "{} of {} {of} are not in the cache",
        progress.files_failed,
        counted(progress.files_total, "file"),
    );
    Err(Failure::new(Exit::Incomplete, text).next("fix the reasons above and run it again"))
}

fn describe(summary: &WarmupSummary) -> String {
    let progress = summary.progress.unwrap_or_default();
    let rate = progress.bytes_done as f64 / summary.seconds.max(1e-3);
    let mut text = format!(
        "{}, {} in the cache and verified after {:.1} s ({}/s)\n",
        counted(progress.files_done, "file"),
        Size(progress.bytes_done),
        summary.seconds,
        Size(rate as u64)
    );
    for file in summary.failed.iter().take(FAILED_SHOWN) {
        text += &format!("  {}: {}\n", file.path, file.reason);
    }
    let unsaid = progress.files_failed.saturating_sub(FAILED_SHOWN as u64);
    if unsaid > 0 {
        text += &format!("  and {} more\n", counted(unsaid, "file"));
    }
    text
}

#[cfg(test)]
mod tests {
    use forebay_proto::mount::v1::FailedFile;

    use super::*;

    fn summary(failed: u64) -> WarmupSummary {
        let file = |n| FailedFile {
            path: format!("f{n}"),
            reason: "gone".into(),
        };
        WarmupSummary {
            complete: failed == 0,
            progress: Some(WarmupProgress {
                files_done: 100 - failed,
                files_total: 100,
                bytes_done: 2 << 20,
                bytes_total: 4 << 20,
                files_failed: failed,
            }),
            seconds: 2.0,
            failed: (0..failed).map(file).collect(),
        }
    }

    #[test]
    fn the_bar_can_be_drawn() {
        show(&bar(), &WarmupProgress::default());
    }

    #[test]
    fn what_failed_is_listed_and_the_rest_counted() {
        let text = describe(&summary(25));
        assert!(text.starts_with("75 files, 2.0 MiB in the cache"), "{text}");
        assert!(text.contains("(1.0 MiB/s)"), "{text}");
        assert!(text.contains("  f19: gone\n  and 5 files more\n"), "{text}");
    }

    #[test]
    fn only_a_complete_warm_up_is_a_success() {
        assert!(conclude(&summary(0), "below /m", true).is_ok());
        let failure = conclude(&summary(2), "below /m", true).unwrap_err();
        assert_eq!(failure.exit(), Exit::Incomplete);
        assert!(
            failure.to_string().starts_with("2 of 100 files below /m"),
            "{failure}"
        );
    }
}
