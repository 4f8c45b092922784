//! Crate edges: who may depend on whom.
//!
//! The arrows point one way, core <- {proto, keeper} <- {cache-server, cache-client,
//! fuse-client, csi-driver} <- cli, and the big libraries stay behind the crate that owns
//! their subject.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::command;

/// Workspace crates that each crate may name. `tests` and `benches` may see everything.
const INTERNAL: &[(&str, &[&str])] = &[
    ("forebay-core", &[]),
    ("forebay-proto", &["forebay-core"]),
    ("forebay-keeper", &["forebay-core"]),
    ("forebay-loopback-s3", &[]),
    ("forebay-cache-server", &["forebay-core", "forebay-proto"]),
    ("forebay-cache-client", &["forebay-core", "forebay-proto"]),
    (
        "forebay-fuse-client",
        &["forebay-core", "forebay-proto", "forebay-keeper"],
    ),
    ("forebay-csi-driver", &["forebay-core", "forebay-proto"]),
    (
        "forebay",
        &[
            "forebay-core",
            "forebay-proto",
            "forebay-keeper",
            "forebay-cache-client",
            "forebay-cache-server",
            "forebay-fuse-client",
            "forebay-csi-driver",
            "forebay-loopback-s3",
        ],
    ),
    ("xtask", &["forebay-core"]),
];

/// Libraries that only the named crates may use (development dependencies aside).
const OWNED: &[(&str, &[&str])] = &[
    (
        "object_store",
        &["forebay-cache-server", "forebay-tests", "forebay-benches"],
    ),
    (
        "reqwest",
        &["forebay-cache-server", "forebay-tests", "forebay-benches"],
    ),
    ("fuser", &["forebay-fuse-client"]),
    ("kube", &["forebay-controller", "forebay-csi-driver"]),
    ("s3s", &["forebay-loopback-s3"]),
    ("clap", &["forebay", "forebay-benches", "xtask"]),
    (
        "anyhow",
        &["forebay", "forebay-benches", "forebay-tests", "xtask"],
    ),
];

/// Crates that see everything, being tests and measurements.
const OBSERVERS: &[&str] = &["forebay-tests", "forebay-benches", "forebay-fuzz"];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

/// Reports every edge that the rules above do not allow.
pub(crate) fn check() -> Result<()> {
    let json = command::output("cargo", &["metadata", "--format-version", "1", "--no-deps"])?;
    let metadata: Metadata = serde_json::from_str(&json).context("read cargo metadata")?;
    let faults = faults(&metadata);
    if !faults.is_empty() {
        bail!(
            "crate edges that are not allowed:\n  {}",
            faults.join("\n  ")
        );
    }
    println!(
        "crate edges: {} crates, all as allowed",
        metadata.packages.len()
    );
    Ok(())
}

fn faults(metadata: &Metadata) -> Vec<String> {
    let members: BTreeSet<&str> = metadata.packages.iter().map(|p| p.name.as_str()).collect();
    let mut faults = Vec::new();
    for package in &metadata.packages {
        if OBSERVERS.contains(&package.name.as_str()) {
            continue;
        }
        let Some((_, allowed)) = INTERNAL.iter().find(|(name, _)| *name == package.name) else {
            faults.push(format!(
                "{}: no rule names this crate; add one",
                package.name
            ));
            continue;
        };
        let normal = package
            .dependencies
            .iter()
            .filter(|d| d.kind.as_deref() != Some("dev"));
        for dependency in normal {
            let name = dependency.name.as_str();
            let edge = format!("{} -> {name}", package.name);
            if members.contains(name) && !allowed.contains(&name) {
                faults.push(edge.clone());
            }
            if let Some((_, owners)) = OWNED.iter().find(|(library, _)| *library == name)
                && !owners.contains(&package.name.as_str())
            {
                faults.push(format!("{edge} (only {})", owners.join(", ")));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(package: &str, dependency: &str) -> Metadata {
        let edge = Dependency {
            name: dependency.into(),
            kind: None,
        };
        Metadata {
            packages: vec![
                Package {
                    name: "forebay-core".into(),
                    dependencies: vec![],
                },
                Package {
                    name: package.into(),
                    dependencies: vec![edge],
                },
            ],
        }
    }

    #[test]
    fn an_arrow_against_the_direction_is_a_fault() {
        let wrong = metadata("forebay-proto", "forebay-proto");
        assert_eq!(faults(&wrong), ["forebay-proto -> forebay-proto"]);
    }

    #[test]
    fn a_library_outside_its_owner_is_a_fault() {
        assert_eq!(
            faults(&metadata("forebay-fuse-client", "object_store")).len(),
            1
        );
        assert!(faults(&metadata("forebay-cache-server", "object_store")).is_empty());
    }
}
