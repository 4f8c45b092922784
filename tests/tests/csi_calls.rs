//! The CSI driver on a node, called as a kubelet calls it: what calls promise, one at a
//! time. That they may come in any order is in `csi_interleavings.rs`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use forebay_loopback_s3::{Action, Fault, LoopbackS3};
use forebay_proto::csi::v1::node_client::NodeClient;
use forebay_proto::csi::v1::volume_usage::Unit;
use forebay_proto::csi::v1::{NodeGetVolumeStatsResponse, NodeStageVolumeRequest};
use forebay_tests::csi::{CsiNode, Volume};
use forebay_tests::{kill, wait_until};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::Signal;
use tonic::Code;
use tonic::transport::Channel;

/// How long the driver may take to mend what it finds.
const MENDS: Duration = Duration::from_secs(30);
/// The kubelet waits so long for an answer.
const ANSWER: Duration = Duration::from_secs(110);

const ONE: Volume = Volume::Staged(0);
const PART: Volume = Volume::Staged(2);

#[tokio::test]
async fn a_volumes_size_files_and_condition_are_told() {
    let node = CsiNode::start();
    let mut driver = driver_of(&node).await;
    show(&node, &mut driver, ONE).await;
    let told = stats(&node, &mut driver).await;
    let total = |unit: Unit| {
        let of_unit = told.usage.iter().find(|usage| usage.unit() == unit);
        let usage = of_unit.expect("there is one of each unit");
        // A dataset is full: nothing can be added to it.
        assert_eq!((usage.available, usage.used), (0, usage.total));
        usage.total
    };
    assert!((1..=2 * 4096).contains(&total(Unit::Bytes)), "{told:?}");
    // Two files, a directory, and the root.
    assert_eq!(total(Unit::Inodes), 4);
    assert!(!is_abnormal(&told), "{told:?}");
    signal_mounts(&node, Signal::STOP);
    let told = stats(&node, &mut driver).await;
    signal_mounts(&node, Signal::CONT);
    assert!(is_abnormal(&told), "{told:?}");
    assert_eq!(told.usage.len(), 2);
}

#[tokio::test]
async fn a_mount_that_does_not_answer_is_taken_away_in_time() {
    let node = CsiNode::start();
    let mut driver = driver_of(&node).await;
    show(&node, &mut driver, ONE).await;
    signal_mounts(&node, Signal::STOP);
    let hidden = tokio::time::timeout(ANSWER, hide(&node, &mut driver, ONE)).await;
    hidden.expect("the kubelet has an answer");
    let gone = wait_until(MENDS, || node.left().is_empty());
    assert!(gone, "{:?}", node.left());
}

#[tokio::test]
async fn a_volume_is_shown_again_when_its_dead_mount_could_not_be_served_at_first() {
    let (server, node) = (bucket(), CsiNode::start());
    let mut driver = driver_of(&node).await;
    show_bucket(&node, &mut driver, &server).await;
    let denied = Fault::new(Action::status(403, "AccessDenied"));
    server.faults().push(denied.always());
    node.kill_mounts_and_keepers();
    let failed = wait_until(MENDS, || node.log().contains("not repaired"));
    assert!(failed, "{}", node.log());
    server.faults().clear();
    let file = node.target(ONE, 0).join("file");
    let again = wait_until(MENDS, || {
        fs::read(&file).is_ok_and(|read| read == b"content")
    });
    assert!(again, "{:#?}\n{}", node.mounts(), node.log());
    hide(&node, &mut driver, ONE).await;
    let gone = wait_until(MENDS, || node.left().is_empty());
    assert!(gone, "{:#?}", node.left());
}

#[tokio::test]
async fn a_volume_is_taken_away_while_its_dead_mount_is_being_started() {
    let (server, node) = (bucket(), CsiNode::start());
    let mut driver = driver_of(&node).await;
    show_bucket(&node, &mut driver, &server).await;
    let slow = Fault::new(Action::Delay(ANSWER));
    server.faults().push(slow.always());
    node.kill_mounts_and_keepers();
    let starts = wait_until(MENDS, || {
        node.mounts().iter().any(|line| line.contains(".lost "))
    });
    assert!(starts, "{}", node.log());
    let begun = Instant::now();
    hide(&node, &mut driver, ONE).await;
    assert!(begun.elapsed() < MENDS, "it took {:?}", begun.elapsed());
    assert!(!node.target(ONE, 0).exists());
    server.faults().clear();
    let gone = wait_until(ANSWER, || node.left().is_empty());
    assert!(gone, "{:#?}\n{}", node.left(), node.log());
}

#[tokio::test]
async fn what_an_earlier_driver_left_is_found_and_taken_away() {
    let mut node = CsiNode::start();
    let mut driver = driver_of(&node).await;
    // One mount whose staging path the kubelet has lost, another that nobody knows of.
    for volume in [ONE, PART] {
        let staged = driver.node_stage_volume(node.stage(number(volume))).await;
        staged.unwrap();
    }
    let mut other = node.stage(1);
    other
        .volume_context
        .insert("fileMode".into(), "0440".into());
    let staging = other.staging_target_path.clone();
    driver.node_stage_volume(other).await.unwrap();
    node.kill_driver();
    for path in [
        node.stage(0).staging_target_path,
        node.stage(2).staging_target_path,
        staging,
    ] {
        unmount(path, UnmountFlags::DETACH).unwrap();
    }
    let notes = node.path("run/notes");
    fs::remove_file(first_with(&notes, ".json")).unwrap();
    // What a driver leaves that dies between two steps.
    let half_made = "0123456789abcdef0123456789abcdef";
    fs::create_dir(
        node.path("kubelet/plugins/csi.forebay.dev/mounts")
            .join(half_made),
    )
    .unwrap();
    fs::write(notes.join(format!("{half_made}.json")), "{\"spec\":").unwrap();
    assert!(!node.left().is_empty());
    node.start_driver();
    let gone = wait_until(MENDS, || node.left().is_empty());
    assert!(gone, "{:#?}\n{}", node.left(), node.log());
}

#[tokio::test]
async fn a_path_that_leads_elsewhere_is_refused_and_nothing_is_mounted_there() {
    let node = CsiNode::start();
    let mut driver = driver_of(&node).await;
    driver.node_stage_volume(node.stage(0)).await.unwrap();
    let outside = node.path("outside");
    fs::create_dir_all(outside.join("mount")).unwrap();
    let pods = node.path("kubelet/pods");
    symlink(&outside, pods.join("link")).unwrap();
    symlink(outside.join("mount"), pods.join("last")).unwrap();
    let before = node.mounts().len();
    for target in [
        pods.join("link/mount"),
        pods.join("link/new"),
        pods.join("last"),
        pods.join("../../outside/mount"),
        outside.join("mount"),
        PathBuf::from("/etc"),
        PathBuf::from("kubelet/pods/x"),
    ] {
        let target = target.display().to_string();
        let mut publish = node.publish(ONE, 0);
        publish.target_path.clone_from(&target);
        let status = driver.node_publish_volume(publish).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{target}: {status}");
        assert!(status.message().contains("team/set"), "{status}");
        let mut stage = node.stage(1);
        stage.staging_target_path.clone_from(&target);
        let status = driver.node_stage_volume(stage).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{target}: {status}");
        let mut unpublish = node.unpublish(ONE, 0);
        unpublish.target_path = target;
        // What is not there may be taken away; what is there must stay.
        let _ = driver.node_unpublish_volume(unpublish).await;
    }
    assert_eq!(node.mounts().len(), before);
    assert!(outside.join("mount").is_dir() && !outside.join("new").exists());
    assert!(pods.join("last").is_symlink());
    for link in ["link", "last"] {
        fs::remove_file(pods.join(link)).unwrap();
    }
}

#[tokio::test]
async fn a_secret_is_used_and_seen_nowhere() {
    const ACCESS: &str = "AKIARECOGNISABLE0001";
    const SECRET: &str = "recognisable-secret-key-that-nobody-may-see";
    let server = LoopbackS3::builder().credentials(ACCESS, SECRET).start();
    let server = server.unwrap();
    server.put("data", "file", "content");
    let node = CsiNode::start();
    let mut driver = driver_of(&node).await;
    let with_secret = |secret: &str| {
        let mut stage = node.stage(0);
        let source = [
            ("url", "s3://data".to_owned()),
            ("endpoint", server.endpoint()),
        ];
        for (key, value) in source {
            stage.volume_context.insert(key.into(), value);
        }
        for (key, value) in [("accessKeyId", ACCESS), ("secretAccessKey", secret)] {
            stage.secrets.insert(key.into(), value.into());
        }
        stage
    };
    let wrong = format!("{SECRET}-not");
    let status = driver.node_stage_volume(with_secret(&wrong)).await;
    let status = status.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(!status.message().contains(SECRET), "{status}");
    driver.node_stage_volume(with_secret(SECRET)).await.unwrap();
    driver
        .node_publish_volume(node.publish(ONE, 0))
        .await
        .unwrap();
    let read = fs::read(node.target(ONE, 0).join("file")).unwrap();
    assert_eq!(read, b"content");
    assert!(!node.log().contains(SECRET));
    for line in node.command_lines() {
        assert!(!line.contains(SECRET), "{line}");
    }
    // On the disk it is nowhere; in the run directory, which is tmpfs on a node, it is in
    // a note that its owner alone can read.
    let noted = containing(node.scratch(), SECRET);
    let notes = node.path("run/notes");
    assert!(!noted.is_empty());
    for path in noted {
        assert!(path.starts_with(&notes), "{}", path.display());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }
    hide(&node, &mut driver, ONE).await;
    // The note of the volume that was refused goes with the next sweep.
    let forgotten = wait_until(MENDS, || containing(node.scratch(), SECRET).is_empty());
    assert!(forgotten, "{:?}", containing(node.scratch(), SECRET));
}

#[tokio::test]
async fn every_socket_is_its_owners_only() {
    let node = CsiNode::start();
    let mut driver = driver_of(&node).await;
    show(&node, &mut driver, ONE).await;
    let sockets: Vec<_> = files(node.scratch())
        .into_iter()
        .filter(|path| fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()))
        .collect();
    assert!(sockets.len() >= 2, "{sockets:?}");
    for path in sockets {
        let mode = fs::symlink_metadata(&path).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
    }
}

#[tokio::test]
async fn a_pinned_version_is_shown_as_long_as_the_node_or_the_source_has_it() {
    let node = CsiNode::start();
    let mut driver = driver_of(&node).await;
    show(&node, &mut driver, ONE).await;
    let mut version = [0; 32];
    rustix::fs::getxattr(node.target(ONE, 0), "user.forebay.version", &mut version).unwrap();
    let version = String::from_utf8(version.to_vec()).unwrap();
    let pinned = |digits: &str| {
        let mut stage = node.stage(1);
        stage.volume_context.insert("version".into(), digits.into());
        stage
    };
    let other = Volume::Staged(1);
    driver
        .node_stage_volume(pinned(&version[..8]))
        .await
        .unwrap();
    driver
        .node_publish_volume(node.publish(other, 0))
        .await
        .unwrap();
    node.check(other, 0).unwrap();
    hide(&node, &mut driver, other).await;
    fs::write(node.path("data/added"), "later").unwrap();
    hide(&node, &mut driver, ONE).await;
    show(&node, &mut driver, ONE).await;
    assert!(node.target(ONE, 0).join("added").exists());
    // This node has had it.
    driver
        .node_stage_volume(pinned(&version[..8]))
        .await
        .unwrap();
    driver
        .node_publish_volume(node.publish(other, 0))
        .await
        .unwrap();
    node.check(other, 0).unwrap();
    assert!(!node.target(other, 0).join("added").exists());
    hide(&node, &mut driver, other).await;
    let never = if version.starts_with("0000") {
        "1111"
    } else {
        "0000"
    };
    let status = driver.node_stage_volume(pinned(never)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let said = status.message();
    assert!(
        said.starts_with("dataset team/set: mount: ") && said.contains(never),
        "{said}"
    );
}

/// A bucket with a file, for everybody.
fn bucket() -> LoopbackS3 {
    let server = LoopbackS3::builder().start().unwrap();
    server.put("data", "file", "content");
    server
}

/// The call to stage the first volume, with that bucket as its source.
fn of_bucket(node: &CsiNode, server: &LoopbackS3) -> NodeStageVolumeRequest {
    let mut stage = node.stage(0);
    for (key, value) in [
        ("url", "s3://data"),
        ("endpoint", &server.endpoint()),
        ("anonymous", "true"),
    ] {
        stage.volume_context.insert(key.into(), value.into());
    }
    stage
}

async fn driver_of(node: &CsiNode) -> NodeClient<Channel> {
    node.connect().await.expect("the driver listens")
}

fn number(volume: Volume) -> u8 {
    let (Volume::Staged(number) | Volume::Inline(number)) = volume;
    number
}

/// Stages and publishes a volume, and reads it.
async fn show(node: &CsiNode, driver: &mut NodeClient<Channel>, volume: Volume) {
    let stage: NodeStageVolumeRequest = node.stage(number(volume));
    driver.node_stage_volume(stage).await.unwrap();
    driver
        .node_publish_volume(node.publish(volume, 0))
        .await
        .unwrap();
    node.check(volume, 0).unwrap();
}

/// The same of the first volume, with that bucket as its source.
async fn show_bucket(node: &CsiNode, driver: &mut NodeClient<Channel>, server: &LoopbackS3) {
    let stage = of_bucket(node, server);
    driver.node_stage_volume(stage).await.unwrap();
    let published = driver.node_publish_volume(node.publish(ONE, 0)).await;
    published.unwrap();
}

/// Takes it away again.
async fn hide(node: &CsiNode, driver: &mut NodeClient<Channel>, volume: Volume) {
    driver
        .node_unpublish_volume(node.unpublish(volume, 0))
        .await
        .unwrap();
    driver
        .node_unstage_volume(node.unstage(number(volume)))
        .await
        .unwrap();
}

async fn stats(node: &CsiNode, driver: &mut NodeClient<Channel>) -> NodeGetVolumeStatsResponse {
    let asked = driver.node_get_volume_stats(node.stats(ONE, 0)).await;
    asked.unwrap().into_inner()
}

fn is_abnormal(told: &NodeGetVolumeStatsResponse) -> bool {
    told.volume_condition.as_ref().unwrap().abnormal
}

fn signal_mounts(node: &CsiNode, signal: Signal) {
    let pids = node.mount_processes();
    assert!(!pids.is_empty());
    for pid in pids {
        kill(pid, signal);
    }
}

/// The file of `dir` whose name is the first to end like that.
fn first_with(dir: &Path, end: &str) -> PathBuf {
    let mut names = files(dir);
    names.retain(|path| path.to_string_lossy().ends_with(end));
    names.sort();
    names.swap_remove(0)
}

/// Every file below `dir` that is on the same file system.
fn files(dir: &Path) -> Vec<PathBuf> {
    let device = fs::metadata(dir).unwrap().dev();
    let mut found = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(known) = fs::symlink_metadata(&path) else {
                continue;
            };
            match known.is_dir() {
                true if known.dev() == device => left.push(path),
                true => {}
                false => found.push(path),
            }
        }
    }
    found
}

/// The files below `dir` that hold these words.
fn containing(dir: &Path, words: &str) -> Vec<PathBuf> {
    let mut found = files(dir);
    found.retain(|path| {
        let is_file = fs::symlink_metadata(path).is_ok_and(|known| known.is_file());
        let content = if is_file { fs::read(path).ok() } else { None };
        content.is_some_and(|content| {
            content
                .windows(words.len())
                .any(|part| part == words.as_bytes())
        })
    });
    found
}
