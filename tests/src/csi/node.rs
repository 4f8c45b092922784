//! A node with nothing on it but the driver.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use forebay_proto::csi::v1::node_client::NodeClient;
use forebay_proto::csi::v1::volume_capability::access_mode::Mode;
use forebay_proto::csi::v1::volume_capability::{AccessMode, AccessType, MountVolume};
use forebay_proto::csi::v1::{
    NodeGetVolumeStatsRequest, NodePublishVolumeRequest, NodeStageVolumeRequest,
    NodeUnpublishVolumeRequest, NodeUnstageVolumeRequest, VolumeCapability,
};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::Signal;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::mount::kill;
use crate::require::{binary, require_root_and_fuse};
use crate::scratch::Scratch;
use crate::wait::wait_until;

/// How long the driver may take to listen.
const START: Duration = Duration::from_secs(60);

/// What is read through every volume that shows the whole dataset.
const CONTENT: &str = "the content of a file\n";

/// A volume of the node's one dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volume {
    /// Staged under that number, then published.
    Staged(u8),
    /// Named in the pod itself.
    Inline(u8),
}

/// The node. Dropping it ends the driver and takes away what it mounted.
#[derive(Debug)]
pub struct CsiNode {
    driver: Option<Child>,
    scratch: Scratch,
}

impl CsiNode {
    /// A node with a driver that is ready.
    ///
    /// # Panics
    /// If it is not.
    pub fn start() -> Self {
        require_root_and_fuse();
        let scratch = Scratch::new("csi", 64 << 20);
        for dir in ["kubelet/pods", "kubelet/staging", "data/below"] {
            fs::create_dir_all(scratch.path().join(dir))
                .expect("a scratch directory can be written");
        }
        for file in ["data/file", "data/below/file"] {
            fs::write(scratch.path().join(file), CONTENT)
                .expect("a scratch directory can be written");
        }
        let mut node = Self {
            driver: None,
            scratch,
        };
        node.start_driver();
        node
    }

    /// Where everything of the node lies.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// The file or directory of that name there.
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Starts the driver and waits until it listens.
    ///
    /// # Panics
    /// If it does not.
    pub fn start_driver(&mut self) {
        let option = |name: &str, dir: &str| format!("--{name}={}", self.path(dir).display());
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("driver.log"));
        let socket = self.path("csi.sock");
        let _ = fs::remove_file(&socket);
        let mut command = Command::new(binary());
        command
            .args([
                "csi-driver",
                "--node=test",
                "--register=false",
                "--local-sources",
            ])
            .arg(option("socket", "csi.sock"))
            .arg(option("kubelet-dir", "kubelet"))
            .arg(option("run-dir", "run"))
            .arg(option("state-dir", "state"))
            .arg(option("cache-dir", "cache"))
            .arg(option("mount-config", "mount.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("a log can be written"));
        fs::write(
            self.path("mount.toml"),
            "memory-size = \"0\"\ncache-size = \"64MiB\"\n",
        )
        .expect("a scratch directory can be written");
        self.driver = Some(command.spawn().expect("the driver starts"));
        let listens = wait_until(START, || socket.exists());
        assert!(listens, "the driver does not listen:\n{}", self.log());
    }

    /// Kills the driver, whatever it is doing.
    pub fn kill_driver(&mut self) {
        if let Some(mut driver) = self.driver.take() {
            // It may have ended by itself; then there is nothing to kill.
            let _ = driver.kill();
            let _ = driver.wait();
        }
    }

    /// Kills every process that serves a mount.
    pub fn kill_mounts(&self) {
        for pid in self.mount_processes() {
            kill(pid, Signal::KILL);
        }
    }

    /// Kills those, and what keeps their mounts.
    pub fn kill_mounts_and_keepers(&self) {
        for (pid, _) in self.processes() {
            kill(pid, Signal::KILL);
        }
    }

    /// What the driver has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("driver.log")).unwrap_or_default()
    }

    /// A connection to the driver.
    ///
    /// # Errors
    /// If it does not listen.
    pub async fn connect(&self) -> Result<NodeClient<Channel>, tonic::transport::Error> {
        let socket = format!("unix://{}", self.path("csi.sock").display());
        Endpoint::from_shared(socket)?
            .connect()
            .await
            .map(NodeClient::new)
    }

    fn staging(&self, volume: u8) -> String {
        self.path(&format!("kubelet/staging/v{volume}"))
            .display()
            .to_string()
    }

    /// Where a volume is published for that pod.
    pub fn target(&self, volume: Volume, pod: u8) -> PathBuf {
        self.path("kubelet/pods")
            .join(format!("{}-{pod}", id(volume)))
    }

    fn context(&self, volume: Volume) -> HashMap<String, String> {
        let url = format!("file://{}", self.path("data").display());
        let mut pairs = vec![("dataset", "team/set".to_owned()), ("url", url)];
        match volume {
            // One that shows a part, to be told from the others.
            Volume::Staged(2) => pairs.push(("subPath", "below".to_owned())),
            Volume::Staged(_) => {}
            Volume::Inline(_) => pairs.push(("csi.storage.k8s.io/ephemeral", "true".to_owned())),
        }
        pairs
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    }

    /// The call to stage a volume.
    pub fn stage(&self, volume: u8) -> NodeStageVolumeRequest {
        let staging = self.staging(volume);
        fs::create_dir_all(&staging)
            .or_else(ignore_dead)
            .expect("the kubelet makes it");
        NodeStageVolumeRequest {
            volume_id: id(Volume::Staged(volume)),
            staging_target_path: staging,
            volume_capability: Some(capability()),
            volume_context: self.context(Volume::Staged(volume)),
            ..NodeStageVolumeRequest::default()
        }
    }

    /// The call to unstage it.
    pub fn unstage(&self, volume: u8) -> NodeUnstageVolumeRequest {
        NodeUnstageVolumeRequest {
            volume_id: id(Volume::Staged(volume)),
            staging_target_path: self.staging(volume),
        }
    }

    /// The call to publish a volume for a pod.
    pub fn publish(&self, volume: Volume, pod: u8) -> NodePublishVolumeRequest {
        NodePublishVolumeRequest {
            volume_id: id(volume),
            staging_target_path: match volume {
                Volume::Staged(number) => self.staging(number),
                Volume::Inline(_) => String::new(),
            },
            target_path: self.target(volume, pod).display().to_string(),
            volume_capability: Some(capability()),
            volume_context: self.context(volume),
            readonly: true,
            ..NodePublishVolumeRequest::default()
        }
    }

    /// The call to take it away again.
    pub fn unpublish(&self, volume: Volume, pod: u8) -> NodeUnpublishVolumeRequest {
        NodeUnpublishVolumeRequest {
            volume_id: id(volume),
            target_path: self.target(volume, pod).display().to_string(),
        }
    }

    /// The question how large it is and how it is doing.
    pub fn stats(&self, volume: Volume, pod: u8) -> NodeGetVolumeStatsRequest {
        NodeGetVolumeStatsRequest {
            volume_id: id(volume),
            volume_path: self.target(volume, pod).display().to_string(),
            ..NodeGetVolumeStatsRequest::default()
        }
    }

    /// Whether a volume that is published can be read and is the right one.
    ///
    /// # Errors
    /// What was found instead.
    pub fn check(&self, volume: Volume, pod: u8) -> Result<(), String> {
        let target = self.target(volume, pod);
        let read = |name: &str| fs::read_to_string(target.join(name));
        match (read("file"), read("below/file"), volume) {
            (Ok(text), Err(_), Volume::Staged(2)) if text == CONTENT => Ok(()),
            (Ok(text), Ok(_), _) if text == CONTENT && volume != Volume::Staged(2) => Ok(()),
            (file, below, _) => Err(format!("{}: {file:?}, {below:?}", target.display())),
        }
    }

    /// Lines of the table of mounts that are of this node.
    pub fn mounts(&self) -> Vec<String> {
        let table = fs::read_to_string("/proc/self/mountinfo").expect("it can be read");
        let base = self.scratch.path().display().to_string();
        table
            .lines()
            .filter(|line| line.contains(&base))
            .map(str::to_owned)
            .collect()
    }

    /// Processes that make or serve a mount of this node.
    pub fn mount_processes(&self) -> Vec<u32> {
        let needle = self
            .path("kubelet/plugins/csi.forebay.dev/mounts")
            .display()
            .to_string();
        let serving = |line: &str| line.contains(&needle) && line.contains("\0mount\0");
        command_lines()
            .filter_map(|(pid, line)| serving(&line).then_some(pid))
            .collect()
    }

    /// Processes that have to do with mounts of this node, and their command lines: all
    /// that name its directory, but the driver.
    fn processes(&self) -> Vec<(u32, String)> {
        let base = self.scratch.path().display().to_string();
        let driver = self.driver.as_ref().map(Child::id);
        let is_ours = |(pid, line): &(u32, String)| line.contains(&base) && Some(*pid) != driver;
        command_lines().filter(is_ours).collect()
    }

    /// The command lines of those and of the driver, words apart by blanks.
    pub fn command_lines(&self) -> Vec<String> {
        let base = self.scratch.path().display().to_string();
        command_lines()
            .filter(|(_, line)| line.contains(&base))
            .map(|(_, line)| line.replace('\0', " "))
            .collect()
    }

    /// Switches the node off and on again: of everything but its disk nothing is left.
    ///
    /// # Panics
    /// If the driver does not start then.
    pub fn reboot(&mut self) {
        self.kill_driver();
        self.stop_everything();
        fs::remove_dir_all(self.path("run")).expect("the driver has made it");
        self.start_driver();
    }

    fn stop_everything(&self) {
        self.kill_mounts_and_keepers();
        for line in self.mounts().iter().rev() {
            let Some(place) = line.split(' ').nth(4) else {
                continue;
            };
            // Another bind of it may have gone with it.
            let _ = unmount(place, UnmountFlags::DETACH | UnmountFlags::FORCE);
        }
    }

    /// What is left of mounts when nothing is published: nothing, if all is well.
    pub fn left(&self) -> Vec<String> {
        let mut left = self.mounts();
        let processes = self.processes().into_iter();
        left.extend(
            processes.map(|(pid, line)| format!("process {pid}: {}", line.replace('\0', " "))),
        );
        for dir in ["kubelet/plugins/csi.forebay.dev/mounts", "kubelet/pods"] {
            left.extend(names(&self.path(dir)));
        }
        let notes = names(&self.path("run/notes"));
        left.extend(notes.into_iter().filter(|name| name.ends_with(".json")));
        left
    }
}

impl Drop for CsiNode {
    fn drop(&mut self) {
        self.kill_driver();
        self.stop_everything();
    }
}

/// The command lines of all processes, their words apart by NUL.
fn command_lines() -> impl Iterator<Item = (u32, String)> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    pids.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read_to_string(entry.path().join("cmdline")).ok()?;
        Some((pid, line))
    })
}

/// A kubelet that finds a dead mount at a staging path goes on.
fn ignore_dead(error: std::io::Error) -> std::io::Result<()> {
    let dead = [107, 17].map(Some).contains(&error.raw_os_error());
    if dead { Ok(()) } else { Err(error) }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn id(volume: Volume) -> String {
    match volume {
        Volume::Staged(number) => format!("v{number}"),
        Volume::Inline(number) => format!("i{number}"),
    }
}

fn capability() -> VolumeCapability {
    VolumeCapability {
        access_mode: Some(AccessMode {
            mode: Mode::MultiNodeReaderOnly.into(),
        }),
        access_type: Some(AccessType::Mount(MountVolume::default())),
    }
}

/// Whether an answer says that the call is right and may be made again.
pub(super) fn may_be_repeated(status: &Status) -> bool {
    use tonic::Code;
    !matches!(
        status.code(),
        Code::InvalidArgument | Code::PermissionDenied | Code::Unimplemented
    )
}
