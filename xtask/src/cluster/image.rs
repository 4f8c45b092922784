//! Container images, made of files of this machine and given to containerd directly: no
//! registry and no container engine.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::layout::{Layout, Node};
use super::node::link_all;
use crate::command::{self, utf8};

/// The image of pods that hold a sandbox, and of those in the tests: a shell and the
/// usual programs.
pub(crate) const BUSYBOX: &str = "test.local/busybox:1";
/// Ours, as the manifests in `deploy/` name it.
pub(crate) const FOREBAY: &str = "forebay:dev";

/// Writes the image of busybox.
pub(super) fn busybox(layout: &Layout) -> Result<PathBuf> {
    let dir = layout.root().join("images/busybox");
    let bin = dir.join("rootfs/bin");
    fs::create_dir_all(&bin)?;
    fs::copy("/usr/bin/busybox", bin.join("busybox")).context("copy busybox")?;
    link_all(&command::output("/usr/bin/busybox", &["--list"])?, &bin)?;
    let command = r#"["/bin/sleep", "2147483647"]"#;
    write(&dir, BUSYBOX, &format!(r#""Cmd": {command}"#))
}

/// Builds a release of Forebay, writes its image and gives it to every node.
pub(crate) fn build_and_load(layout: &Layout) -> Result<()> {
    let nodes = layout.all_nodes();
    if nodes.is_empty() {
        bail!("there is no cluster; start one with `cargo xtask cluster up`");
    }
    let archive = forebay()?;
    for node in &nodes {
        import(node, &archive)?;
    }
    println!("cluster: {FOREBAY} is on {} nodes", nodes.len());
    Ok(())
}

/// Builds a release of Forebay and writes its image; returns where.
pub(crate) fn forebay() -> Result<PathBuf> {
    command::run(
        "cargo",
        &["build", "--release", "--locked", "--package", "forebay"],
    )?;
    let program = PathBuf::from(command::built("release", "forebay"));
    let dir = command::root().join("target/image");
    let rootfs = dir.join("rootfs");
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).context("remove the earlier image");
        }
        _ => {}
    }
    for folder in ["tmp", "usr/bin", "etc/ssl/certs"] {
        fs::create_dir_all(rootfs.join(folder))?;
    }
    let placed = rootfs.join("usr/bin/forebay");
    // Without symbols for a debugger: they are most of the file.
    command::quiet(
        "strip",
        &["-o", utf8(&placed)?, "--strip-debug", utf8(&program)?],
    )?;
    for library in libraries(&program)? {
        let placed = rootfs.join(library.trim_start_matches('/'));
        fs::create_dir_all(placed.parent().unwrap_or(&rootfs))?;
        fs::copy(&library, placed).with_context(|| format!("copy {library}"))?;
    }
    // Whom to trust on the way to an object store; a machine may have none.
    let _ = fs::copy(
        "/etc/ssl/certs/ca-certificates.crt",
        rootfs.join("etc/ssl/certs/ca-certificates.crt"),
    );
    write(&dir, FOREBAY, r#""Entrypoint": ["/usr/bin/forebay"]"#)
}

/// The shared libraries that a program is linked to, the loader among them.
fn libraries(program: &Path) -> Result<Vec<String>> {
    let listed = command::output("ldd", &[utf8(program)?])?;
    let paths = listed
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    Ok(paths.map(str::to_owned).collect())
}

/// Packs `dir/rootfs` as an image of one layer, in the layout of `docker save`.
fn write(dir: &Path, name: &str, config: &str) -> Result<PathBuf> {
    let layer = dir.join("layer.tar");
    pack(&layer, &dir.join("rootfs"), &["."])?;
    let sum = command::output("sha256sum", &[utf8(&layer)?])?;
    let sum = sum.split(' ').next().unwrap_or_default();
    let config = format!(
        r#"{{"architecture": "{}", "os": "linux", "config": {{{config}, "Env": ["PATH=/usr/bin:/bin"]}},
"rootfs": {{"type": "layers", "diff_ids": ["sha256:{sum}"]}}}}"#,
        architecture()
    );
    fs::write(dir.join("config.json"), config)?;
    let manifest = format!(
        r#"[{{"Config": "config.json", "RepoTags": ["{name}"], "Layers": ["layer.tar"]}}]"#
    );
    fs::write(dir.join("manifest.json"), manifest)?;
    let archive = dir.join("image.tar");
    pack(
        &archive,
        dir,
        &["manifest.json", "config.json", "layer.tar"],
    )?;
    Ok(archive)
}

/// What containers call this machine's processor.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// An archive that is the same whenever the files are.
fn pack(archive: &Path, dir: &Path, names: &[&str]) -> Result<()> {
    let mut args = vec![
        "--sort=name",
        "--mtime=@0",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "-C",
        utf8(dir)?,
        "-cf",
        utf8(archive)?,
    ];
    args.extend(names);
    command::quiet("tar", &args).map(drop)
}

/// Gives an image to the containerd of a node.
pub(super) fn import(node: &Node, archive: &Path) -> Result<()> {
    let socket = node.containerd();
    let words = [
        "--address",
        utf8(&socket)?,
        "--namespace",
        "k8s.io",
        "images",
        "import",
        utf8(archive)?,
    ];
    command::quiet("ctr", &words).map(drop)
}
