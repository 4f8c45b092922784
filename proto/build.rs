//! Compiles the contracts in `proto/` to Rust, without `protoc`.

use std::error::Error;

/// The contracts, below `proto/`.
const FILES: [&str; 1] = ["mount/v1/mount.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    tonic_prost_build::configure()
        // The messages are also what `--json` prints: one definition for both.
        .type_attribute(".", "#[derive(serde::Serialize)]")
        .enum_attribute(".", "#[serde(rename_all = \"snake_case\")]")
        .btree_map(".")
        .compile_fds(descriptors)?;
    Ok(())
}
