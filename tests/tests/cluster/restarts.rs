//! Parts of the node are killed and replaced while pods read: readers see nothing of it.

use std::time::Duration;

use forebay_tests::cluster::{CACHE_SERVER, Fixture, NODE, sha256};
use forebay_tests::{kill, wait_until};
use rustix::process::Signal;

/// Reads and checks everything again and again; ends at the first error.
const LOOP: &str = "cd /data; while out=$(sha256sum -c SHA256SUMS 2>&1); do echo round; done; echo \"$out\"; exit 1";

struct Reader {
    fixture: Fixture,
    pod: String,
}

impl Reader {
    fn start(name: &str) -> Self {
        Self::start_on(Fixture::new(name))
    }

    fn start_on(fixture: Fixture) -> Self {
        let name = &fixture.name.clone();
        fixture.pod(name, LOOP, "");
        fixture.cluster.wait_phase(name, "Running");
        let reader = Self {
            pod: name.to_owned(),
            fixture,
        };
        reader.assert_reads_on();
        reader
    }

    fn rounds(&self) -> usize {
        let printed = self.fixture.cluster.try_kubectl(&["logs", &self.pod]);
        printed.unwrap_or_default().matches("round").count()
    }

    /// Two more rounds, with the page cache dropped in between: they are read from the
    /// mount and not from memory.
    fn assert_reads_on(&self) {
        let before = self.rounds();
        std::fs::write("/proc/sys/vm/drop_caches", "1").expect("root drops the page cache");
        let goes_on = wait_until(Duration::from_secs(120), || self.rounds() >= before + 2);
        let cluster = &self.fixture.cluster;
        let printed = cluster.try_kubectl(&["logs", &self.pod]);
        assert!(goes_on, "stopped after {before} rounds: {printed:?}");
        assert_eq!(cluster.field("pod", &self.pod, ".status.phase"), "Running");
        assert_eq!(
            cluster.field(
                "pod",
                &self.pod,
                ".status.containerStatuses[0].restartCount"
            ),
            "0"
        );
    }
}

#[test]
fn the_drivers_pod_is_killed_and_replaced_and_readers_go_on() {
    let reader = Reader::start("driver-killed");
    let cluster = &reader.fixture.cluster;
    let driver = cluster.kill_pod_of("forebay-csi", NODE);
    reader.assert_reads_on();
    cluster.wait_replaced("forebay-csi", NODE, &driver);
    // The new driver finds the mount and gives it to another pod.
    reader
        .fixture
        .pod("driver-killed-2", "cat /data/below/it", "");
    assert_eq!(cluster.wait_success("driver-killed-2"), "a sub-path\n");
    assert_eq!(own_mounts(&reader.fixture), 1);
    reader.assert_reads_on();
    reader.fixture.assert_nothing_left();
}

#[test]
fn the_cache_servers_pod_is_killed_and_replaced_and_readers_go_on() {
    const SIZE: u64 = 32 << 20;
    let reader = Reader::start_on(Fixture::with_cache_servers("server-killed", SIZE));
    let cluster = &reader.fixture.cluster;
    let server = cluster.kill_pod_of(CACHE_SERVER, NODE);
    // Nobody has this file yet: who reads it waits for the next server.
    let copied = cluster.kubectl(&["exec", "server-killed", "--", "wc", "-c", "/data/large"]);
    assert_eq!(copied, format!("{SIZE} /data/large\n"));
    cluster.wait_replaced(CACHE_SERVER, NODE, &server);
    let summed = cluster.kubectl(&["exec", "server-killed", "--", "sha256sum", "/data/large"]);
    assert!(
        summed.starts_with(&sha256(&Fixture::large(SIZE))),
        "{summed}"
    );
    reader.assert_reads_on();
    assert_eq!(own_mounts(&reader.fixture), 1);
    reader.fixture.assert_nothing_left();
}

#[test]
fn the_kubelet_is_restarted_and_readers_go_on() {
    let reader = Reader::start("kubelet");
    reader.fixture.cluster.restart_kubelet(NODE);
    reader.assert_reads_on();
    reader.fixture.pod("kubelet-2", "cat /data/below/it", "");
    assert_eq!(
        reader.fixture.cluster.wait_success("kubelet-2"),
        "a sub-path\n"
    );
    reader.assert_reads_on();
    reader.fixture.assert_nothing_left();
}

#[test]
fn the_process_of_a_mount_is_killed_and_readers_go_on() {
    let reader = Reader::start("client-killed");
    for _ in 0..3 {
        let before = reader.fixture.clients();
        assert_eq!(before.len(), 1, "{before:?}");
        kill(before[0], Signal::KILL);
        let followed = wait_until(Duration::from_secs(30), || {
            let now = reader.fixture.clients();
            now.len() == 1 && now != before
        });
        assert!(followed, "nobody serves the mount");
        reader.assert_reads_on();
    }
    reader.fixture.assert_nothing_left();
}

#[test]
fn a_pod_goes_cleanly_although_its_mount_is_dead() {
    let fixture = Fixture::new("dead");
    fixture.pod("dead", "sleep 600", "");
    fixture.cluster.wait_phase("dead", "Running");
    for pid in fixture.servers() {
        kill(pid, Signal::KILL);
    }
    fixture.cluster.delete_pod("dead");
    fixture.assert_nothing_left();
}

#[test]
fn a_pod_goes_cleanly_although_the_mount_host_and_all_mounts_are_dead() {
    let fixture = Fixture::new("host-dead");
    let cluster = &fixture.cluster;
    fixture.pod("host-dead", "sleep 600", "");
    cluster.wait_phase("host-dead", "Running");
    let host = cluster.kill_pod_of("forebay-mount-host", NODE);
    cluster.delete_pod("host-dead");
    cluster.wait_replaced("forebay-mount-host", NODE, &host);
    // And the next pod has what it needs.
    fixture.pod("host-dead-2", "cat /data/below/it", "");
    assert_eq!(cluster.wait_success("host-dead-2"), "a sub-path\n");
    fixture.assert_nothing_left();
}

fn own_mounts(fixture: &Fixture) -> usize {
    let mounts = fixture.cluster.forebay_mounts(NODE);
    mounts
        .iter()
        .filter(|place| place.contains("/plugins/csi.forebay.dev/mounts/"))
        .count()
}
