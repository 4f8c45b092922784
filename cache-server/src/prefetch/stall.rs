//! Pressure stall information: the share of time in which tasks wait for memory.
//!
//! <https://docs.kernel.org/accounting/psi.html>

/// The share of the last ten seconds in which some task waited, in percent; `None` if
/// `text` is not what the kernel writes.
pub(super) fn some_avg10(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let value = line
        .split_whitespace()
        .find_map(|field| field.strip_prefix("avg10="))?;
    value.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ten_second_average_of_some_is_read() {
        let text = "some avg10=12.50 avg60=1.00 avg300=0.00 total=7\n\
                    full avg10=3.00 avg60=0.00 avg300=0.00 total=1\n";
        assert_eq!(some_avg10(text), Some(12.5));
        assert_eq!(some_avg10("full avg10=3.00"), None);
        assert_eq!(some_avg10("some avg10=x"), None);
        assert_eq!(some_avg10(""), None);
    }
}
