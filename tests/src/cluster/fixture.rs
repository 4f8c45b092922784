//! What every test on the cluster begins with: a dataset in a bucket, a volume and a claim.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use super::{Cluster, HOST};
use crate::dataset::{Dataset, Shape, Sizes};
use crate::s3client::S3Client;
use crate::seaweedfs::SeaweedFs;
use crate::wait::wait_until;

/// The node that everything happens on.
pub const NODE: &str = "forebay-n1";

const BUCKET: &str = "data";
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
        let fixture = Self {
            cluster,
            name: name.to_owned(),
            server,
        };
        fixture.cluster.apply(&fixture.objects());
        fixture
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
            "{blank}dataset: default/{}\n{blank}url: s3://{BUCKET}/set\n{blank}endpoint: {url}\n",
            self.name
        )
    }

    fn objects(&self) -> String {
        let name = &self.name;
        let keys = self.server.endpoint();
        format!(
            "apiVersion: v1
kind: Secret
metadata: {{name: {name}}}
stringData: {{accessKeyId: {access}, secretAccessKey: {secret}}}
---
apiVersion: v1
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
    nodeStageSecretRef: {{namespace: default, name: {name}}}
    volumeAttributes:
{attributes}---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: {name}}}
spec:
  accessModes: [ReadWriteMany]
  storageClassName: \"\"
  volumeName: {name}
  resources: {{requests: {{storage: 1Gi}}}}
",
            access = keys.access_key,
            secret = keys.secret_key,
            attributes = self.attributes(6),
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

    /// How many processes have a FUSE device open: one for each mount.
    pub fn clients(&self) -> usize {
        let is_client = |pid: &&u32| {
            let files = std::fs::read_dir(format!("/proc/{pid}/fd"))
                .into_iter()
                .flatten()
                .flatten();
            let mut links = files.filter_map(|file| std::fs::read_link(file.path()).ok());
            links.any(|link| link == Path::new("/dev/fuse"))
        };
        self.servers().iter().filter(is_client).count()
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
        let gone = wait_until(GOES, || {
            self.cluster.forebay_mounts(NODE).is_empty() && self.servers().is_empty()
        });
        assert!(
            gone,
            "left: mounts {:?}, processes {:?}",
            self.cluster.forebay_mounts(NODE),
            self.servers()
        );
        let node = self.cluster.node_root(NODE);
        let plugins = node.join("var/lib/kubelet/plugins");
        for dir in [
            plugins.join("csi.forebay.dev/mounts"),
            plugins.join("kubernetes.io/csi/csi.forebay.dev"),
        ] {
            assert_eq!(names(&dir), Vec::<String>::new(), "{}", dir.display());
        }
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
        let sum = ring::digest::digest(&ring::digest::SHA256, &file.content());
        for byte in sum.as_ref() {
            write!(text, "{byte:02x}").expect("a String takes everything");
        }
        writeln!(text, "  {}", file.path).expect("a String takes everything");
    }
    text
}

/// Processes that serve a mount below a kubelet's directory.
fn forebay_mounts() -> Vec<u32> {
    let pids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read_to_string(entry.path().join("cmdline")).ok()?;
        let words: Vec<_> = line.split('\0').collect();
        let is_mount =
            words.contains(&"mount") && line.contains("/plugins/csi.forebay.dev/mounts/");
        is_mount.then_some(pid)
    });
    pids.collect()
}
