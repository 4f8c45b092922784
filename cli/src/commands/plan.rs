//! `forebay plan`.

use std::io::Read;
use std::path::Path;

use forebay_fuse_client::PlanSpec;
use forebay_proto::mount::v1::{DropPlansRequest, PlanRequest, PlanResponse};

use crate::args::PlanArgs;
use crate::control_client::{self, failure};
use crate::exit::{Exit, Failure};
use crate::output::{self, counted};
use crate::size::Size;

/// The document travels in pieces of this size.
const PIECE: usize = 1 << 20;

pub(super) async fn run(args: &PlanArgs) -> Result<(), Failure> {
    let (mountpoint, _) = control_client::find(&args.dir)?;
    let Some(from) = &args.from else {
        return drop_plans(args).await;
    };
    // Read first: a wrong file is told before anybody is asked.
    let document = document(&read(from)?, &mountpoint)?;
    let mut control = control_client::connect(&args.dir).await?;
    let pieces: Vec<_> = document
        .chunks(PIECE)
        .map(|piece| PlanRequest {
            piece: piece.to_vec(),
        })
        .collect();
    // Without a limit on the wait: a hundred million files take their time.
    let answer = control.plan(futures::stream::iter(pieces)).await;
    let plan = answer.map_err(|status| failure(&status))?.into_inner();
    if args.json {
        output::print_json(&plan)
    } else {
        output::print(&describe(&plan))
    }
}

async fn drop_plans(args: &PlanArgs) -> Result<(), Failure> {
    let mut control = control_client::connect(&args.dir).await?;
    let dropped = control_client::answer(control.drop_plans(DropPlansRequest {})).await?;
    if args.json {
        output::print_json(&dropped)
    } else {
        output::print(&format!("{} dropped\n", counted(dropped.dropped, "plan")))
    }
}

fn read(from: &Path) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let most = PlanSpec::MOST_BYTES as u64 + 1;
    let read = if from == Path::new("-") {
        std::io::stdin().take(most).read_to_end(&mut text)
    } else {
        std::fs::File::open(from).and_then(|file| file.take(most).read_to_end(&mut text))
    };
    match read {
        Ok(_) => Ok(text),
        Err(error) => {
            let text = format!("read plan {}: {error}", from.display());
            Err(Failure::new(Exit::Usage, text).next("name a file, or - for the standard input"))
        }
    }
}

/// The plan as JSON: what begins with a brace is that already, anything else is paths,
/// one a line, absolute or as seen from the mount point.
fn document(text: &[u8], mountpoint: &Path) -> Result<Vec<u8>, Failure> {
    if text.trim_ascii_start().starts_with(b"{") {
        return Ok(text.to_vec());
    }
    let mut paths = Vec::new();
    for (number, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
        let Ok(line) = std::str::from_utf8(line) else {
            let text = format!("line {number} of the plan is not UTF-8");
            return Err(Failure::new(Exit::Usage, text).next("give such files as indices"));
        };
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let below = Path::new(line).strip_prefix(mountpoint).ok();
        paths.push(below.and_then(Path::to_str).unwrap_or(line));
    }
    if paths.is_empty() {
        let failure = Failure::new(Exit::Usage, "the plan names no file");
        return Err(failure.next("`forebay plan DIR --drop` drops the plans"));
    }
    let document = serde_json::json!({ "paths": paths });
    Ok(document.to_string().into_bytes())
}

fn describe(plan: &PlanResponse) -> String {
    if plan.entries == 0 {
        return format!("plan {}: dropped\n", plan.name);
    }
    let files = counted(plan.entries, "file");
    format!("plan {}: {files}, {}\n", plan.name, Size(plan.bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Result<String, String> {
        let document = document(text.as_bytes(), Path::new("/mnt/d"));
        let document = document.map_err(|failure| failure.to_string())?;
        Ok(String::from_utf8(document).unwrap())
    }

    #[test]
    fn lines_are_paths_below_the_mount_point() {
        let json = told("a b\n/mnt/d/x/y\r\n\n/mnt/dx\n").unwrap();
        assert_eq!(json, r#"{"paths":["a b","x/y","/mnt/dx"]}"#);
    }

    #[test]
    fn json_is_left_alone() {
        let json = " {\"seed\": 1}\n";
        assert_eq!(told(json).unwrap(), json);
    }

    #[test]
    fn an_empty_plan_and_a_line_that_is_no_text_are_refused() {
        assert!(told("\n\n").unwrap_err().contains("names no file"));
        let failure = document(b"a\n\xff\n", Path::new("/")).unwrap_err();
        assert!(failure.to_string().starts_with("line 2 of the plan"));
    }

    #[test]
    fn people_hear_what_is_followed() {
        let plan = |entries| PlanResponse {
            name: "rank 0 of 8".into(),
            entries,
            bytes: 2048,
        };
        assert_eq!(
            describe(&plan(1200)),
            "plan rank 0 of 8: 1,200 files, 2.0 KiB\n"
        );
        assert_eq!(describe(&plan(0)), "plan rank 0 of 8: dropped\n");
    }
}
