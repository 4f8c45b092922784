//! Repeated measurements: median and spread.

use std::fmt;

/// Values of one figure, from repeated runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample(Vec<f64>);

impl Sample {
    /// The values in any order. NaN is left out.
    pub fn new(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().filter(|value| !value.is_nan()).collect();
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// `ours` beside `theirs`, rates that were measured in turn, in every other round in the
    /// opposite order: a ratio for each two rounds, of their geometric means. So what only
    /// comes of a turn's place is the same on both sides. A last round without another is
    /// left out.
    pub fn of_both_ways(ours: &[f64], theirs: &[f64]) -> Self {
        let rounds = ours.chunks_exact(2).zip(theirs.chunks_exact(2));
        Self::new(rounds.map(|(ours, theirs)| {
            let product = |two: &[f64]| two.iter().product::<f64>();
            (product(ours) / product(theirs)).sqrt()
        }))
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The middle value, or the mean of the two in the middle; NaN without values.
    pub fn median(&self) -> f64 {
        let half = self.0.len() / 2;
        match self.0.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => self.0[half],
            _ => (self.0[half - 1] + self.0[half]) / 2.0,
        }
    }

    /// The smallest value; NaN without values.
    pub fn min(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }

    /// The largest value; NaN without values.
    pub fn max(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }

    /// The value below which `share` (0 to 1) of the values lie, by nearest rank.
    pub fn percentile(&self, share: f64) -> f64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0
            .get(rank.saturating_sub(1))
            .copied()
            .unwrap_or(f64::NAN)
    }
}

impl fmt::Display for Sample {
    /// `median (min to max, n)`, each with the precision asked for, or two digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        write!(
            f,
            "{:.digits$} ({:.digits$} to {:.digits$}, n={})",
            self.median(),
            self.min(),
            self.max(),
            self.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_faster_only_in_the_second_place_is_as_fast_both_ways() {
        let ratio = Sample::of_both_ways(&[100.0, 300.0, 50.0], &[300.0, 100.0, 70.0]);
        assert_eq!((ratio.len(), ratio.median()), (1, 1.0));
        let twice = Sample::of_both_ways(&[100.0, 400.0], &[100.0, 100.0]);
        assert_eq!(twice.median(), 2.0);
    }

    #[test]
    fn the_median_of_an_even_number_of_values_is_the_mean_of_the_middle_two() {
        assert_eq!(Sample::new([4.0, 1.0, 3.0, 2.0]).median(), 2.5);
        assert_eq!(Sample::new([3.0, 1.0, 2.0]).median(), 2.0);
    }

    #[test]
    fn percentiles_are_values_of_the_sample() {
        let sample = Sample::new((1..=100).map(f64::from));
        assert_eq!(sample.percentile(0.5), 50.0);
        assert_eq!(sample.percentile(0.99), 99.0);
        assert_eq!(sample.percentile(1.0), 100.0);
    }
}
