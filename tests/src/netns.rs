//! Several machines on one: network namespaces, each with a cable to a bridge.
//!
//! A namespace has an address, ports and sockets of its own, and its cable can be cut or
//! made bad (see [`Namespace::cut`] and its neighbours). The machine itself is on the
//! bridge, too: an origin that listens there is reached by all.
//!
//! Addresses are of 203.0.113.0/24, which is kept for documentation and so is nobody's;
//! each [`Network`] takes a sixteenth of it, under names that begin with `fbn`, so that
//! several can be up, and a Kubernetes beside them. What a run that was killed has left
//! is found and removed when the next one begins.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::scratch::Scratch;
use crate::wait::wait_until;

mod cable;
mod slot;

use slot::Slot;

/// The most namespaces of a network: a /28 has 14 addresses, and the host has one.
const MOST_NODES: u8 = 13;

/// How long a new network may take to carry its first packet.
const READY: Duration = Duration::from_secs(20);

/// A bridge and namespaces on it, removed when this is dropped.
#[derive(Debug)]
pub struct Network {
    namespaces: Vec<Namespace>,
    // Removed last, in this order: the lock is held until nothing is left.
    scratch: Scratch,
    slot: Slot,
}

/// One namespace: what stands for a machine.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: String,
    address: Ipv4Addr,
}

impl Network {
    /// `nodes` namespaces on a new bridge, and a directory with room for `need` bytes.
    ///
    /// # Panics
    /// Without root, and if something of it cannot be made.
    pub fn new(test: &str, nodes: u8, need: u64) -> Self {
        Self::within(Scratch::new(test, need), nodes)
    }

    /// The same with a directory that is there.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn within(scratch: Scratch, nodes: u8) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "this makes network namespaces and needs root: run it as root"
        );
        assert!(nodes <= MOST_NODES, "{nodes} are more than {MOST_NODES}");
        let slot = Slot::claim(scratch.path());
        let mut network = Self {
            namespaces: Vec::new(),
            scratch,
            slot,
        };
        let bridge = network.slot.bridge();
        must(&format!("link add {bridge} type bridge"));
        must(&format!("addr add {}/28 dev {bridge}", network.host()));
        must(&format!("link set {bridge} up"));
        for number in 0..nodes {
            let namespace = Namespace {
                name: network.slot.namespace(number),
                address: network.slot.address(2 + number),
            };
            namespace.plug_in(&bridge);
            network.namespaces.push(namespace);
        }
        for namespace in &network.namespaces {
            namespace.await_host(network.host());
        }
        network
    }

    /// The address of the machine itself.
    pub fn host(&self) -> Ipv4Addr {
        self.slot.address(1)
    }

    /// The namespaces.
    pub fn namespaces(&self) -> &[Namespace] {
        &self.namespaces
    }

    /// The directory of the run.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.slot.clear();
    }
}

impl Namespace {
    /// Its address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// A command that runs `program` in it: as the process that was started, with the
    /// files and mounts of the machine.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(self.option()).arg(program);
        command
    }

    /// The option of nsenter(1) that leads into it.
    pub(crate) fn option(&self) -> String {
        format!("--net={}", self.path().display())
    }

    fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// Whether packets from here reach `to`, which is asked at a port where nobody listens.
    fn reaches(&self, to: Ipv4Addr) -> bool {
        let script = format!("exec 3<>/dev/tcp/{to}/9");
        let mut bash = self.command(Path::new("timeout"));
        let done = bash.args(["1", "bash", "-c", &script]).output();
        let said = String::from_utf8_lossy(&done.expect("bash").stderr).into_owned();
        // It answers as well as one at which somebody does.
        said.contains("refused")
    }

    /// Waits for the first packet to the machine's side and back, so that a network that does
    /// not work is not taken for a fault of what is tested.
    fn await_host(&self, host: Ipv4Addr) {
        if !wait_until(READY, || self.reaches(host)) {
            let asked = ["neigh", "-d addr", "-s link", "route"];
            let inside = asked.map(|what| run("ip", &format!("-n {} {what}", self.name)));
            let outside = asked.map(|what| run("ip", what));
            panic!(
                "{} does not reach {host} within {READY:?}\ninside: {inside:#?}\noutside: {outside:#?}",
                self.name
            );
        }
    }

    fn plug_in(&self, bridge: &str) {
        let Self { name, address } = self;
        must(&format!("netns add {name}"));
        // The end on the bridge is called like the namespace.
        must(&format!(
            "link add {name} type veth peer name eth0 netns {name}"
        ));
        must(&format!("link set {name} master {bridge} up"));
        must(&format!("-n {name} link set lo up"));
        must(&format!("-n {name} addr add {address}/28 dev eth0"));
        must(&format!("-n {name} link set eth0 up"));
    }
}

/// Runs ip(8) with these words, which hold no blanks themselves.
fn must(words: &str) {
    run("ip", words).unwrap_or_else(|error| panic!("{error}"));
}

/// Runs a program with these words; what it printed, or in words why it failed.
fn run(program: &str, words: &str) -> Result<String, String> {
    let done = Command::new(program).args(words.split(' ')).output();
    let done = done.map_err(|error| format!("start {program}: {error}"))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        return Err(format!("{program} {words}: {}", said.trim()));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Process;

    #[test]
    fn namespaces_reach_each_other_until_a_cable_is_cut_and_again_when_it_is_mended() {
        let network = Network::new("netns", 3, 1);
        let [a, b, c] = network.namespaces() else {
            panic!("three")
        };
        assert!(a.reaches(b.address()) && b.reaches(network.host()));
        a.cut();
        assert!(!a.reaches(b.address()) && !b.reaches(a.address()));
        a.mend();
        assert!(a.reaches(b.address()));
        a.cut_from(&[b.address()]);
        assert!(!a.reaches(b.address()) && !b.reaches(a.address()));
        assert!(a.reaches(c.address()) && a.reaches(network.host()));
        a.mend();
        a.lose(100);
        assert!(!a.reaches(c.address()));
        a.lose(0);
        a.limit(Some("10mbit"));
        assert!(a.reaches(c.address()));
        a.limit(None);
    }

    #[test]
    fn what_a_killed_run_has_left_is_removed_by_the_next() {
        let network = Network::new("netns-left", 1, 1);
        let (name, bridge) = (network.namespaces()[0].name.clone(), network.slot.bridge());
        let dir = network.scratch().path().to_owned();
        let mut sleep = network.namespaces()[0].command(Path::new("sleep"));
        let log = std::env::temp_dir().join(format!("{name}.log"));
        let mut sleeper = Process::start("sleep", sleep.arg("100"), &log);
        // As if the process had been killed: nothing is dropped, only the lock goes.
        network.slot.abandon();
        std::mem::forget(network);
        drop(Network::new("netns-next", 1, 1));
        let gone = || sleeper.ended().is_some();
        assert!(wait_until(Duration::from_secs(5), gone));
        assert!(!dir.exists());
        assert!(!run("ip", "netns list").unwrap().contains(&name));
        assert!(!run("ip", "-brief link").unwrap().contains(&bridge));
        std::fs::remove_file(log).unwrap();
    }
}
