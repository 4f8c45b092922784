//! Pods read what is in the bucket, whichever way they name it.

use forebay_tests::cluster::{CHECK, Fixture, NODE};

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
