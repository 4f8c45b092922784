//! What a user reads in the pod's events when something is wrong.

use std::time::Duration;

use forebay_tests::wait_until;

use forebay_tests::cluster::Fixture;

#[test]
fn an_event_of_the_pod_says_dataset_phase_cause_and_next_step() {
    let fixture = Fixture::new("mistake");
    let volume = format!(
        "csi:
      driver: csi.forebay.dev
      volumeAttributes:
        dataset: default/mistake
        url: s3://no-such-bucket
        endpoint: {}
        anonymous: \"true\"",
        fixture
            .attributes(0)
            .lines()
            .find_map(|line| line.strip_prefix("endpoint: "))
            .unwrap()
    );
    fixture.pod_of("mistake", "true", &volume, "");
    let told = |words: &[&str]| {
        let events = fixture.cluster.describe("mistake");
        words.iter().all(|word| events.contains(word))
    };
    let words = [
        "dataset default/mistake: mount: ",
        "no-such-bucket",
        "next: check url and endpoint",
    ];
    let said = wait_until(Duration::from_secs(60), || told(&words));
    assert!(said, "{}", fixture.cluster.describe("mistake"));
    fixture.assert_nothing_left();
}

#[test]
fn a_volume_in_a_pod_cannot_reach_into_another_namespace_or_the_node() {
    let fixture = Fixture::new("denied");
    for (pod, dataset, url, word) in [
        (
            "denied-namespace",
            "other/set",
            "s3://data",
            "namespace default",
        ),
        (
            "denied-node",
            "default/denied",
            "file:///etc",
            "directories of the node",
        ),
    ] {
        let volume = format!(
            "csi: {{driver: csi.forebay.dev, volumeAttributes: {{dataset: {dataset}, url: {url}}}}}"
        );
        fixture.pod_of(pod, "true", &volume, "");
        let said = wait_until(Duration::from_secs(60), || {
            fixture.cluster.describe(pod).contains(word)
        });
        assert!(said, "{}", fixture.cluster.describe(pod));
    }
    fixture.assert_nothing_left();
}
