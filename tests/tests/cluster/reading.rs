//! Pods read what is in the bucket, whichever way they name it.

use std::time::Duration;

use forebay_tests::cluster::{CHECK, Fixture, NODE};
use forebay_tests::wait_until;

/// How long the kubelet may take to ask and to tell.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn a_pod_with_a_claim_reads_every_byte_right_and_leaves_nothing() {
    let fixture = Fixture::new("claim");
    fixture.pod("claim", CHECK, "");
    let printed = fixture.cluster.wait_success("claim");
    assert_eq!(printed, "0\nall right\n");
    fixture.assert_nothing_left();
}

#[test]
fn two_pods_of_one_dataset_share_one_mount() {
    let fixture = Fixture::new("shared");
    fixture.pod("shared-a", "sleep 600", "");
    fixture.pod("shared-b", "sleep 600", "");
    fixture.cluster.wait_phase("shared-a", "Running");
    fixture.cluster.wait_phase("shared-b", "Running");
    let mounts = fixture.cluster.forebay_mounts(NODE);
    let own = mounts
        .iter()
        .filter(|place| place.contains("/plugins/csi.forebay.dev/mounts/"));
    assert_eq!(own.count(), 1, "{mounts:?}");
    let published = mounts.iter().filter(|place| place.ends_with("/mount"));
    assert_eq!(published.count(), 2, "{mounts:?}");
    fixture.cluster.delete_pod("shared-a");
    let seen = fixture
        .cluster
        .kubectl(&["exec", "shared-b", "--", "cat", "/data/below/it"]);
    assert_eq!(seen, "a sub-path\n");
    fixture.assert_nothing_left();
}

#[test]
fn a_volume_can_be_named_in_the_pod_and_show_a_part() {
    let fixture = Fixture::new("inline");
    let volume = format!(
        "csi:
      driver: csi.forebay.dev
      nodePublishSecretRef: {{name: inline}}
      volumeAttributes:
        subPath: below
{}",
        fixture.attributes(8)
    );
    fixture.pod_of(
        "inline",
        "ls /data; cat /data/it; touch /data/x 2>&1 | grep -c Read-only",
        &volume,
        "",
    );
    assert_eq!(
        fixture.cluster.wait_success("inline"),
        "it\na sub-path\n1\n"
    );
    fixture.assert_nothing_left();
}

#[test]
fn a_pod_that_is_not_root_reads_as_its_group() {
    let fixture = Fixture::new("group");
    let user = "  securityContext: {runAsUser: 1000, runAsGroup: 1000, runAsNonRoot: true, fsGroup: 2000}\n";
    fixture.pod(
        "group",
        "stat -c %g /data/SHA256SUMS; cat /data/below/it",
        user,
    );
    assert_eq!(fixture.cluster.wait_success("group"), "2000\na sub-path\n");
    fixture.assert_nothing_left();
}

#[test]
fn a_container_can_mount_a_part_of_the_claim() {
    let fixture = Fixture::new("part");
    fixture.pod_with_part("part", "ls /part; cat /part/it; sleep 600", "below");
    fixture.cluster.wait_phase("part", "Running");
    let seen = wait_until(PATIENCE, || {
        let printed = fixture.cluster.try_kubectl(&["logs", "part"]);
        printed.is_ok_and(|printed| printed == "it\na sub-path\n")
    });
    assert!(seen, "{}", fixture.cluster.describe("part"));
    fixture.assert_nothing_left();
}

#[test]
fn the_kubelet_knows_how_large_a_volume_is() {
    let fixture = Fixture::new("stats");
    fixture.pod("stats", "sleep 600", "");
    fixture.cluster.wait_phase("stats", "Running");
    let path = format!("/api/v1/nodes/{NODE}/proxy/stats/summary");
    let told = wait_until(PATIENCE, || {
        let summary = fixture.cluster.try_kubectl(&["get", "--raw", &path]);
        summary.is_ok_and(|summary| of_claim(&summary, "stats").is_some())
    });
    assert!(told, "{}", fixture.cluster.describe("stats"));
    let summary = fixture.cluster.kubectl(&["get", "--raw", &path]);
    let (bytes, inodes) = of_claim(&summary, "stats").unwrap();
    // Some 60 files of up to 4 MiB, in directories.
    assert!((1..512 << 20).contains(&bytes), "{bytes}");
    assert!((60..200).contains(&inodes), "{inodes}");
    fixture.assert_nothing_left();
}

/// Bytes and inodes of the volume of a claim, in what a kubelet says of its pods.
fn of_claim(summary: &str, claim: &str) -> Option<(u64, u64)> {
    let summary: serde_json::Value = serde_json::from_str(summary).ok()?;
    let volumes = summary["pods"]
        .as_array()?
        .iter()
        .filter_map(|pod| pod["volume"].as_array())
        .flatten();
    let mut ours = volumes.filter(|volume| volume["pvcRef"]["name"] == claim);
    let volume = ours.next()?;
    Some((
        volume["capacityBytes"].as_u64()?,
        volume["inodes"].as_u64()?,
    ))
}
