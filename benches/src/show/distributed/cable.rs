//! The cable between two nodes: what iperf3 gets through it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use forebay_tests::peers::stranger::listening_ports;
use forebay_tests::{Namespace, Process, Scratch, wait_until};

const PORT: u16 = 5201;
const STARTED: Duration = Duration::from_secs(10);

/// MiB a second that iperf3 moves over one TCP connection from one node to another in so
/// many seconds.
pub(super) fn iperf3(from: &Namespace, to: &Namespace, seconds: u32) -> Result<f64> {
    let scratch = Scratch::new("iperf3", 1);
    let port = PORT.to_string();
    let mut server = to.command(Path::new("iperf3"));
    server.args(["--server", "--one-off", "--port", &port]);
    let mut server = Process::start("iperf3", &mut server, &scratch.path().join("log"));
    let pid = server.pid();
    server.wait_ready(STARTED, || listening_ports(pid).contains(&PORT));
    let mut client = from.command(Path::new("iperf3"));
    client.args(["--client", &to.address().to_string(), "--port", &port]);
    client.args(["--time", &seconds.to_string(), "--json"]);
    let said = output(&mut client)?;
    // It takes one client and ends.
    wait_until(STARTED, || server.ended().is_some());
    received(&said)
}

fn output(command: &mut Command) -> Result<String> {
    let done = command.stdin(Stdio::null()).output();
    let done = done.context("start iperf3: cargo xtask show installs it")?;
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    ensure!(done.status.success(), "iperf3: {}: {said}", done.status);
    Ok(said)
}

/// MiB a second, from iperf3's report.
fn received(report: &str) -> Result<f64> {
    let report: serde_json::Value = serde_json::from_str(report).context("iperf3's report")?;
    let bits = report["end"]["sum_received"]["bits_per_second"].as_f64();
    Ok(bits.context("iperf3 reports a rate")? / 8.0 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_what_was_received() {
        let report = r#"{"end": {"sum_sent": {"bits_per_second": 99.0},
                                 "sum_received": {"bits_per_second": 16777216.0}}}"#;
        assert_eq!(received(report).unwrap(), 2.0);
        assert!(received("{}").is_err());
    }
}
