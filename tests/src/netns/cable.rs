//! What can be wrong with a cable.
//!
//! A cable is cut by dropping packets, not by taking the link down: nobody is told, as when a
//! switch between two machines fails.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use super::{Namespace, run};

impl Namespace {
    /// Nothing comes in and nothing goes out.
    ///
    /// # Panics
    /// If nft(8) fails; so do those below.
    pub fn cut(&self) {
        self.filter("cut", "drop", "drop");
    }

    /// Nothing comes from these addresses and nothing goes to them.
    pub fn cut_from(&self, others: &[Ipv4Addr]) {
        let others: Vec<_> = others.iter().map(ToString::to_string).collect();
        let others = others.join(", ");
        self.filter(
            "cut",
            &format!("ip saddr {{ {others} }} drop"),
            &format!("ip daddr {{ {others} }} drop"),
        );
    }

    /// What was cut is whole again.
    pub fn mend(&self) {
        self.nft(&removal("cut"));
    }

    /// Of a hundred packets, `percent` are lost on their way in, and as many on their way
    /// out.
    pub fn lose(&self, percent: u8) {
        let rule = format!("numgen random mod 100 < {percent} drop");
        match percent {
            0 => self.nft(&removal("lose")),
            100.. => self.filter("lose", "drop", "drop"),
            _ => self.filter("lose", &rule, &rule),
        }
    }

    /// What goes out waits for this long first; `None` for no longer than it must. False
    /// if this kernel has no netem to do it.
    pub fn delay(&self, delay: Option<&str>) -> bool {
        self.discipline(delay.map(|delay| format!("netem delay {delay} limit 100000")))
            .is_ok()
    }

    /// What goes out goes at this rate, as tc(8) writes it; `None` for as fast as it can.
    ///
    /// # Panics
    /// If tc(8) fails.
    pub fn limit(&self, rate: Option<&str>) {
        // Packets of up to 64 KiB go over a cable of memory; the bucket must hold some.
        let done =
            self.discipline(rate.map(|rate| format!("tbf rate {rate} burst 1mb latency 20ms")));
        done.unwrap_or_else(|error| panic!("{error}"));
    }

    fn discipline(&self, discipline: Option<String>) -> Result<(), String> {
        let device = format!("netns exec {} tc qdisc", self.name);
        match discipline {
            Some(discipline) => run(
                "ip",
                &format!("{device} replace dev eth0 root {discipline}"),
            )
            .map(drop),
            None => {
                // There is none to be deleted where none was set.
                let _ = run("ip", &format!("{device} del dev eth0 root"));
                Ok(())
            }
        }
    }

    fn filter(&self, table: &str, incoming: &str, outgoing: &str) {
        self.nft(&format!(
            "{}
             table inet {table} {{
                 chain incoming {{ type filter hook input priority 0; {incoming}; }}
                 chain outgoing {{ type filter hook output priority 0; {outgoing}; }}
             }}",
            removal(table)
        ));
    }

    fn nft(&self, script: &str) {
        let child = Command::new("ip")
            .args(["netns", "exec", &self.name, "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.expect("ip belongs to every Debian");
        let mut input = child.stdin.take().expect("a pipe was asked for");
        std::io::Write::write_all(&mut input, script.as_bytes()).expect("nft reads its script");
        drop(input);
        let done = child.wait_with_output().expect("a child can be waited for");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "nft in {}: {said}", self.name);
    }
}

/// The words that remove a table, whether it is there or not.
fn removal(table: &str) -> String {
    format!("table inet {table} {{}}; delete table inet {table};")
}
