//! What a mount says about itself at `/metrics`.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result, ensure};
use forebay_tests::Mount;

/// The page of `mount`, which serves it at a Unix socket unless told otherwise.
///
/// # Errors
/// If it does not answer.
pub fn page(mount: &Mount) -> Result<String> {
    let status = mount.status();
    let address = status["metrics"].as_str().context("metrics in status")?;
    let socket = address.strip_prefix("unix:").context("a Unix socket")?;
    let mut stream = UnixStream::connect(socket).with_context(|| format!("connect to {socket}"))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: forebay\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "metrics are refused");
    Ok(answer)
}

/// The value of the sample `name`, labels included.
pub fn value(page: &str, name: &str) -> Option<f64> {
    let mut samples = page.lines().filter_map(|line| line.rsplit_once(' '));
    let (_, value) = samples.find(|(found, _)| *found == name)?;
    value.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_whole_name() {
        let page = "# HELP a_total b\na_total_more 1\na_total 25\n";
        assert_eq!(value(page, "a_total"), Some(25.0));
        assert_eq!(value(page, "a"), None);
    }
}
