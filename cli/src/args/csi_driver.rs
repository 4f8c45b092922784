//! The arguments of `forebay csi-driver`.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args, ValueHint};

use super::examples;
use crate::options::{LogFormat, ServerAddr};

/// `forebay csi-driver`.
#[derive(Args, Clone, Debug)]
#[command(after_help = examples::CSI_DRIVER)]
pub struct CsiDriverArgs {
    /// The node's name in the cluster.
    #[arg(long, env = "FOREBAY_NODE", value_name = "NAME", help_heading = "Node")]
    pub node: String,
    /// A segment of the node's topology, beside its name; repeat it for several.
    #[arg(
        long,
        env = "FOREBAY_TOPOLOGY",
        value_name = "KEY=VALUE",
        help_heading = "Node"
    )]
    #[arg(value_parser = segment, value_delimiter = ',')]
    pub topology: Vec<(String, String)>,
    /// Where the kubelet keeps what is its own. Volumes are published below it, and nowhere
    /// else.
    #[arg(
        long,
        env = "FOREBAY_KUBELET_DIR",
        value_name = "DIR",
        help_heading = "Node"
    )]
    #[arg(default_value = "/var/lib/kubelet", value_hint = ValueHint::DirPath)]
    pub kubelet_dir: PathBuf,
    /// The socket of the driver; by default plugins/csi.forebay.dev/csi.sock in the
    /// kubelet's directory.
    #[arg(
        long,
        env = "FOREBAY_CSI_SOCKET",
        value_name = "FILE",
        help_heading = "Node"
    )]
    #[arg(value_hint = ValueHint::FilePath)]
    pub socket: Option<PathBuf>,
    /// Tell the kubelet of the driver, at plugins_registry in its directory.
    #[arg(
        long,
        env = "FOREBAY_REGISTER",
        value_name = "BOOL",
        help_heading = "Node"
    )]
    #[arg(default_value = "true", action = clap::ArgAction::Set)]
    #[arg(value_parser = BoolishValueParser::new())]
    pub register: bool,

    /// Where the driver notes what it has mounted, credentials among it: on tmpfs.
    #[arg(
        long,
        env = "FOREBAY_CSI_RUN_DIR",
        value_name = "DIR",
        help_heading = "Files"
    )]
    #[arg(default_value = "/run/forebay/csi", value_hint = ValueHint::DirPath)]
    pub run_dir: PathBuf,
    /// Where volumes are noted, and the logs of mounts are.
    #[arg(
        long,
        env = "FOREBAY_CSI_STATE_DIR",
        value_name = "DIR",
        help_heading = "Files"
    )]
    #[arg(default_value = "/var/lib/forebay/csi", value_hint = ValueHint::DirPath)]
    pub state_dir: PathBuf,
    /// Where each mount has a cache directory of its own.
    #[arg(
        long,
        env = "FOREBAY_CSI_CACHE_DIR",
        value_name = "DIR",
        help_heading = "Files"
    )]
    #[arg(default_value = "/var/cache/forebay/csi", value_hint = ValueHint::DirPath)]
    pub cache_dir: PathBuf,
    /// The socket of the mount host, so that mounts outlive the driver's pod; without it,
    /// they are started by the driver itself.
    #[arg(
        long,
        env = "FOREBAY_MOUNT_HOST",
        value_name = "FILE",
        help_heading = "Files"
    )]
    #[arg(value_hint = ValueHint::FilePath)]
    pub mount_host: Option<PathBuf>,
    /// The cache server of this node: it brings the bytes of volumes that name a dataset
    /// and no source.
    #[arg(
        long,
        env = "FOREBAY_SERVER",
        value_name = "unix:PATH",
        help_heading = "Files"
    )]
    pub server: Option<ServerAddr>,
    /// A config file with options for every mount that has a cache of its own, as
    /// `forebay mount --config` reads it.
    #[arg(
        long,
        env = "FOREBAY_MOUNT_CONFIG",
        value_name = "FILE",
        help_heading = "Files"
    )]
    #[arg(value_hint = ValueHint::FilePath)]
    pub mount_config: Option<PathBuf>,

    /// Let volumes without a Secret use the credentials of the node.
    ///
    /// They are the driver's own: its environment, a web identity, or the metadata service
    /// of the machine. Everybody who may make a pod can then read what the node can.
    #[arg(
        long,
        env = "FOREBAY_NODE_CREDENTIALS",
        value_name = "BOOL",
        help_heading = "Access"
    )]
    #[arg(num_args = 0..=1, default_value = "false", default_missing_value = "true")]
    #[arg(require_equals = true, action = clap::ArgAction::Set)]
    #[arg(value_parser = BoolishValueParser::new())]
    pub node_credentials: bool,
    /// Let volumes show directories of the node (file:///directory).
    ///
    /// Everybody who may make a pod can then read what the driver can: everything.
    #[arg(
        long,
        env = "FOREBAY_LOCAL_SOURCES",
        value_name = "BOOL",
        help_heading = "Access"
    )]
    #[arg(num_args = 0..=1, default_value = "false", default_missing_value = "true")]
    #[arg(require_equals = true, action = clap::ArgAction::Set)]
    #[arg(value_parser = BoolishValueParser::new())]
    pub local_sources: bool,

    /// How a log line looks.
    #[arg(
        long,
        env = "FOREBAY_LOG_FORMAT",
        value_name = "FORMAT",
        help_heading = "Process"
    )]
    #[arg(value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// What is logged: error, warn, info, debug, trace, or a filter.
    #[arg(
        long,
        env = "FOREBAY_LOG_LEVEL",
        value_name = "LEVEL",
        help_heading = "Process"
    )]
    #[arg(default_value = "info", value_parser = crate::options::log_filter)]
    pub log_level: String,
}

/// `forebay mount-host`.
#[derive(Args, Clone, Debug)]
#[command(after_help = examples::MOUNT_HOST)]
pub struct MountHostArgs {
    /// Where orders are taken.
    #[arg(long, env = "FOREBAY_MOUNT_HOST", value_name = "FILE")]
    #[arg(default_value = "/run/forebay/mount-host.sock", value_hint = ValueHint::FilePath)]
    pub socket: PathBuf,
    /// How a log line looks.
    #[arg(long, env = "FOREBAY_LOG_FORMAT", value_name = "FORMAT")]
    #[arg(value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// What is logged: error, warn, info, debug, trace, or a filter.
    #[arg(long, env = "FOREBAY_LOG_LEVEL", value_name = "LEVEL")]
    #[arg(default_value = "info", value_parser = crate::options::log_filter)]
    pub log_level: String,
}

fn segment(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => {
            Ok((key.to_owned(), value.to_owned()))
        }
        _ => Err("expected KEY=VALUE, such as topology.kubernetes.io/zone=a"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_has_a_key_and_a_value() {
        assert_eq!(segment("zone=a"), Ok(("zone".into(), "a".into())));
        for wrong in ["zone", "=a", "zone="] {
            assert!(segment(wrong).is_err(), "{wrong}");
        }
    }
}
