//! A directory to run the binary in, which leaves nothing behind.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use forebay_fuse_client::{Unmount, mount_at, unmount};
use tempfile::TempDir;

/// The bound that every wrong input must be told within.
pub(crate) const BAD_INPUT: Duration = Duration::from_secs(15);
/// Longer than anything here takes on a slow machine.
const HANGS: Duration = Duration::from_secs(60);

/// A place with a source directory, a mount point, and a run directory of its own.
pub(crate) struct Place {
    dir: TempDir,
}

/// How a run of the binary ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) took: Duration,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("forebay-cli-")
            .tempdir()
            .expect("a directory");
        let place = Self { dir };
        fs::create_dir(place.mountpoint()).expect("a mount point");
        fs::create_dir_all(place.path("source/d")).expect("a source");
        fs::write(place.path("source/a"), "alpha").expect("a file");
        fs::write(place.path("source/d/b"), vec![b'b'; 3 << 20]).expect("a file");
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn mountpoint(&self) -> PathBuf {
        self.path("mnt")
    }

    /// The URL of the source directory.
    pub(crate) fn source(&self) -> String {
        format!("file://{}", self.path("source").display())
    }

    /// `program` in a clean environment; what it caches and where it runs is in here.
    pub(crate) fn program(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var_os("PATH").unwrap_or_default();
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.dir.path())
            .env("FOREBAY_RUN_DIR", self.path("run"))
            .env("FOREBAY_CACHE_DIR", self.path("cache"))
            .env("FOREBAY_MEMORY_SIZE", "0")
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        command
    }

    /// The binary with these words.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = self.program(env!("CARGO_BIN_EXE_forebay"));
        command.args(words);
        command
    }

    /// Runs the binary to its end.
    pub(crate) fn run(&self, words: &[&str]) -> Outcome {
        finish(&mut self.command(words))
    }

    /// Mounts `source` from the background.
    pub(crate) fn mount(&self, source: &str, options: &[&str]) -> Outcome {
        let words = [
            &["mount", source, "mnt", "--daemon", "--log-file", "log"],
            options,
        ]
        .concat();
        self.run(&words)
    }

    /// What `status --json` says of the mount.
    pub(crate) fn status(&self) -> serde_json::Value {
        let outcome = self.run(&["status", "mnt", "--json"]);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        serde_json::from_str(&outcome.out).expect("JSON")
    }

    /// The process behind the mount.
    pub(crate) fn pid(&self) -> i32 {
        self.status()["pid"]
            .as_i64()
            .and_then(|pid| pid.try_into().ok())
            .expect("a pid")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub(crate) fn is_mounted(&self) -> bool {
        mount_at(&self.mountpoint())
            .expect("the mount table")
            .is_some()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A mount that a failed test left; killing its process comes first, so that it
        // does not write into what is removed.
        for entry in fs::read_dir(self.path("run"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let pid = fs::read_to_string(entry.path().join("lock")).ok();
            if let Some(pid) = pid.and_then(|pid| pid.trim().parse().ok()) {
                kill(pid, rustix::process::Signal::KILL);
            }
        }
        if self.is_mounted() {
            let _ = unmount(&self.mountpoint(), Unmount::Detach);
        }
    }
}

impl Outcome {
    /// Fails the test unless the run told what is wrong as scripts and people need it.
    #[track_caller]
    pub(crate) fn is_told(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.took < BAD_INPUT, "{self:?}");
        let lines: Vec<_> = self.err.lines().collect();
        assert_eq!(lines.len(), 1, "{self:?}");
        assert!(lines[0].starts_with("forebay: error: "), "{self:?}");
        for word in words {
            assert!(lines[0].contains(word), "{word}: {self:?}");
        }
    }

    #[track_caller]
    pub(crate) fn is_ok(&self) {
        assert_eq!(self.code, Some(0), "{self:?}");
    }
}

/// Runs a command to its end; one that hangs is killed and fails the test.
pub(crate) fn finish(command: &mut Command) -> Outcome {
    let begun = Instant::now();
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let out = collect(child.stdout.take().expect("piped"));
    let err = collect(child.stderr.take().expect("piped"));
    let status = wait(&mut child);
    Outcome {
        code: status.code(),
        out: out.join().expect("collected"),
        err: err.join().expect("collected"),
        took: begun.elapsed(),
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = pipe.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    })
}

/// Waits for the end of a child.
pub(crate) fn wait(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + HANGS;
    loop {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            return status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("the binary hangs");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + HANGS;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn kill(pid: i32, signal: rustix::process::Signal) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().expect("scratch paths are text").to_owned()
}
