//! Several cache servers as one: what is asked of any of them is done by all.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

use std::time::Duration;

use forebay_loopback_s3::{Action, Fault, LoopbackS3};
use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Outcome, Place, finish, until};
use crate::server::{Server, addresses, command, metrics};

mod status;

const MIB: u64 = 1 << 20;
/// Many small files, and a large one that lies on several members.
const SMALL: (u64, u64) = (40, 100 << 10);
const LARGE: u64 = 200 * MIB;

/// A bucket and the servers of a cluster over it.
struct Site {
    s3: LoopbackS3,
    places: Vec<Place>,
    servers: Vec<Option<Server>>,
    addresses: Vec<String>,
    /// More keys of the dataset.
    terms: &'static str,
}

impl Site {
    /// `count` servers over a bucket of small files and a large one of `large` bytes.
    fn new(count: usize, large: u64) -> Self {
        Self::on_terms(count, large, "")
    }

    /// The same, with a dataset of which the configuration says `terms`, too.
    fn on_terms(count: usize, large: u64, terms: &'static str) -> Self {
        let s3 = LoopbackS3::builder().start().unwrap();
        s3.create_bucket("data");
        for n in 0..SMALL.0 {
            s3.put_synthetic("data", &format!("small/{n}"), SMALL.1, n);
        }
        s3.put_synthetic("data", "large", large, 7);
        s3.put("data", "empty", "");
        let mut site = Self {
            s3,
            places: (0..count).map(|_| Place::new()).collect(),
            servers: Vec::new(),
            addresses: addresses(count),
            terms,
        };
        for n in 0..count {
            let server = site.start(n);
            site.servers.push(Some(server));
        }
        site.see_each_other(count);
        site
    }

    fn start(&self, n: usize) -> Server {
        let peers: Vec<_> = self
            .addresses
            .iter()
            .map(|peer| format!("{peer:?}"))
            .collect();
        let config = format!(
            "peer-listen = {:?}\npeer = [{}]\npeer-insecure = true\n\
             [[dataset]]\nname = \"d\"\nurl = \"s3://data\"\nendpoint = {:?}\npath-style = true\n\
             anonymous = true\n{}\n",
            self.addresses[n],
            peers.join(", "),
            self.s3.endpoint(),
            self.terms,
        );
        Server::start(&self.places[n], &config)
    }

    fn see_each_other(&self, count: usize) {
        let members = format!("forebay_peer_members {count}");
        for place in self
            .places
            .iter()
            .zip(&self.servers)
            .filter_map(|(place, server)| server.as_ref().map(|_| place))
        {
            until("the servers see each other", || {
                metrics(place).contains(&members)
            });
        }
    }

    /// `forebay warmup --server` at the `n`th server.
    fn warm_up(&self, n: usize, words: &[&str]) -> Outcome {
        let place = &self.places[n];
        let server = format!("unix:{}", place.path("run/cache.sock").display());
        let words = [&["warmup", "--server", &server], words].concat();
        finish(&mut command(place, &words))
    }

    fn bytes(&self) -> u64 {
        SMALL.0 * SMALL.1 + LARGE
    }

    fn read_from_origin(&self) -> u64 {
        self.s3.stats().object_bytes_sent
    }

    fn kill(&mut self, n: usize) {
        self.servers[n].take().unwrap().signal(Signal::KILL);
    }
}

fn summary(outcome: &Outcome) -> Value {
    let last = outcome.out.lines().last().unwrap_or_default();
    let mut last: Value = serde_json::from_str(last).unwrap_or_else(|_| panic!("{outcome:?}"));
    last["summary"].take()
}

#[test]
fn every_member_brings_its_share_once_and_nothing_is_left_to_bring() {
    let site = Site::new(3, LARGE);
    let before = site.read_from_origin();
    let outcome = site.warm_up(0, &["d", "--json"]);
    outcome.is_ok();
    let done = summary(&outcome);
    assert_eq!(done["complete"], true, "{done:#}");
    assert_eq!(done["phase"], "complete");
    let progress = &done["progress"];
    assert_eq!(progress["files_done"], SMALL.0 + 2, "{done:#}");
    assert_eq!(progress["bytes_done"], site.bytes());
    assert_eq!(progress["bytes_fetched"], site.bytes());
    let members = done["members"].as_array().unwrap();
    assert_eq!(members.len(), 3, "{done:#}");
    assert_eq!(site.read_from_origin() - before, site.bytes());
    // Whoever is asked finds that all is there.
    let again = summary(&site.warm_up(2, &["d", "--json"]));
    assert_eq!(again["progress"]["bytes_fetched"], 0, "{again:#}");
    assert_eq!(again["progress"]["bytes_done"], site.bytes());
    // A second copy comes from the first, not from the origin.
    let copies = summary(&site.warm_up(1, &["d", "--json", "--replicas", "2"]));
    assert_eq!(
        copies["progress"]["bytes_done"],
        2 * site.bytes(),
        "{copies:#}"
    );
    assert_eq!(copies["progress"]["bytes_fetched"], site.bytes());
    assert_eq!(site.read_from_origin() - before, site.bytes());
}

#[test]
fn a_part_is_named_by_paths_and_globs_and_what_fails_is_told() {
    let site = Site::new(2, MIB);
    let part = summary(&site.warm_up(0, &["d", "small/1*", "empty", "--json"]));
    assert_eq!(part["progress"]["files_done"], 12, "{part:#}");
    let fault = Fault::new(Action::status(403, "AccessDenied"));
    site.s3.faults().push(fault.key("small/2").always());
    let outcome = site.warm_up(0, &["d"]);
    outcome.is_told(7, &["1 of 42 files of d", "run it again"]);
    assert!(outcome.out.contains("small/2: "), "{outcome:?}");
    assert!(!outcome.err.contains('\r'), "no bar without a terminal");
    site.s3.faults().clear();
    site.warm_up(1, &["d"]).is_ok();
}

#[test]
fn a_member_that_dies_meanwhile_costs_time_and_nothing_else() {
    let mut site = Site::new(3, 24 * MIB);
    let words = ["d", "--detach", "--name", "n", "--rate", "8MiB"];
    let started = site.warm_up(0, &words);
    started.is_ok();
    assert_eq!(started.out, "n\n");
    std::thread::sleep(Duration::from_millis(500));
    site.kill(2);
    let done = summary(&site.warm_up(0, &["d", "--name", "n", "--json"]));
    assert_eq!(done["complete"], true, "{done:#}");
    site.see_each_other(2);
    // All of it is on those that are left.
    let again = summary(&site.warm_up(1, &["d", "--json"]));
    assert_eq!(again["progress"]["bytes_fetched"], 0, "{again:#}");
}

#[test]
fn a_server_that_is_killed_takes_its_warm_up_up_again() {
    let mut site = Site::new(2, 24 * MIB);
    let words = ["d", "--detach", "--name", "nightly", "--rate", "10MiB"];
    site.warm_up(0, &words).is_ok();
    std::thread::sleep(Duration::from_millis(500));
    site.kill(0);
    let server = site.start(0);
    site.servers[0] = Some(server);
    let words = ["d", "--name", "nightly", "--json"];
    let done = summary(&site.warm_up(0, &words));
    assert_eq!(done["complete"], true, "{done:#}");
    let records = std::fs::read_dir(site.places[0].path("cache/warmups")).unwrap();
    assert_eq!(records.count(), 0, "what has ended is not taken up again");
}

#[test]
fn a_warm_up_is_slow_when_asked_to_and_can_be_ended() {
    let site = Site::new(1, 24 * MIB);
    let words = ["d", "--detach", "--name", "slow", "--rate", "2MiB"];
    site.warm_up(0, &words).is_ok();
    std::thread::sleep(Duration::from_secs(1));
    assert!(
        site.read_from_origin() < 8 * MIB,
        "{}",
        site.read_from_origin()
    );
    let ended = site.warm_up(0, &["--cancel", "slow"]);
    ended.is_ok();
    assert_eq!(ended.out, "slow: cancelled\n");
    let told = ["slow", "has no warm-up \"fast\"", "it knows of slow"];
    site.warm_up(0, &["--cancel", "fast"])
        .is_told(2, &told[1..]);
}

#[test]
fn what_cannot_be_warmed_up_is_told() {
    let site = Site::new(1, MIB);
    site.warm_up(0, &["x"])
        .is_told(2, &["no dataset \"x\"", "it has d"]);
    site.warm_up(0, &["d", "tarin"]).is_told(2, &["tarin"]);
    site.warm_up(0, &["d", "--version", "abcd"])
        .is_told(2, &["abcd"]);
    site.warm_up(0, &["d", "--name", "a/b"])
        .is_told(2, &["\"a/b\"", "63 letters"]);
    site.warm_up(0, &["d", "--replicas", "9"])
        .is_told(2, &["--replicas", "9"]);
    site.warm_up(0, &[]).is_told(2, &["DIR|DATASET"]);
    let place = Place::new();
    let run = |words: &[&str]| finish(&mut command(&place, words));
    run(&["warmup", "d", "--rate", "1MiB"]).is_told(2, &["--server"]);
    let nobody = ["warmup", "--server", "unix:none.sock", "d"];
    run(&nobody).is_told(1, &["unix:none.sock", "forebay cache-server"]);
}
