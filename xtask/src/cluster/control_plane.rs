//! etcd, API server, controller manager and scheduler, in the machine's own network.

use std::time::Duration;

use anyhow::{Result, bail};

use super::layout::{API_PORT, ETCD_PEER_PORT, ETCD_PORT, HOST, Layout, PODS, SERVICES};
use super::{process, programs};

/// The API server answers some 6 s after its start on an idle machine.
const READY: Duration = Duration::from_secs(120);

/// Starts all four; the API answers when this returns.
pub(super) fn start(layout: &Layout) -> Result<()> {
    process::start(layout, "etcd", "etcd", &etcd(layout))?;
    start_program(layout, "kube-apiserver", &apiserver(layout))?;
    let server = process::find(layout, "kube-apiserver")?;
    let mut answers = false;
    process::until(READY, || {
        answers = layout.kubectl(&["get", "--raw=/readyz"]).is_ok();
        answers || !server.is_alive()
    });
    if !answers {
        bail!(
            "the API server does not answer; see {}",
            layout.log("kube-apiserver").display()
        );
    }
    start_program(
        layout,
        "kube-controller-manager",
        &controller_manager(layout),
    )?;
    start_program(layout, "kube-scheduler", &scheduler(layout))
}

fn start_program(layout: &Layout, program: &str, args: &[String]) -> Result<()> {
    let path = programs::path(program).display().to_string();
    process::start(layout, program, &path, args).map(drop)
}

fn etcd(layout: &Layout) -> Vec<String> {
    let client = format!("http://127.0.0.1:{ETCD_PORT}");
    let peer = format!("http://127.0.0.1:{ETCD_PEER_PORT}");
    vec![
        format!("--data-dir={}", layout.root().join("etcd").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
    ]
}

fn apiserver(layout: &Layout) -> Vec<String> {
    let pki = |name: &str| layout.pki_file(name);
    vec![
        format!("--etcd-servers=http://127.0.0.1:{ETCD_PORT}"),
        format!("--secure-port={API_PORT}"),
        format!("--bind-address={HOST}"),
        format!("--advertise-address={HOST}"),
        "--authorization-mode=Node,RBAC".into(),
        "--allow-privileged=true".into(),
        format!("--service-cluster-ip-range={SERVICES}"),
        "--kubelet-preferred-address-types=InternalIP".into(),
        format!("--client-ca-file={}", pki("ca.crt")),
        format!("--tls-cert-file={}", pki("apiserver.crt")),
        format!("--tls-private-key-file={}", pki("apiserver.key")),
        format!("--kubelet-client-certificate={}", pki("admin.crt")),
        format!("--kubelet-client-key={}", pki("admin.key")),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        format!("--service-account-key-file={}", pki("service-account.pub")),
        format!(
            "--service-account-signing-key-file={}",
            pki("service-account.key")
        ),
    ]
}

fn controller_manager(layout: &Layout) -> Vec<String> {
    let pki = |name: &str| layout.pki_file(name);
    vec![
        format!(
            "--kubeconfig={}",
            layout.kubeconfig("controller-manager").display()
        ),
        "--bind-address=127.0.0.1".into(),
        "--secure-port=16257".into(),
        "--use-service-account-credentials=true".into(),
        format!(
            "--service-account-private-key-file={}",
            pki("service-account.key")
        ),
        format!("--root-ca-file={}", pki("ca.crt")),
        format!("--cluster-signing-cert-file={}", pki("ca.crt")),
        format!("--cluster-signing-key-file={}", pki("ca.key")),
        format!("--cluster-cidr={PODS}"),
        "--leader-elect=false".into(),
    ]
}

fn scheduler(layout: &Layout) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", layout.kubeconfig("scheduler").display()),
        "--bind-address=127.0.0.1".into(),
        "--secure-port=16259".into(),
        "--leader-elect=false".into(),
    ]
}
