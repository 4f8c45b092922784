//! What a test cannot do without, and where it is found.

use std::env;
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

/// Fails the test, in plain words, where nothing can be mounted: without root, or
/// without `/dev/fuse`.
pub fn require_root_and_fuse() {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test mounts file systems and needs root: run it as root"
    );
    if let Err(error) = OpenOptions::new().read(true).write(true).open("/dev/fuse") {
        panic!(
            "this test mounts file systems and needs /dev/fuse ({error}): load the kernel module \
             fuse, or start the container with --device /dev/fuse --cap-add SYS_ADMIN"
        );
    }
}

/// The `forebay` binary: `$FOREBAY_BIN`, or the one that cargo built beside this program
/// or, for a test, in the directory above.
pub fn binary() -> PathBuf {
    if let Some(binary) = env::var_os("FOREBAY_BIN") {
        return binary.into();
    }
    let program = env::current_exe().expect("a running program has a path");
    // target/<profile>/deps/<test>-<hash>, or target/<profile>/<program>
    program
        .ancestors()
        .skip(1)
        .take(2)
        .map(|dir| dir.join("forebay"))
        .find(|binary| binary.is_file())
        .expect("the forebay binary is built: run cargo build -p forebay, or set FOREBAY_BIN")
}

/// A program of the servers under test, wherever [`find_program`] finds it.
pub(crate) fn server_program(folder: &str, name: &str) -> PathBuf {
    find_program(folder, name)
        .unwrap_or_else(|| panic!("{name} is not installed: run cargo xtask servers install"))
}

/// A program in `folder` of the repository's `.servers`, or on the path.
pub fn find_program(folder: &str, name: &str) -> Option<PathBuf> {
    let installed = repository().join(".servers").join(folder).join(name);
    if installed.is_file() {
        return Some(installed);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    on_path(&path, name)
}

fn on_path(path: &OsStr, name: &str) -> Option<PathBuf> {
    env::split_paths(path)
        .map(|dir| dir.join(name))
        .find(|program| program.is_file())
}

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
