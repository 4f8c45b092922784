//! Metrics and health, as a scraper finds them at the socket of a mount.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use forebay_core::metric::{self, Metric, MetricKind};
use forebay_loopback_s3::{Action, Fault};
use forebay_tests::{Bucket, Mount, errno, stream, wait_until};
use rustix::io::Errno;

const MIB: u64 = 1 << 20;
const LIMIT: Duration = Duration::from_secs(10);

/// The body of the answer to a GET.
fn get(mut stream: impl Read + Write, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: forebay\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    body.to_owned()
}

fn ask(mount: &Mount, path: &str) -> String {
    let address = mount.status()["metrics"].as_str().unwrap().to_owned();
    let socket = address.strip_prefix("unix:").unwrap();
    get(UnixStream::connect(socket).unwrap(), path)
}

/// Every sample of `/metrics`, by its name with labels.
fn scrape(mount: &Mount) -> BTreeMap<String, f64> {
    let body = ask(mount, "/metrics");
    let samples = body.lines().filter(|line| line.starts_with("forebay_"));
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// The name under which a metric without labels, or with these, is served.
fn name(metric: &Metric, labels: &str) -> String {
    match metric.kind {
        MetricKind::Counter => format!("{}_total{labels}", metric.name),
        MetricKind::Gauge | MetricKind::Histogram => format!("{}{labels}", metric.name),
    }
}

fn bucket() -> Bucket {
    let bucket = Bucket::new("metrics", 100 * MIB);
    bucket.put_stream("a", 2 * MIB, 1);
    bucket.put_stream("b", MIB, 2);
    bucket.put("odd/../key", "skipped");
    bucket
}

#[test]
fn every_metric_of_the_reference_is_served_and_says_what_happened() {
    let bucket = bucket();
    let mount = bucket.mount("m").args(&["--origin-timeout", "1s"]).start();
    let path = mount.path().join("a");
    assert!(fs::read(&path).unwrap() == stream(1, 2 * MIB));
    bucket.spoil_reads(Fault::new(Action::status(403, "AccessDenied")));
    assert_eq!(
        errno(&fs::read(mount.path().join("b"))),
        Some(Errno::ACCESS)
    );
    assert!(fs::read(mount.path().join("b")).unwrap() == stream(2, MIB));
    let held = fs::File::open(&path).unwrap();
    // The kernel tells of a close a moment later.
    let open = name(&metric::FUSE_OPEN_HANDLES, "");
    assert!(wait_until(LIMIT, || scrape(&mount)[&open] == 1.0));
    drop(held);

    let samples = scrape(&mount);
    let served = |metric: &Metric| samples.keys().any(|key| key.starts_with(&name(metric, "")));
    // Those of the process that serves a cache to mounts and to other machines.
    let is_servers = |metric: &Metric| {
        let prefixes = ["forebay_peer_", "forebay_client_"];
        prefixes
            .iter()
            .any(|prefix| metric.name.starts_with(prefix))
    };
    let missing: Vec<_> = metric::ALL
        .iter()
        .filter(|metric| !served(metric) && !is_servers(metric))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
    let status = mount.status();
    let read = (3 * MIB) as f64;
    let expected = [
        (&metric::DATASET_FILES, 2.0),
        (&metric::DATASET_BYTES, read),
        (&metric::DATASET_SKIPPED, 1.0),
        (
            &metric::ORIGIN_BYTES,
            status["origin"]["bytes"].as_f64().unwrap(),
        ),
        (
            &metric::ORIGIN_REQUESTS,
            status["origin"]["requests"].as_f64().unwrap(),
        ),
        (&metric::ORIGIN_IN_FLIGHT, 0.0),
        (&metric::FILL_FAILED, 1.0),
        (&metric::FILL_IN_FLIGHT, 0.0),
        (&metric::FILL_STORED_BYTES, read),
        (&metric::FILL_READ_THROUGH_BYTES, 0.0),
        (
            &metric::CACHE_CAPACITY,
            status["cache"]["capacity_bytes"].as_f64().unwrap(),
        ),
        (
            &metric::CACHE_USED,
            status["cache"]["used_bytes"].as_f64().unwrap(),
        ),
        (&metric::CACHE_OBJECTS, 2.0),
        (&metric::CACHE_EVICTED_OBJECTS, 0.0),
        (&metric::CACHE_CORRUPT_CHUNKS, 0.0),
        (&metric::CACHE_TORN_CHUNKS, 0.0),
        (&metric::CACHE_FULL_WRITES, 0.0),
        (&metric::FUSE_READ_BYTES, read),
    ];
    for (metric, value) in expected {
        assert_eq!(samples[&name(metric, "")], value, "{}", metric.name);
    }
    let denied = name(&metric::ORIGIN_ERRORS, "{kind=\"permission_denied\"}");
    assert_eq!(samples[&denied], 1.0);
    let refused = name(&metric::FUSE_ERRORS, "{errno=\"EACCES\"}");
    assert!(samples[&refused] >= 1.0, "{samples:#?}");
    for metric in [
        &metric::FUSE_READS,
        &metric::FUSE_WAITS,
        &metric::FILL_FLIGHTS,
    ] {
        assert!(samples[&name(metric, "")] >= 3.0, "{}", metric.name);
    }
    let waited = samples[&name(&metric::FUSE_WAIT_SECONDS, "")];
    assert!(waited > 0.0 && waited < 60.0, "{waited}");
    mount.unmount();
}

#[test]
fn metrics_are_in_the_text_format_with_help_and_an_end() {
    let bucket = bucket();
    let mount = bucket.mount("m").start();
    let body = ask(&mount, "/metrics");
    for metric in metric::ALL {
        let help = format!("# HELP {} {}", metric.name, metric.help);
        assert!(
            body.contains(&help) || !body.contains(metric.name),
            "{help}"
        );
    }
    assert!(body.ends_with("# EOF\n"), "{body}");
    assert_eq!(ask(&mount, "/healthz"), "ok\n");
    mount.unmount();
}

#[test]
fn metrics_are_served_at_the_address_that_was_named_or_nowhere() {
    let bucket = bucket();
    let mount = bucket
        .mount("port")
        .args(&["--metrics", "127.0.0.1:0"])
        .start();
    let address = mount.status()["metrics"].as_str().unwrap().to_owned();
    assert!(!address.ends_with(":0"), "{address}");
    let body = get(TcpStream::connect(address).unwrap(), "/metrics");
    assert!(body.contains("forebay_build_info"), "{body}");
    mount.unmount();
    let mount = bucket.mount("off").args(&["--metrics", "off"]).start();
    assert_eq!(mount.status()["metrics"], "");
    mount.unmount();
}

#[test]
fn evictions_and_what_is_read_through_are_counted() {
    let bucket = Bucket::new("metrics", 100 * MIB);
    for number in 0..20 {
        bucket.put_stream(&number.to_string(), MIB, number);
    }
    let mount = bucket.mount("m").args(&["--cache-size", "4MiB"]).start();
    for number in 0..20 {
        let path = mount.path().join(number.to_string());
        assert!(fs::read(path).unwrap() == stream(number, MIB));
    }
    let samples = scrape(&mount);
    let value = |metric: &Metric| samples[&name(metric, "")];
    let stored = value(&metric::FILL_STORED_BYTES);
    assert_eq!(
        stored + value(&metric::FILL_READ_THROUGH_BYTES),
        (20 * MIB) as f64
    );
    assert!(value(&metric::CACHE_EVICTED_BYTES) > 0.0, "{samples:#?}");
    assert_eq!(
        stored - value(&metric::CACHE_EVICTED_BYTES),
        value(&metric::CACHE_USED)
    );
    mount.unmount();
}
