//! Compiles the contracts in `proto/` to Rust, without `protoc`.

use std::error::Error;

/// Our own contracts, below `proto/`.
const OURS: [&str; 2] = ["cache/v1/cache.proto", "mount/v1/mount.proto"];

/// Those of others, kept as they are published.
const OTHERS: [&str; 2] = ["csi/v1/csi.proto", "pluginregistration/v1/api.proto"];

/// Messages with a field that is marked `csi_secret`. What is derived for `Debug` would
/// print it, so they have none.
const WITH_SECRETS: [&str; 19] = [
    ".csi.v1.CreateVolumeRequest",
    ".csi.v1.DeleteVolumeRequest",
    ".csi.v1.ControllerPublishVolumeRequest",
    ".csi.v1.ControllerUnpublishVolumeRequest",
    ".csi.v1.ValidateVolumeCapabilitiesRequest",
    ".csi.v1.ControllerModifyVolumeRequest",
    ".csi.v1.CreateSnapshotRequest",
    ".csi.v1.DeleteSnapshotRequest",
    ".csi.v1.ListSnapshotsRequest",
    ".csi.v1.GetSnapshotRequest",
    ".csi.v1.ControllerExpandVolumeRequest",
    ".csi.v1.NodeStageVolumeRequest",
    ".csi.v1.NodePublishVolumeRequest",
    ".csi.v1.NodeExpandVolumeRequest",
    ".csi.v1.CreateVolumeGroupSnapshotRequest",
    ".csi.v1.DeleteVolumeGroupSnapshotRequest",
    ".csi.v1.GetVolumeGroupSnapshotRequest",
    ".csi.v1.GetMetadataAllocatedRequest",
    ".csi.v1.GetMetadataDeltaRequest",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    tonic_prost_build::configure()
        // The messages are also what `--json` prints: one definition for both.
        .type_attribute(".", "#[derive(serde::Serialize)]")
        .enum_attribute(".", "#[serde(rename_all = \"snake_case\")]")
        .btree_map(".")
        .compile_fds(protox::compile(OURS, ["proto"])?)?;
    tonic_prost_build::configure()
        // Their examples are no Rust, and would be compiled as if they were.
        .disable_comments(["."])
        // What no capability offers needs no code to say so.
        .generate_default_stubs(true)
        .skip_debug(WITH_SECRETS)
        .compile_fds(protox::compile(OTHERS, ["proto"])?)?;
    Ok(())
}
