//! What is measured: file systems over one bucket, and the limits beside them.
//!
//! A [`Subject`] knows how to begin with nothing cached; what it has begun is
//! [`Running`], and ends when it is dropped.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use anyhow::{Result, anyhow};
use serde::Serialize;

use crate::panic_words;
use crate::site::Site;
use crate::workload::{Load, Pass, Workload};

mod forebay;
mod juicefs;
mod local;
mod mounted;
mod raw;
mod rclone;
mod s3fs;
mod weed;

pub use forebay::Forebay;
pub use juicefs::JuiceFs;
pub use local::Local;
pub use raw::RawGet;
pub use rclone::Rclone;
pub use s3fs::S3Fs;
pub use weed::WeedMount;

/// What is cached when a pass begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nothing.
    Cold,
    /// All of it on the local disk, nothing in the page cache.
    Warm,
    /// What the pass before has left in memory.
    Hot,
}

impl State {
    /// What it is called in tables.
    pub fn title(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Warm => "warm disk",
            Self::Hot => "hot",
        }
    }
}

/// What a subject is, for comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// This project, in one of its modes.
    Ours,
    /// Another program of the same purpose.
    Peer,
    /// What no program can be expected to pass.
    Limit,
}

/// Something that is measured.
pub trait Subject: fmt::Debug {
    /// Its name in tables; different for every subject of a contest.
    fn name(&self) -> &'static str;

    /// Its version, as it says itself.
    fn version(&self) -> String;

    /// What it is.
    fn role(&self) -> Role;

    /// Whether it can be measured so.
    fn plays(&self, workload: Workload, state: State) -> bool;

    /// Begins with nothing cached. `dir` is empty, on the disk of all caches, and is
    /// removed when what was begun has ended.
    ///
    /// # Errors
    /// If it does not come up.
    fn start(&self, dir: &Path) -> Result<Box<dyn Running>>;
}

/// A subject that has begun.
pub trait Running: fmt::Debug {
    /// The processes that serve it, without those of the origin.
    fn pids(&self) -> Vec<u32>;

    /// Makes one pass.
    ///
    /// # Errors
    /// If something cannot be read, or is wrong.
    fn pass(&self, load: &Load<'_>, state: State) -> Result<Pass>;
}

/// A subject that cannot be measured here, and why.
#[derive(Debug)]
pub struct Absent {
    /// Its name.
    pub name: &'static str,
    /// Why not.
    pub reason: String,
}

impl Subject for Absent {
    fn name(&self) -> &'static str {
        self.name
    }

    fn version(&self) -> String {
        "not measured".to_owned()
    }

    fn role(&self) -> Role {
        Role::Peer
    }

    fn plays(&self, _: Workload, _: State) -> bool {
        true
    }

    fn start(&self, _: &Path) -> Result<Box<dyn Running>> {
        anyhow::bail!("{}", self.reason)
    }
}

/// Every subject there is, the limits first; those that cannot be measured say why.
pub fn all(site: &Site) -> Vec<Box<dyn Subject>> {
    let mut subjects = without_peers(site);
    subjects.extend(peers(site));
    subjects
}

/// The limits, and Forebay in its modes.
pub fn without_peers(site: &Site) -> Vec<Box<dyn Subject>> {
    vec![
        Box::new(Local::new(site)),
        Box::new(RawGet::new(site)),
        Box::new(Forebay::new(site)),
        Box::new(Forebay::plain(site)),
        Box::new(Forebay::with_plan(site)),
    ]
}

fn peers(site: &Site) -> Vec<Box<dyn Subject>> {
    vec![
        present(Rclone::NAME, || Rclone::new(site)),
        present(S3Fs::NAME, || S3Fs::new(site)),
        present(WeedMount::NAME, || WeedMount::new(site)),
        present(JuiceFs::NAME, || JuiceFs::new(site)),
    ]
}

/// The subject, or why there is none. The harness panics where a test would end; a
/// program that cannot be set up is no reason to measure nothing.
fn present<S: Subject + 'static>(
    name: &'static str,
    make: impl FnOnce() -> Result<S>,
) -> Box<dyn Subject> {
    let made = catch_unwind(AssertUnwindSafe(make));
    let made = made.unwrap_or_else(|panic| Err(anyhow!("{}", panic_words(&*panic))));
    match made {
        Ok(subject) => Box::new(subject),
        Err(error) => Box::new(Absent {
            name,
            reason: format!("{error:#}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_cannot_be_set_up_is_a_subject_that_fails_with_the_reason() {
        let broken = present("juicefs", || {
            anyhow::bail!("not installed") as Result<Absent>
        });
        let panics = present("juicefs", || -> Result<Absent> { panic!("no port") });
        for (subject, reason) in [(broken, "not installed"), (panics, "no port")] {
            let error = subject.start(Path::new("/nowhere")).unwrap_err();
            assert_eq!(
                (subject.name(), error.to_string().as_str()),
                ("juicefs", reason)
            );
        }
    }
}
