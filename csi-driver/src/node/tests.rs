use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use forebay_proto::csi::v1::volume_capability::access_mode::Mode;
use forebay_proto::csi::v1::volume_capability::{AccessMode, AccessType, MountVolume};
use forebay_proto::csi::v1::{NodeExpandVolumeRequest, VolumeCapability};
use tokio::sync::Semaphore;
use tonic::Code;

use super::*;
use crate::mounter::{Mounter, MounterError, State};
use crate::record::Records;
use crate::resolver::FromVolume;
use crate::secrets::Secrets;
use crate::spec::{MountKey, MountSpec};

/// Mounts nothing: every start fails as it was told, once it may.
#[derive(Debug)]
struct Failing {
    error: MounterError,
    may_end: Semaphore,
    starts: AtomicUsize,
}

impl Failing {
    fn new(error: MounterError, may_end: usize) -> Arc<Self> {
        Arc::new(Self {
            error,
            may_end: Semaphore::new(may_end),
            starts: AtomicUsize::new(0),
        })
    }
}

#[async_trait]
impl Mounter for Failing {
    async fn start(
        &self,
        _: &MountKey,
        _: &MountSpec,
        _: &Secrets,
        _: &Path,
    ) -> std::result::Result<(), MounterError> {
        self.starts.fetch_add(1, Ordering::SeqCst);
        let _may_end = self.may_end.acquire().await;
        Err(self.error.clone())
    }

    async fn state(&self, _: &Path) -> std::result::Result<State, MounterError> {
        Ok(State::Gone)
    }

    async fn stop(&self, _: &Path) -> std::result::Result<(), MounterError> {
        Ok(())
    }

    async fn served(&self) -> std::result::Result<Vec<PathBuf>, MounterError> {
        Ok(Vec::new())
    }
}

struct Node1 {
    dir: tempfile::TempDir,
    service: NodeService,
}

impl Node1 {
    fn new(mounter: Arc<Failing>, deadline: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["kubelet", "mounts"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let config = Config {
            kubelet_dir: dir.path().join("kubelet"),
            topology: vec![("topology.kubernetes.io/zone".into(), "z1".into())],
            deadline,
            ..Config::new("node-1")
        };
        let root = Root::new(&config.kubelet_dir).unwrap();
        let records = Records::open(dir.path().join("notes")).unwrap();
        let mounts = dir.path().join("mounts");
        let parts = Parts {
            shared: Arc::new(SharedMounts::new(mounts, root.clone(), mounter, records)),
            root,
            resolver: Box::new(FromVolume {
                local_sources: false,
                server: None,
            }),
            volumes: Locks::default(),
            config,
        };
        Self {
            dir,
            service: NodeService::new(parts, Tasks::new(deadline)),
        }
    }

    /// The call to stage a volume, all in order.
    fn request(&self) -> NodeStageVolumeRequest {
        let context = [("dataset", "team/images"), ("url", "s3://bucket")];
        NodeStageVolumeRequest {
            volume_id: "v".into(),
            staging_target_path: self.dir.path().join("kubelet/v").display().to_string(),
            volume_capability: Some(VolumeCapability {
                access_mode: Some(AccessMode {
                    mode: Mode::MultiNodeReaderOnly.into(),
                }),
                access_type: Some(AccessType::Mount(MountVolume::default())),
            }),
            volume_context: context
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            ..NodeStageVolumeRequest::default()
        }
    }

    async fn stage(&self, request: NodeStageVolumeRequest) -> Status {
        let staged = self.service.node_stage_volume(Request::new(request)).await;
        staged.unwrap_err()
    }
}

const PLENTY: Duration = Duration::from_secs(60);

fn source_error() -> MounterError {
    MounterError::Source {
        said: "no such bucket".into(),
    }
}

#[tokio::test]
async fn a_mount_that_fails_has_the_code_of_its_cause_and_says_dataset_phase_and_next_step() {
    let said = || "it said why".to_owned();
    for (error, code) in [
        (MounterError::Wrong { said: said() }, Code::InvalidArgument),
        (MounterError::Source { said: said() }, Code::Unavailable),
        (MounterError::Node { said: said() }, Code::Internal),
        (
            MounterError::TimedOut { seconds: 7 },
            Code::DeadlineExceeded,
        ),
    ] {
        let cause = error.to_string();
        let node = Node1::new(Failing::new(error, 1), PLENTY);
        let status = node.stage(node.request()).await;
        assert_eq!(status.code(), code, "{status}");
        let start = format!("dataset team/images: mount: {cause}; next: ");
        assert!(status.message().starts_with(&start), "{status}");
    }
}

#[tokio::test]
async fn a_wrong_request_says_dataset_phase_and_next_step_as_well() {
    type Change = fn(&mut NodeStageVolumeRequest);
    let changes: [(Change, &str); 5] = [
        (
            |request| request.volume_capability = None,
            "dataset team/images: ",
        ),
        (
            |request| request.staging_target_path = "/etc/x".into(),
            "dataset team/images: ",
        ),
        (
            |request| drop(request.volume_context.insert("uid".into(), "root".into())),
            "dataset team/images: ",
        ),
        (
            |request| {
                drop(
                    request
                        .secrets
                        .insert("LD_PRELOAD".into(), "hunter2".into()),
                )
            },
            "dataset team/images: ",
        ),
        (
            |request| drop(request.volume_context.insert("dataset".into(), "..".into())),
            "volume v: ",
        ),
    ];
    let node = Node1::new(Failing::new(source_error(), 1), PLENTY);
    for (change, subject) in changes {
        let mut request = node.request();
        change(&mut request);
        let status = node.stage(request).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        let start = format!("{subject}request: ");
        assert!(status.message().starts_with(&start), "{status}");
        assert!(status.message().contains("; next: "), "{status}");
        assert!(!status.message().contains("hunter2"), "{status}");
    }
}

#[tokio::test]
async fn a_call_past_its_deadline_is_answered_and_what_it_began_goes_on() {
    let mounter = Failing::new(source_error(), 0);
    let node = Node1::new(Arc::clone(&mounter), Duration::from_millis(50));
    let status = node.stage(node.request()).await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    let said = status.message();
    assert!(
        said.starts_with("dataset team/images: stage: ")
            && said.ends_with("; next: call again for the outcome"),
        "{said}"
    );
    // Made again, the call waits for the first, and does not start a second beside it.
    let again = node.stage(node.request()).await;
    assert_eq!(again.code(), Code::DeadlineExceeded, "{again}");
    assert_eq!(mounter.starts.load(Ordering::SeqCst), 1);
    mounter.may_end.add_permits(1);
    node.service.tasks.drain(PLENTY).await;
    assert_eq!(mounter.starts.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_node_tells_its_topology_and_what_it_can_do_and_no_more() {
    let node = Node1::new(Failing::new(source_error(), 1), PLENTY);
    let info = node
        .service
        .node_get_info(Request::new(NodeGetInfoRequest {}));
    let info = info.await.unwrap().into_inner();
    let mut segments: Vec<_> = info
        .accessible_topology
        .unwrap()
        .segments
        .into_iter()
        .collect();
    segments.sort();
    let expected = [
        ("topology.csi.forebay.dev/node", "node-1"),
        ("topology.kubernetes.io/zone", "z1"),
    ];
    assert_eq!(
        segments,
        expected.map(|(key, value)| (key.into(), value.into()))
    );
    let expand = NodeExpandVolumeRequest::default();
    let expand = node.service.node_expand_volume(Request::new(expand)).await;
    assert_eq!(expand.unwrap_err().code(), Code::Unimplemented);
}
