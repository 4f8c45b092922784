//! Several nodes and one origin: who is asked for what, and what happens when members go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_cache_server::cluster::{Security, Tls, TlsFiles};
use futures::future::join_all;

mod fixture;

use fixture::{MIB, Node, Site};

async fn read_at_once(site: &Site, nodes: &[Node]) {
    let reads = nodes
        .iter()
        .zip(0..)
        .map(|(node, n)| site.read_all(node, n * 5));
    for read in join_all(reads).await {
        read.expect("no error reaches a reader");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_read_all_at_once_ask_the_origin_once() {
    let site = Site::new(24, 3 * MIB + 5);
    let nodes = site.nodes(4).await;
    read_at_once(&site, &nodes).await;
    assert_eq!(site.origin_bytes(), site.bytes());
    // Each owns something and has passed it on, and nothing was passed on in vain.
    let sent: Vec<_> = nodes
        .iter()
        .map(|node| node.cluster.stats().sent_bytes())
        .collect();
    assert!(sent.iter().all(|&sent| sent > 0), "{sent:?}");
    assert_eq!(sent.iter().sum::<u64>(), 3 * site.bytes());
    // What was read is kept where it was read.
    read_at_once(&site, &nodes).await;
    assert_eq!(site.origin_bytes(), site.bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_several_segments_has_several_owners() {
    let site = Site::new(1, 200 * MIB);
    let nodes = site.nodes(4).await;
    site.read_all(&nodes[0], 0).await.expect("read");
    let owners = nodes
        .iter()
        .filter(|node| node.cluster.stats().sent_bytes() > 0);
    assert!(owners.count() >= 1);
    assert_eq!(site.origin_bytes(), site.bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_killed_is_passed_over_and_out_within_two_seconds() {
    let site = Site::new(24, 2 * MIB);
    let nodes = site.nodes(4).await;
    let (killed, left) = nodes.split_last().expect("four");
    let reads = read_at_once(&site, left);
    let kill = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        killed.kill();
        let died = Instant::now();
        join_all(left.iter().map(|node| node.sees(3))).await;
        died.elapsed()
    };
    let ((), out) = tokio::join!(reads, kill);
    assert!(out < Duration::from_secs(2), "{out:?}");
    assert!(site.origin_bytes() < 2 * site.bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_drains_is_asked_for_nothing_new_and_who_joins_takes_its_share() {
    let site = Site::new(24, MIB);
    let mut nodes = site.nodes(2).await;
    nodes[1].cluster.drain().await;
    nodes[0].sees(1).await;
    site.read_all(&nodes[0], 0).await.expect("read");
    assert_eq!(nodes[1].cluster.stats().sent_bytes(), 0);
    nodes.push(site.node("test", Security::Insecure).await);
    site.list(&nodes);
    nodes[0].sees(2).await;
    nodes[2].sees(2).await;
    site.read_all(&nodes[2], 0).await.expect("read");
    assert!(nodes[0].cluster.stats().sent_bytes() > 0, "it has them");
    assert!(site.origin_bytes() < 2 * site.bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_another_cluster_are_refused() {
    let site = Site::new(1, MIB);
    let nodes = vec![
        site.node("one", Security::Insecure).await,
        site.node("other", Security::Insecure).await,
    ];
    site.list(&nodes);
    tokio::time::sleep(Duration::from_millis(700)).await;
    nodes[0].sees(1).await;
    site.read_all(&nodes[0], 0).await.expect("from the origin");
}

/// Writes a certificate of `authority` for members, and returns what to load.
fn certificate(dir: &std::path::Path, authority: &Authority) -> TlsFiles {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["forebay-peer".to_owned()]).expect("a name");
    let cert = params.signed_by(&key, &authority.issuer).expect("signed");
    let files = TlsFiles {
        cert: dir.join("cert.pem"),
        key: dir.join("key.pem"),
        authority: dir.join("ca.pem"),
        name: "forebay-peer".into(),
    };
    std::fs::write(&files.cert, cert.pem()).expect("written");
    std::fs::write(&files.key, key.serialize_pem()).expect("written");
    std::fs::write(&files.authority, &authority.pem).expect("written");
    files
}

struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no name");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let cert = params.self_signed(&key).expect("signed");
        Self {
            pem: cert.pem(),
            issuer: rcgen::Issuer::new(params, key),
        }
    }
}

fn loaded(authority: &Authority) -> Security {
    let dir = tempfile::tempdir().expect("a directory");
    Security::Mutual(Tls::load(certificate(dir.path(), authority)).expect("usable"))
}

#[tokio::test(flavor = "multi_thread")]
async fn only_certificates_of_one_authority_talk() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let site = Site::new(12, MIB);
    let mut nodes = vec![
        site.node("test", loaded(&ours)).await,
        site.node("test", loaded(&ours)).await,
    ];
    site.list(&nodes);
    for node in &nodes {
        node.sees(2).await;
    }
    read_at_once(&site, &nodes).await;
    assert_eq!(site.origin_bytes(), site.bytes());
    let sent = |nodes: &[Node]| -> u64 {
        nodes
            .iter()
            .map(|node| node.cluster.stats().sent_bytes())
            .sum()
    };
    let before = sent(&nodes);
    // With a wrong certificate, and with none: listed, and still alone.
    nodes.push(site.node("test", loaded(&theirs)).await);
    nodes.push(site.node("test", Security::Insecure).await);
    site.list(&nodes);
    tokio::time::sleep(Duration::from_secs(1)).await;
    for node in &nodes[2..] {
        node.sees(1).await;
        site.read_all(node, 0).await.expect("from the origin");
    }
    nodes[0].sees(2).await;
    assert_eq!(sent(&nodes), before, "not a byte for strangers");
}

#[test]
fn certificates_are_read_again_when_they_change() {
    let dir = tempfile::tempdir().expect("a directory");
    let files = certificate(dir.path(), &Authority::new());
    let tls = Tls::load(files.clone()).expect("usable");
    let shown = || format!("{:?}", Arc::as_ptr(&tls));
    let same = shown();
    std::fs::write(&files.cert, "nonsense").expect("written");
    tls.refresh();
    certificate(dir.path(), &Authority::new());
    tls.refresh();
    assert_eq!(shown(), same);
    std::fs::remove_file(&files.key).expect("removed");
    let error = Tls::load(files).expect_err("no key").to_string();
    assert!(error.contains("key.pem"), "{error}");
}
