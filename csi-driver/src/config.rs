//! What the driver is told about its node.

use std::path::PathBuf;
use std::time::Duration;

/// The driver's name, as `CSIDriver` objects and volumes name it.
pub const DRIVER_NAME: &str = "csi.forebay.dev";

/// The settings of a driver.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's name in the cluster.
    pub node: String,
    /// Where the kubelet keeps what is its own. Volumes are published below it and nowhere
    /// else.
    pub kubelet_dir: PathBuf,
    /// Where shared mounts are made. Mounts below it must reach the kubelet's namespace.
    pub mounts_dir: PathBuf,
    /// Where the driver notes what it mounted, credentials among it: on tmpfs, so that
    /// they never reach a disk and are gone with the machine's start.
    pub run_dir: PathBuf,
    /// Where volumes that were made by the controller service are noted.
    pub state_dir: PathBuf,
    /// The socket of the services.
    pub socket: PathBuf,
    /// Where the kubelet looks for the sockets of plugins; `None` registers nowhere.
    pub registration_dir: Option<PathBuf>,
    /// Additional segments of the node's topology.
    pub topology: Vec<(String, String)>,
    /// Whether a volume without a Secret may use the credentials of the node.
    pub node_credentials: bool,
    /// Whether a volume may show a directory of the node (`file:`). Anybody who may make a
    /// pod could read whatever the driver can.
    pub local_sources: bool,
    /// The socket of the node's cache server, which serves volumes that name a dataset and
    /// no source; `None` if there is none.
    pub server: Option<PathBuf>,
    /// How long a call may take before it is answered with "try again". What it began goes
    /// on.
    pub deadline: Duration,
    /// Between two looks at whether every mount is served.
    pub check_every: Duration,
}

impl Config {
    /// The settings of a node plugin with everything at its usual place.
    pub fn new(node: impl Into<String>) -> Self {
        let kubelet_dir = PathBuf::from("/var/lib/kubelet");
        let own = kubelet_dir.join("plugins").join(DRIVER_NAME);
        Self {
            node: node.into(),
            mounts_dir: own.join("mounts"),
            socket: own.join("csi.sock"),
            registration_dir: Some(kubelet_dir.join("plugins_registry")),
            kubelet_dir,
            run_dir: PathBuf::from("/run/forebay/csi"),
            state_dir: PathBuf::from("/var/lib/forebay/csi"),
            topology: Vec::new(),
            node_credentials: false,
            local_sources: false,
            server: None,
            // The kubelet waits two minutes for an answer.
            deadline: Duration::from_secs(110),
            check_every: Duration::from_secs(5),
        }
    }
}
