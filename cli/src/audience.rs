//! Who waits for a mount to become ready, and is told how it goes.

use std::io::{self, IsTerminal};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::counted;
use crate::size::Size;

/// How far a listing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Objects so far.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl std::fmt::Display for Listed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}, {}",
            counted(self.objects, "object"),
            Size(self.bytes)
        )
    }
}

/// Who waits.
pub trait Audience: Send + Sync {
    /// A listing is under way; told several times a second.
    ///
    /// # Errors
    /// If nobody waits any more: the mount is then given up.
    fn listing(&self, listed: Listed) -> io::Result<()>;

    /// The listing has ended.
    fn listed(&self) {}
}

/// Nobody.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

impl Audience for Nobody {
    fn listing(&self, _: Listed) -> io::Result<()> {
        Ok(())
    }
}

/// A person at a terminal, or a log where there is none.
#[derive(Debug)]
pub struct Foreground {
    bar: Option<ProgressBar>,
    logged: Mutex<Instant>,
}

/// Between two lines about a listing in a log.
const LOG_EVERY: Duration = Duration::from_secs(10);

impl Foreground {
    /// An audience at the standard error.
    pub fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} listing: {msg} ({elapsed})");
            ProgressBar::new_spinner().with_style(style.expect("a test draws it"))
        });
        Self {
            bar,
            logged: Mutex::new(Instant::now()),
        }
    }
}

impl Default for Foreground {
    fn default() -> Self {
        Self::new()
    }
}

impl Audience for Foreground {
    fn listing(&self, listed: Listed) -> io::Result<()> {
        if let Some(bar) = &self.bar {
            bar.set_message(listed.to_string());
            bar.tick();
            return Ok(());
        }
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.elapsed() >= LOG_EVERY {
            *logged = Instant::now();
            tracing::info!(objects = listed.objects, bytes = listed.bytes, "listing");
        }
        Ok(())
    }

    fn listed(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_counts_objects_and_bytes() {
        let listed = Listed {
            objects: 1200,
            bytes: 1 << 30,
        };
        assert_eq!(listed.to_string(), "1,200 objects, 1.0 GiB");
    }

    #[test]
    fn the_foreground_can_be_told() {
        let foreground = Foreground::new();
        foreground
            .listing(Listed {
                objects: 1,
                bytes: 1,
            })
            .unwrap();
        foreground.listed();
        assert!(ProgressStyle::with_template("{spinner} listing: {msg} ({elapsed})").is_ok());
    }
}
