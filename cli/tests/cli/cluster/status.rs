//! `forebay cluster status`, for people and for scripts.

use super::*;

impl Site {
    fn status(&self, n: usize, words: &[&str]) -> Outcome {
        let place = &self.places[n];
        let server = format!("unix:{}", place.path("run/cache.sock").display());
        let words = [&["cluster", "status", "--server", &server], words].concat();
        finish(&mut command(place, &words))
    }
}

fn json(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.out).unwrap_or_else(|_| panic!("{outcome:?}"))
}

#[test]
fn every_member_answers_for_all_and_tells_what_they_have() {
    let terms = "quota = \"1GiB\"\npin = true\npriority = 7";
    let site = Site::on_terms(3, 8 * MIB, terms);
    site.warm_up(0, &["d"]).is_ok();
    for n in 0..3 {
        let outcome = site.status(n, &["--json"]);
        outcome.is_ok();
        let status = json(&outcome);
        assert_eq!(status["whole"], true, "{status:#}");
        assert_eq!(status["name"], "forebay");
        assert!(status["epoch"].as_u64().unwrap() >= 2, "{status:#}");
        let members = status["members"].as_array().unwrap();
        assert_eq!(members.len(), 3);
        assert_eq!(members[0]["name"], site.addresses[n]);
        assert_eq!(members[0]["is_self"], true);
        let mut cached = 0;
        for member in members {
            assert_eq!(member["state"], "live", "{status:#}");
            let report = &member["report"];
            assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
            assert!(report["capacity_bytes"].as_u64() > report["used_bytes"].as_u64());
            cached += report["cached_bytes"].as_u64().unwrap();
        }
        let all = SMALL.0 * SMALL.1 + 8 * MIB;
        assert_eq!(cached, all, "{status:#}");
        let dataset = &status["datasets"][0];
        assert_eq!(dataset["name"], "d");
        assert_eq!(dataset["bytes"], all, "{status:#}");
        assert_eq!(dataset["quota_bytes"], 1 << 30);
        assert_eq!(
            (&dataset["pin"], &dataset["priority"]),
            (&true.into(), &7.into())
        );
    }
    let outcome = site.status(1, &[]);
    outcome.is_ok();
    for words in ["forebay: 3 of 3 servers well", "1.0 GiB", "yes", "asked"] {
        assert!(outcome.out.contains(words), "{words}: {}", outcome.out);
    }
}

#[test]
fn a_quota_bounds_what_a_server_keeps_of_the_dataset() {
    let site = Site::on_terms(1, MIB, "quota = \"2MiB\"");
    let outcome = site.warm_up(0, &["d"]);
    assert_eq!(outcome.code, Some(7), "{outcome:?}");
    let status = json(&site.status(0, &["--json"]));
    let bytes = status["datasets"][0]["bytes"].as_u64().unwrap();
    assert!((MIB..=2 * MIB).contains(&bytes), "{status:#}");
}

#[test]
fn a_member_that_is_dead_is_shown_and_told_by_the_exit_code() {
    let mut site = Site::new(3, MIB);
    site.kill(2);
    site.see_each_other(2);
    let outcome = site.status(0, &["--json"]);
    outcome.is_told(8, &["not all of 3 servers are well", &site.addresses[2]]);
    let status = json(&outcome);
    assert_eq!(status["whole"], false);
    let members = status["members"].as_array().unwrap();
    let dead = members
        .iter()
        .find(|member| member["name"] == *site.addresses[2]);
    let dead = dead.unwrap();
    assert_eq!(
        (&dead["state"], &dead["report"]),
        (&"dead".into(), &Value::Null)
    );
    assert!(dead["heard_seconds"].as_f64().unwrap() > 1.0, "{status:#}");
    let server = site.start(2);
    site.servers[2] = Some(server);
    site.see_each_other(3);
    site.status(0, &[]).is_ok();
}

#[test]
fn a_member_that_hangs_is_waited_for_no_longer_than_it_takes_to_be_dead() {
    let site = Site::new(2, MIB);
    let server = site.servers[1].as_ref().unwrap();
    server.send(Signal::STOP);
    let asked = std::time::Instant::now();
    let outcome = site.status(0, &["--json"]);
    let took = asked.elapsed();
    server.send(Signal::CONT);
    assert_eq!(outcome.code, Some(8), "{outcome:?}");
    assert!(outcome.err.contains(&site.addresses[1]), "{outcome:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_server_that_is_alone_is_whole_and_nobody_cannot_be_asked() {
    let place = Place::new();
    let config = format!("[[dataset]]\nname = \"d\"\nurl = {:?}\n", place.source());
    let server = Server::start(&place, &config);
    // The default socket is the one in the run directory.
    let run = |words: &[&str]| finish(&mut command(&place, words));
    let outcome = run(&["cluster", "status"]);
    outcome.is_ok();
    assert!(outcome.out.contains("this server is alone"), "{outcome:?}");
    assert!(outcome.out.contains("this one"), "{outcome:?}");
    server.signal(Signal::TERM);
    run(&["cluster", "status"]).is_told(1, &["cache.sock", "forebay cache-server"]);
}
