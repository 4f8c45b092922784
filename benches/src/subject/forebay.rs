//! Forebay itself, in its modes.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use forebay_tests::{Endpoint, Mount, MountCommand, binary};

use super::mounted::{utf8, version};
use super::{Role, Running, State, Subject};
use crate::process;
use crate::site::{BUCKET, Site};
use crate::workload::{Load, Pass, Workload};

/// A contest takes no longer than this.
const LIMIT: Duration = Duration::from_secs(4 * 3600);

/// How it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// As it comes.
    Auto,
    /// As an older kernel lets it.
    Plain,
    /// As it comes, told beforehand what will be read.
    Plan,
}

/// The release that was built beside this program.
#[derive(Clone, Debug)]
pub struct Forebay {
    mode: Mode,
    endpoint: Endpoint,
}

impl Forebay {
    /// The name of [`Self::new`] in tables.
    pub const NAME: &'static str = "Forebay";
    /// The name of [`Self::plain`] in tables.
    pub const PLAIN: &'static str = "Forebay plain";
    /// The name of [`Self::with_plan`] in tables.
    pub const PLAN: &'static str = "Forebay with plan";

    /// With its defaults, over the bucket of `site`.
    pub fn new(site: &Site) -> Self {
        Self {
            mode: Mode::Auto,
            endpoint: site.endpoint().clone(),
        }
    }

    /// With `--open-mode plain`.
    pub fn plain(site: &Site) -> Self {
        Self {
            mode: Mode::Plain,
            ..Self::new(site)
        }
    }

    /// Given the order of a cold epoch as its plan. The time to say it counts.
    pub fn with_plan(site: &Site) -> Self {
        Self {
            mode: Mode::Plan,
            ..Self::new(site)
        }
    }
}

impl Subject for Forebay {
    fn name(&self) -> &'static str {
        match self.mode {
            Mode::Auto => Self::NAME,
            Mode::Plain => Self::PLAIN,
            Mode::Plan => Self::PLAN,
        }
    }

    fn version(&self) -> String {
        version(&binary(), "--version").unwrap_or_else(|error| error.to_string())
    }

    fn role(&self) -> Role {
        Role::Ours
    }

    fn plays(&self, workload: Workload, state: State) -> bool {
        self.mode != Mode::Plan || (workload, state) == (Workload::Epoch, State::Cold)
    }

    fn start(&self, dir: &Path) -> Result<Box<dyn Running>> {
        let mut command = MountCommand::new(&format!("s3://{BUCKET}"), dir)
            .endpoint(&self.endpoint)
            .limit(LIMIT);
        if self.mode == Mode::Plain {
            command = command.args(&["--open-mode", "plain"]);
        }
        let mount = command.start();
        Ok(Box::new(Served {
            plan: (self.mode == Mode::Plan).then(|| dir.join("plan")),
            mount,
        }))
    }
}

#[derive(Debug)]
struct Served {
    mount: Mount,
    /// Where the plan is written, if one is given.
    plan: Option<PathBuf>,
}

impl Served {
    /// Tells the mount what `load` will read; the time that this takes.
    fn tell(&self, plan: &Path, load: &Load<'_>) -> Result<Duration> {
        let files = load.files();
        let mut order = String::new();
        for position in load.order(files.len()) {
            // Writing to a String cannot fail.
            let _ = writeln!(order, "{}", files[position].path);
        }
        fs::write(plan, order)?;
        let begun = Instant::now();
        let path = self.mount.path();
        let done = self
            .mount
            .run(&["plan", utf8(&path)?, "--from", utf8(plan)?]);
        let said = String::from_utf8_lossy(&done.stderr);
        let first = said.lines().next().unwrap_or("no word");
        ensure!(
            done.status.success(),
            "forebay plan: {}: {first}",
            done.status
        );
        Ok(begun.elapsed())
    }
}

impl Running for Served {
    fn pids(&self) -> Vec<u32> {
        process::family(self.mount.pid())
    }

    fn pass(&self, load: &Load<'_>, _: State) -> Result<Pass> {
        let telling = match &self.plan {
            Some(plan) => self.tell(plan, load)?,
            None => Duration::ZERO,
        };
        let mut pass = load.run(&self.mount.path())?;
        pass.time += telling;
        Ok(pass)
    }
}
