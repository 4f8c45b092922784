//! Cache servers and the mounts that read through them.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{Outcome, Place, finish, kill, until, wait};

/// A cache server in a place, killed when it is dropped.
pub(crate) struct Server {
    child: Child,
}

impl Server {
    /// Starts one over `cache` with this dataset table, and waits until it is ready.
    pub(crate) fn start(place: &Place, dataset: &str) -> Self {
        fs::write(place.path("server.toml"), dataset).unwrap();
        let mut child = command(place, &["cache-server", "--config", "server.toml"])
            .arg("--cache-dir")
            .arg(place.path("cache"))
            .args(["--memory-size", "0", "--log-file", "server.log"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let log = fs::read_to_string(place.path("server.log")).unwrap_or_default();
        assert!(
            line.starts_with("serving 1 dataset at unix:"),
            "{line}{log}"
        );
        Self { child }
    }

    /// Sends a signal that it outlives.
    pub(crate) fn send(&self, signal: Signal) {
        kill(self.child.id().try_into().unwrap(), signal);
    }

    pub(crate) fn signal(mut self, signal: Signal) {
        kill(self.child.id().try_into().unwrap(), signal);
        wait(&mut self.child);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary, without the cache that the place's other commands have in their environment.
pub(crate) fn command(place: &Place, words: &[&str]) -> Command {
    let mut command = place.command(words);
    command
        .env_remove("FOREBAY_CACHE_DIR")
        .env_remove("FOREBAY_MEMORY_SIZE");
    command
}

fn mount(place: &Place, dataset: &str, options: &[&str]) -> Outcome {
    let server = format!("--server=unix:{}", place.path("run/cache.sock").display());
    let words = [
        "mount",
        &server,
        dataset,
        "mnt",
        "--daemon",
        "--log-file",
        "log",
    ];
    finish(command(place, &words).args(options))
}

fn of_directory(place: &Place) -> String {
    format!("[[dataset]]\nname = \"d\"\nurl = \"{}\"\n", place.source())
}

#[test]
fn a_mount_reads_through_the_server_and_the_next_one_finds_its_cache() {
    let place = Place::new();
    let server = Server::start(&place, &of_directory(&place));
    let mode = fs::metadata(place.path("run/cache.sock")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    mount(&place, "d", &[]).is_ok();
    assert_eq!(fs::read_to_string(place.path("mnt/a")).unwrap(), "alpha");
    let content = vec![b'b'; 3 << 20];
    assert_eq!(fs::read(place.path("mnt/d/b")).unwrap(), content);
    let status = place.status();
    assert_eq!(status["files"], 2);
    assert_eq!(status["cached_files"], 2);
    let dir = place.path("cache");
    assert_eq!(status["cache"]["dir"], dir.to_str().unwrap());
    place.run(&["umount", "mnt"]).is_ok();
    let asked = status["origin"]["bytes"].clone();
    mount(&place, "d", &[]).is_ok();
    assert_eq!(fs::read(place.path("mnt/d/b")).unwrap(), content);
    assert_eq!(place.status()["origin"]["bytes"], asked, "nothing again");
    place.run(&["umount", "mnt"]).is_ok();
    server.signal(Signal::TERM);
    assert_eq!(place.log().matches("ERROR").count(), 0, "{}", place.log());
}

#[test]
fn warm_up_versions_and_refresh_work_through_the_server() {
    let place = Place::new();
    let _server = Server::start(&place, &of_directory(&place));
    mount(&place, "d", &[]).is_ok();
    let warmed = place.run(&["warmup", "mnt", "--json"]);
    warmed.is_ok();
    assert!(warmed.out.contains("\"complete\":true"), "{}", warmed.out);
    assert_eq!(place.status()["cached_files"], 2);
    fs::write(place.path("source/new"), "news").unwrap();
    place.run(&["refresh", "mnt"]).is_ok();
    assert_eq!(fs::read_to_string(place.path("mnt/new")).unwrap(), "news");
    let versions = place.run(&["versions", "mnt", "--json"]);
    let versions: serde_json::Value = serde_json::from_str(&versions.out).unwrap();
    let count = versions["versions"]
        .as_array()
        .or(versions.as_array())
        .map(Vec::len);
    assert_eq!(count, Some(2), "{versions}");
    place.run(&["umount", "mnt"]).is_ok();
}

#[test]
fn a_server_that_is_killed_takes_nothing_away_and_reads_go_on_with_the_next() {
    let place = Place::new();
    let bucket = place.path("bucket");
    let content: Vec<u8> = (0..32 << 20_u32).map(|i| (i / 4099) as u8).collect();
    fs::create_dir(&bucket).unwrap();
    fs::write(bucket.join("big"), &content).unwrap();
    let dataset = format!(
        "[[dataset]]\nname = \"d\"\nurl = \"file://{}\"\n",
        bucket.display()
    );
    let server = Server::start(&place, &dataset);
    mount(&place, "d", &[]).is_ok();
    let mut file = fs::File::open(place.path("mnt/big")).unwrap();
    let mut first = vec![0; 4 << 20];
    file.read_exact(&mut first).unwrap();
    server.signal(Signal::KILL);
    // What was read can be read again, although nobody serves it.
    file.seek(SeekFrom::Start(0)).unwrap();
    let mut again = vec![0; 4 << 20];
    file.read_exact(&mut again).unwrap();
    assert_eq!(again, content[..4 << 20]);
    // What was not is waited for.
    let begun = Instant::now();
    let next = std::thread::scope(|threads| {
        let reading = threads.spawn(|| {
            let mut rest = Vec::new();
            file.read_to_end(&mut rest).map(|_| rest)
        });
        std::thread::sleep(Duration::from_millis(300));
        let next = Server::start(&place, &dataset);
        let rest = reading
            .join()
            .unwrap()
            .expect("no error reaches the reader");
        assert_eq!(rest, content[4 << 20..]);
        next
    });
    assert!(begun.elapsed() < Duration::from_secs(30));
    place.run(&["umount", "mnt"]).is_ok();
    next.signal(Signal::TERM);
}

#[test]
fn what_is_wrong_with_server_or_dataset_is_told() {
    let place = Place::new();
    mount(&place, "d", &[]).is_told(1, &["cache.sock", "forebay cache-server"]);
    let _server = Server::start(&place, &of_directory(&place));
    mount(&place, "imagenet", &[]).is_told(2, &["imagenet", "it has d"]);
    mount(&place, "d", &["--cache-size", "1GiB"]).is_told(2, &["--cache-size", "server"]);
    mount(&place, "d", &["--version", "abcd"]).is_told(2, &["abcd"]);
    let words = ["mount", "--server", "tcp:1", "d", "mnt"];
    finish(&mut command(&place, &words)).is_told(2, &["--server", "unix:PATH"]);
    let second = [
        "cache-server",
        "--config",
        "server.toml",
        "--cache-dir",
        "other",
    ];
    finish(&mut command(&place, &second)).is_told(1, &["another process listens"]);
    let empty = finish(&mut command(&place, &["cache-server"]));
    empty.is_told(2, &["no dataset", "config print --example cache-server"]);
}

#[test]
fn the_server_has_metrics_and_health_beside_its_socket() {
    let place = Place::new();
    let _server = Server::start(&place, &of_directory(&place));
    mount(&place, "d", &[]).is_ok();
    let socket = place.path("run/cache.metrics.sock");
    until("one client is counted", || {
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
        let request = "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.contains("forebay_client_connections 1")
    });
    place.run(&["umount", "mnt"]).is_ok();
}

/// Addresses on loopback that nobody listens at.
pub(crate) fn addresses(count: usize) -> Vec<String> {
    let listeners = (0..count).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    // All of them at once, so that none is given out twice.
    let listeners: Vec<_> = listeners.collect();
    let address = |listener: &std::net::TcpListener| listener.local_addr().unwrap().to_string();
    listeners.iter().map(address).collect()
}

fn origin_bytes(place: &Place) -> u64 {
    place.status()["origin"]["bytes"].as_u64().unwrap()
}

pub(crate) fn metrics(place: &Place) -> String {
    let socket = place.path("run/cache.metrics.sock");
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    let request = "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn two_servers_read_the_origin_once_and_one_goes_on_when_the_other_dies() {
    let places = [Place::new(), Place::new()];
    for n in 0..24 {
        let content = vec![n as u8; 1 << 20];
        fs::write(places[0].path(&format!("source/f{n}")), content).unwrap();
    }
    let all = addresses(2);
    let options = |own: &str| {
        format!(
            "peer-listen = \"{own}\"\npeer = [\"{}\", \"{}\"]\npeer-insecure = true\n{}",
            all[0],
            all[1],
            of_directory(&places[0])
        )
    };
    let mut servers = Vec::new();
    for (place, own) in places.iter().zip(&all) {
        servers.push(Server::start(place, &options(own)));
    }
    for place in &places {
        until("the servers see each other", || {
            metrics(place).contains("forebay_peer_members 2")
        });
        mount(place, "d", &[]).is_ok();
    }
    let read = |place: &Place, n: usize| fs::read(place.path(&format!("mnt/f{n}"))).unwrap();
    for place in &places {
        for n in 0..20 {
            assert_eq!(read(place, n), vec![n as u8; 1 << 20]);
        }
    }
    // Each byte once; neighbours of what was read may have been brought, too.
    let bytes = origin_bytes(&places[0]) + origin_bytes(&places[1]);
    let whole = (24 << 20) + (3 << 20) + 5;
    assert!((20 << 20..=whole).contains(&bytes), "{bytes} of {whole}");
    // Half of the rest belongs to the one that is gone.
    servers.remove(1).signal(Signal::KILL);
    for n in 20..24 {
        assert_eq!(read(&places[0], n), vec![n as u8; 1 << 20]);
    }
    for place in &places {
        place.run(&["umount", "mnt"]).is_ok();
    }
}

#[test]
fn a_server_of_a_cluster_has_certificates_or_says_that_it_has_none() {
    let place = Place::new();
    fs::write(place.path("server.toml"), of_directory(&place)).unwrap();
    let run = |words: &[&str]| {
        let words = [&["cache-server", "--config", "server.toml"], words].concat();
        finish(&mut command(&place, &words))
    };
    let listen = "--peer-listen=127.0.0.1:0";
    run(&[listen]).is_told(2, &["--peer-cert", "--peer-insecure"]);
    run(&["--peer=a:1"]).is_told(2, &["--peer", "--peer-listen"]);
    let missing = ["--peer-cert=c", "--peer-key=k", "--peer-ca=missing.pem"];
    run(&[&[listen][..], &missing].concat()).is_told(2, &["missing.pem", "--peer-ca"]);
}
