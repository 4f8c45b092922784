//! Debian packages that the tests and measurements need.

use std::env;
use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::command;

/// A package and the programs that are looked for to tell that it is there.
pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) programs: &'static [&'static str],
}

/// Installs those packages of which a program is missing.
pub(crate) fn install(packages: &[Package]) -> Result<()> {
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
pub(crate) fn apt_install(packages: &[&str]) -> Result<()> {
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(packages);
    if !is_root()? {
        bail!(
            "{} must be there; install them as root: apt-get {}",
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
