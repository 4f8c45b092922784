//! What every test on the cluster begins with: a dataset in a bucket, a volume and a claim.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use super::cache_servers::CacheServers;
use super::{Cluster, HOST};
use crate::dataset::{Dataset, Shape, Sizes};
use crate::s3client::S3Client;
use crate::seaweedfs::SeaweedFs;
use crate::wait::wait_until;

/// The node that everything happens on.
pub const NODE: &str = "forebay-n1";

const BUCKET: &str = "data";
/// Where nodes have the run directories of their mounts.
const RUN_DIR: &str = "/run/forebay/csi/mounts/";
/// Where nodes have their shared mounts.
const MOUNTS: &str = "/var/lib/kubelet/plugins/csi.forebay.dev/mounts/";
/// How long what is left of a pod may take to go.
const GOES: Duration = Duration::from_secs(30);

/// Reads everything and compares it with the sums that lie beside it.
pub const CHECK: &str = "cd /data && sha256sum -c SHA256SUMS | grep -vc OK$ ; sha256sum -c SHA256SUMS >/dev/null && echo all right";

/// The cluster, a dataset, and a claim of it called like the test.
#[derive(Debug)]
pub struct Fixture {
    /// The cluster.
    pub cluster: Cluster,
    /// The name of the volume, its claim, its Secret and the label of its pods.
    pub name: String,
    server: SeaweedFs,
    cache_servers: Option<CacheServers>,
}

impl Fixture {
    /// A dataset of some 70 files.
    ///
    /// # Panics
    /// If there is no cluster, or the server does not start.
    pub fn new(name: &str) -> Self {
        Self::with_large(name, 0)
    }

    /// The same, and a file `large` of so many bytes, unless that is 0.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn with_large(name: &str, size: u64) -> Self {
        let fixture = Self::with_bucket(name, size);
        fixture.cluster.apply(&fixture.secret());
        fixture
            .cluster
            .apply(&fixture.claim(&fixture.attributes(6), true));
        fixture
    }

    /// The same, with cache servers on the nodes that bring the bytes.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn with_cache_servers(name: &str, size: u64) -> Self {
        let mut fixture = Self::with_bucket(name, size);
        fixture.cache_servers = Some(CacheServers::start(
            &fixture.cluster,
            &fixture.dataset(),
            &format!("s3://{BUCKET}/set"),
            fixture.server.endpoint(),
        ));
        let attributes = format!("      dataset: {}\n", fixture.dataset());
        fixture.cluster.apply(&fixture.claim(&attributes, false));
        fixture
    }

    fn with_bucket(name: &str, size: u64) -> Self {
        let cluster = Cluster::find();
        let server = SeaweedFs::start_at(HOST, (200 << 20) + 2 * size);
        let client = S3Client::new(server.endpoint());
        client.create_bucket(BUCKET);
        let dataset = Dataset::new(&Shape {
            files: 60,
            directories: 6,
            sizes: Sizes::Skewed(1, 4 << 20),
            seed: 7,
        });
        dataset.upload(&client, BUCKET, "set/");
        client.put(BUCKET, "set/SHA256SUMS", sums(&dataset).as_bytes());
        client.put(BUCKET, "set/below/it", b"a sub-path\n");
        if size > 0 {
            client.put(BUCKET, "set/large", &Self::large(size));
        }
        Self {
            cluster,
            name: name.to_owned(),
            server,
            cache_servers: None,
        }
    }

    /// The dataset's name.
    fn dataset(&self) -> String {
        format!("default/{}", self.name)
    }

    /// What the file `large` holds.
    pub fn large(size: u64) -> Vec<u8> {
        crate::bucket::stream(5, size)
    }

    /// The attributes of a volume of the dataset, as lines of YAML.
    pub fn attributes(&self, indent: usize) -> String {
        let blank = " ".repeat(indent);
        let url = &self.server.endpoint().url;
        format!(
            "{blank}dataset: {}\n{blank}url: s3://{BUCKET}/set\n{blank}endpoint: {url}\n",
            self.dataset()
        )
    }

    fn secret(&self) -> String {
        let keys = self.server.endpoint();
        format!(
            "apiVersion: v1
kind: Secret
metadata: {{name: {name}}}
stringData: {{accessKeyId: {access}, secretAccessKey: {secret}}}
",
            name = self.name,
            access = keys.access_key,
            secret = keys.secret_key,
        )
    }

    /// The volume with these attributes, and its claim.
    fn claim(&self, attributes: &str, has_secret: bool) -> String {
        let name = &self.name;
        let secret = format!("    nodeStageSecretRef: {{namespace: default, name: {name}}}\n");
        let secret = if has_secret { &*secret } else { "" };
        format!(
            "apiVersion: v1
kind: PersistentVolume
metadata: {{name: {name}}}
spec:
  capacity: {{storage: 1Gi}}
  accessModes: [ReadOnlyMany, ReadWriteMany]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: \"\"
  claimRef: {{namespace: default, name: {name}}}
  csi:
    driver: csi.forebay.dev
    volumeHandle: {name}
{secret}    volumeAttributes:
{attributes}---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: {name}}}
spec:
  accessModes: [ReadWriteMany]
  storageClassName: \"\"
  volumeName: {name}
  resources: {{requests: {{storage: 1Gi}}}}
"
        )
    }

    /// A pod that mounts the claim at /data and runs `script`. `more` are lines for its
    /// spec.
    pub fn pod(&self, pod: &str, script: &str, more: &str) {
        let claim = format!("persistentVolumeClaim: {{claimName: {}}}", self.name);
        self.pod_of(pod, script, &claim, more);
    }

    /// A pod with that volume at /data.
    pub fn pod_of(&self, pod: &str, script: &str, volume: &str, more: &str) {
        self.make_pod(pod, script, volume, more, ["", ""]);
    }

    /// A pod that mounts the claim at /data and the directory `part` of it at /part: the
    /// kubelet itself binds the latter.
    pub fn pod_with_part(&self, pod: &str, script: &str, part: &str) {
        let claim = format!("persistentVolumeClaim: {{claimName: {}}}", self.name);
        let mount = format!(", {{name: data, mountPath: /part, subPath: {part}}}");
        self.make_pod(pod, script, &claim, "", [&mount, ""]);
    }

    /// A pod with that volume at /data, and a directory of the node at /host.
    pub fn pod_beside(&self, pod: &str, script: &str, volume: &str, host: &str) {
        let mount = ", {name: host, mountPath: /host}";
        let volumes = format!("  - {{name: host, hostPath: {{path: {host}}}}}\n");
        self.make_pod(pod, script, volume, "", [mount, &volumes]);
    }

    fn make_pod(&self, pod: &str, script: &str, volume: &str, more: &str, host: [&str; 2]) {
        let [host_mount, host_volume] = host;
        self.cluster.apply(&format!(
            "apiVersion: v1
kind: Pod
metadata: {{name: {pod}, labels: {{test: {name}}}}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  nodeSelector: {{kubernetes.io/hostname: {NODE}}}
{more}  containers:
  - name: main
    image: test.local/busybox:1
    imagePullPolicy: Never
    command: [sh, -c, {script:?}]
    volumeMounts: [{{name: data, mountPath: /data}}{host_mount}]
  volumes:
  - name: data
    {volume}
{host_volume}",
            name = self.name
        ));
    }

    /// The processes that serve mounts of the node, with what looks after them.
    pub fn servers(&self) -> Vec<u32> {
        forebay_mounts()
    }

    /// The processes that answer the kernel: one for each mount. What looks after them is
    /// not among them.
    pub fn clients(&self) -> Vec<u32> {
        let has_device = |pid: &u32| {
            let files = std::fs::read_dir(format!("/proc/{pid}/fd"))
                .into_iter()
                .flatten()
                .flatten();
            let mut links = files.filter_map(|file| std::fs::read_link(file.path()).ok());
            links.any(|link| link == Path::new("/dev/fuse"))
        };
        // A keeper holds the device as well, and answers nobody.
        let serves = |pid: &u32| command_line(*pid).is_some_and(|words| is_mount(&words));
        let mut clients = self.servers();
        clients.retain(|pid| serves(pid) && has_device(pid));
        clients
    }

    /// Deletes the pods, and checks that nothing of them is left on the node: no mount, no
    /// process, no note.
    ///
    /// # Panics
    /// If something is.
    pub fn assert_nothing_left(&self) {
        let label = format!("test={}", self.name);
        self.cluster
            .kubectl(&["delete", "pods", "-l", &label, "--timeout=120s"]);
        // The kubelet removes its own directories a moment after the driver's answer.
        let gone = wait_until(GOES, || self.left().is_empty());
        assert!(gone, "left: {:#?}", self.left());
    }

    /// What is left on the node of mounts, processes and directories.
    fn left(&self) -> Vec<String> {
        let mut left = self.cluster.forebay_mounts(NODE);
        let servers = self.servers().into_iter();
        left.extend(servers.map(|pid| format!("process {pid}")));
        let plugins = self.cluster.node_root(NODE).join("var/lib/kubelet/plugins");
        for dir in [
            plugins.join("csi.forebay.dev/mounts"),
            plugins.join("kubernetes.io/csi/csi.forebay.dev"),
        ] {
            let names = names(&dir).into_iter();
            left.extend(names.map(|name| format!("{}/{name}", dir.display())));
        }
        left
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let label = format!("test={}", self.name);
        let cluster = &self.cluster;
        // A test that failed has its message already.
        let _ = cluster.try_kubectl(&[
            "delete",
            "pods",
            "-l",
            &label,
            "--grace-period=1",
            "--timeout=60s",
        ]);
        for kind in ["pvc", "pv", "secret"] {
            let _ = cluster.try_kubectl(&["delete", kind, &self.name, "--timeout=60s"]);
        }
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// What `sha256sum -c` reads.
fn sums(dataset: &Dataset) -> String {
    let mut text = String::new();
    for file in dataset.files() {
        let sum = sha256(&file.content());
        writeln!(text, "{sum}  {}", file.path).expect("a String takes everything");
    }
    text
}

/// The SHA-256 of some bytes, as `sha256sum` writes it.
pub fn sha256(bytes: &[u8]) -> String {
    let sum = ring::digest::digest(&ring::digest::SHA256, bytes);
    sum.as_ref().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}

/// Processes that serve a mount below the directory of a node's kubelet, and their
/// keepers. Those that tests on this machine mount elsewhere are not among them.
fn forebay_mounts() -> Vec<u32> {
    let pids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_ours = |pid: &u32| {
        command_line(*pid).is_some_and(|words| {
            let keeps = words.iter().any(|word| word.starts_with(RUN_DIR));
            is_mount(&words) || (words[0] == "forebay-keeper" && keeps)
        })
    };
    pids.filter(is_ours).collect()
}

fn is_mount(words: &[String]) -> bool {
    words.iter().any(|word| word == "mount") && words.iter().any(|word| word.starts_with(MOUNTS))
}

/// The words of a process's command line, at least one.
fn command_line(pid: u32) -> Option<Vec<String>> {
    let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
    Some(line.split('\0').map(str::to_owned).collect())
}
