//! csi-sanity, the conformance tests of the Container Storage Interface, against the
//! driver on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cluster::programs;
use crate::command;
use crate::command::utf8;

const START: Duration = Duration::from_secs(30);

/// Tests that need a capability that the driver does not claim, by the words that their
/// names have, and why it does not.
const NOT_OFFERED: [(&str, &str); 13] = [
    (
        "Snapshot",
        "a dataset version is pinned by its number, not copied",
    ),
    ("GroupController", "there are no snapshots to group"),
    ("GroupSnapshot", "there are no snapshots to group"),
    (
        "ControllerPublish",
        "nothing is attached: any node can read the bucket",
    ),
    (
        "ControllerUnpublish",
        "nothing is attached: any node can read the bucket",
    ),
    ("ExpandVolume", "a dataset is as large as its source"),
    ("GetCapacity", "a dataset takes no capacity of anybody"),
    ("ModifyVolume", "a volume's attributes are fixed"),
    (
        "source snapshot",
        "a dataset comes from its source, not from a snapshot",
    ),
    (
        "source volume",
        "a dataset comes from its source, not from a volume",
    ),
    ("volume attribute class", "a volume's attributes are fixed"),
    (
        "volume lifecycle",
        "of a volume that is attached; ours is not (the node service's is played)",
    ),
    (
        "pagination should detect volumes added",
        "csi-sanity itself leaves it out",
    ),
];

/// Runs csi-sanity against a driver with a directory as its source.
pub(crate) fn run() -> Result<()> {
    let sanity = programs::csi_sanity()?;
    command::run("cargo", &["build", "--locked", "--package", "forebay"])?;
    let base = std::env::temp_dir().join(format!("forebay-csi-sanity-{}", std::process::id()));
    let outcome = in_directory(&base, &sanity);
    fs::remove_dir_all(&base).with_context(|| format!("remove {}", base.display()))?;
    outcome
}

fn in_directory(base: &Path, sanity: &Path) -> Result<()> {
    let data = base.join("data/train");
    fs::create_dir_all(&data)?;
    fs::create_dir_all(base.join("kubelet/pods"))?;
    fs::write(data.join("a"), "a file")?;
    let parameters = base.join("parameters.yaml");
    let source = base.join("data");
    fs::write(
        &parameters,
        format!("dataset: team/images\nurl: file://{}\n", source.display()),
    )?;
    let mut driver = Driver::start(base)?;
    let report = base.join("report.json");
    let path = |name: &str| base.join("kubelet/pods").join(name).display().to_string();
    let args = [
        "--ginkgo.no-color".to_owned(),
        format!("--ginkgo.json-report={}", report.display()),
        format!("--csi.endpoint=unix://{}", driver.socket.display()),
        format!("--csi.mountdir={}", path("mount")),
        format!("--csi.stagingdir={}", path("staging")),
        format!("--csi.testvolumeparameters={}", parameters.display()),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let ran = command::quiet(utf8(sanity)?, &args);
    if ran.is_err() {
        println!(
            "{}",
            fs::read_to_string(base.join("driver.log")).unwrap_or_default()
        );
    }
    driver.stop();
    let ran = ran.context("csi-sanity");
    summarize(&report)?;
    ran.map(drop)
}

/// A driver that ends with this value.
struct Driver {
    child: Child,
    socket: PathBuf,
}

impl Driver {
    fn start(base: &Path) -> Result<Self> {
        let socket = base.join("csi.sock");
        let log = fs::File::create(base.join("driver.log"))?;
        let option = |name: &str, dir: &str| format!("--{name}={}", base.join(dir).display());
        let child = Command::new(command::built("debug", "forebay"))
            .args([
                "csi-driver",
                "--node=sanity",
                "--register=false",
                "--local-sources",
            ])
            .arg(option("socket", "csi.sock"))
            .arg(option("kubelet-dir", "kubelet"))
            .arg(option("run-dir", "run"))
            .arg(option("state-dir", "state"))
            .arg(option("cache-dir", "cache"))
            .env("FOREBAY_MEMORY_SIZE", "0")
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .context("start the driver")?;
        let driver = Self { child, socket };
        let deadline = Instant::now() + START;
        while !driver.socket.exists() {
            if Instant::now() > deadline {
                bail!("the driver does not listen at {}", driver.socket.display());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(driver)
    }

    fn stop(&mut self) {
        // It may have ended by itself.
        let _ = command::quiet("kill", &[&self.child.id().to_string()]);
        let _ = self.child.wait();
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Prints how many tests passed, and why the others do not apply.
fn summarize(report: &Path) -> Result<()> {
    let text = fs::read(report).context("csi-sanity wrote no report")?;
    let report: serde_json::Value = serde_json::from_slice(&text)?;
    let specs = report[0]["SpecReports"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let in_state = |state: &str| {
        let tests = specs
            .iter()
            .filter(|spec| spec["LeafNodeType"] == "It" && spec["State"] == state);
        tests.map(name).collect::<Vec<_>>()
    };
    let (passed, failed) = (in_state("passed"), in_state("failed"));
    let mut skipped = in_state("skipped");
    skipped.extend(in_state("pending"));
    for (words, why) in NOT_OFFERED {
        let count = skipped.len();
        skipped.retain(|name| !name.contains(words));
        if skipped.len() < count {
            println!(
                "csi-sanity: {:>3} skipped: {words}: {why}",
                count - skipped.len()
            );
        }
    }
    println!(
        "csi-sanity: {} passed, {} failed",
        passed.len(),
        failed.len()
    );
    if !skipped.is_empty() {
        bail!("skipped for no known reason: {}", skipped.join("; "));
    }
    if !failed.is_empty() || passed.is_empty() {
        bail!("csi-sanity failed: {}", failed.join("; "));
    }
    Ok(())
}

/// The whole name of a test.
fn name(spec: &serde_json::Value) -> String {
    let above = spec["ContainerHierarchyTexts"]
        .as_array()
        .into_iter()
        .flatten();
    let words = above
        .chain([&spec["LeafNodeText"]])
        .filter_map(|text| text.as_str());
    words.collect::<Vec<_>>().join(" ")
}
