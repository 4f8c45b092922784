//! Ceph: one monitor, one OSD in memory and the S3 gateway (RGW).
//!
//! Two settings make a cluster that is known to take 20 seconds start in 2. There is no
//! manager: it keeps statistics, which nobody asks for here. And the monitor, which
//! gathers changes for a second before it commits them, does not wait for others to
//! come: a start is a long row of changes, each waiting for the one before.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use crate::endpoint::Endpoint;
use crate::ports::free_ports;
use crate::process::Process;
use crate::require::server_program;
use crate::s3client::S3Client;
use crate::scratch::Scratch;
use crate::wait::wait_until;

/// Each step of the start takes less than a second on an idle machine.
const STEP: Duration = Duration::from_secs(60);
/// The bucket whose creation tells that the gateway and the pools behind it are up.
const PROBE: &str = "forebay-probe";

/// Who talks to whom, and with which rights.
const KEYS: [(&str, &[(&str, &str)]); 4] = [
    ("mon.", &[("mon", "allow *")]),
    ("client.admin", &[("mon", "allow *"), ("osd", "allow *")]),
    ("osd.0", &[("mon", "allow profile osd"), ("osd", "allow *")]),
    ("client.rgw", &[("mon", "allow rw"), ("osd", "allow rwx")]),
];

/// A running Ceph with an S3 gateway. Dropping it kills it and removes its data.
#[derive(Debug)]
pub struct Ceph {
    // The daemons before their directory, the last to start first.
    daemons: Vec<Process>,
    endpoint: Endpoint,
    _scratch: Scratch,
}

impl Ceph {
    /// Starts a cluster that can hold `need` bytes of objects, in memory.
    ///
    /// # Panics
    /// If it is not installed, has no room, or does not start.
    pub fn start(need: u64) -> Self {
        let scratch = Scratch::new("ceph", 1 << 30);
        let [mon, rgw] = free_ports();
        let endpoint = Endpoint::new(format!("http://127.0.0.1:{rgw}"));
        let cluster = Cluster {
            dir: scratch.path(),
        };
        let fsid = uuid();
        for dir in ["mon", "osd", "rgw", "run", "log"] {
            scratch.dir(dir);
        }
        write(
            &cluster.conf(),
            &configuration(scratch.path(), &fsid, mon, rgw, need),
        );
        cluster.make_keys();
        let mon = cluster.start_mon(&fsid, mon);
        let osd = cluster.start_osd();
        let rgw = cluster.start_rgw(&endpoint);
        Self {
            daemons: vec![rgw, osd, mon],
            endpoint,
            _scratch: scratch,
        }
    }

    /// Where its S3 gateway is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl Drop for Ceph {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            daemon.kill();
        }
    }
}

/// The directory of a cluster, and the programs that work on it.
struct Cluster<'a> {
    dir: &'a Path,
}

impl Cluster<'_> {
    fn conf(&self) -> String {
        self.path("ceph.conf")
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn make_keys(&self) {
        let keyring = self.path("keyring");
        write(&keyring, "");
        for (name, rights) in KEYS {
            let mut args = vec![keyring.as_str(), "--gen-key", "-n", name];
            for (daemon, right) in rights {
                args.extend(["--cap", *daemon, *right]);
            }
            self.run("ceph-authtool", &args);
        }
    }

    fn start_mon(&self, fsid: &str, port: u16) -> Process {
        let (map, keyring) = (self.path("monmap"), self.path("keyring"));
        let address = format!("[v2:127.0.0.1:{port}]");
        self.run(
            "monmaptool",
            &["--create", "--addv", "a", &address, "--fsid", fsid, &map],
        );
        self.run(
            "ceph-mon",
            &["--mkfs", "-i", "a", "--monmap", &map, "--keyring", &keyring],
        );
        self.daemon("ceph-mon", &["-i", "a"])
    }

    fn start_osd(&self) -> Process {
        let (id, keyring) = (uuid(), self.path("keyring"));
        self.ask_mon(&["osd", "new", &id, "0"]);
        self.run(
            "ceph-osd",
            &[
                "-i",
                "0",
                "--mkfs",
                "--osd-uuid",
                &id,
                "--keyring",
                &keyring,
            ],
        );
        let mut osd = self.daemon("ceph-osd", &["-i", "0"]);
        osd.wait_ready(STEP, || self.ask_mon(&["osd", "stat"]).contains("1 up"));
        osd
    }

    /// Asks the monitor, but not for ever: it may be gone.
    fn ask_mon(&self, command: &[&str]) -> String {
        self.run("ceph", &[&["--connect-timeout", "10"], command].concat())
    }

    fn start_rgw(&self, endpoint: &Endpoint) -> Process {
        let mut rgw = self.daemon("radosgw", &["-n", "client.rgw"]);
        let port = endpoint
            .url
            .strip_prefix("http://")
            .expect("an endpoint of ours");
        rgw.wait_ready(STEP, || std::net::TcpStream::connect(port).is_ok());
        let access = format!("--access-key={}", endpoint.access_key);
        let secret = format!("--secret-key={}", endpoint.secret_key);
        let user = [
            "user",
            "create",
            "--uid=test",
            "--display-name=test",
            &access,
            &secret,
        ];
        self.run(
            "radosgw-admin",
            &[&["-n", "client.rgw"], &user[..]].concat(),
        );
        let client = S3Client::new(endpoint);
        rgw.wait_ready(STEP, || client.can_create(PROBE));
        rgw
    }

    /// Starts a daemon in the foreground, for its end to be seen.
    fn daemon(&self, program: &str, args: &[&str]) -> Process {
        let mut command = self.command(program, args);
        Process::start(
            program,
            command.arg("-f"),
            &self.dir.join("log").join(program),
        )
    }

    /// Runs a program to its end and returns what it printed. The tools lose their
    /// patience while the monitor is being elected, so they are asked again.
    fn run(&self, program: &str, args: &[&str]) -> String {
        let mut last = None;
        let done = wait_until(STEP, || {
            let output = self.command(program, args).output();
            let output = output.unwrap_or_else(|error| panic!("start {program}: {error}"));
            let success = output.status.success();
            last = Some(output);
            success
        });
        let Output {
            status,
            stdout,
            stderr,
        } = last.expect("it ran at least once");
        let stderr = String::from_utf8_lossy(&stderr);
        assert!(
            done,
            "{program} {} ended with {status}: {stderr}",
            args.join(" ")
        );
        String::from_utf8_lossy(&stdout).into_owned()
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(server_program("ceph", program));
        command
            .args(["-c", &self.conf()])
            .args(args)
            .current_dir(self.dir);
        command
    }
}

fn configuration(dir: &Path, fsid: &str, mon: u16, rgw: u16, need: u64) -> String {
    let dir = dir.display();
    // Of a store that is 95 % full, Ceph takes nothing more.
    let device = (need + need / 8).max(1 << 30);
    format!(
        "[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{mon}/0
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
auth allow insecure global id reclaim = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon data avail crit = 1
mon data avail warn = 2
mon max pg per osd = 1000
paxos propose interval = 0.05
paxos min wait = 0.01
admin socket = {dir}/run/$cluster-$name-$pid.asok
log file = {dir}/log/$name.log
pid file = {dir}/run/$name.pid
keyring = {dir}/keyring
[mon.a]
mon data = {dir}/mon
mon addr = 127.0.0.1:{mon}
[osd.0]
osd data = {dir}/osd
osd objectstore = memstore
memstore device bytes = {device}
[client.rgw]
rgw data = {dir}/rgw
rgw frontends = beast endpoint=127.0.0.1:{rgw}
rgw dns name = 127.0.0.1
rgw enable usage log = false
rgw enable ops log = false
"
    )
}

fn uuid() -> String {
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid");
    uuid.expect("the kernel makes UUIDs").trim().to_owned()
}

fn write(path: &str, content: &str) {
    fs::write(path, content).unwrap_or_else(|error| panic!("write {path}: {error}"));
}
