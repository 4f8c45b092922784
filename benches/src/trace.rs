//! Sequences of opened objects, as caches are judged by: each follows from a few numbers.

use forebay_tests::Random;

/// A sequence of object numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// What it is, with its numbers.
    pub name: String,
    /// How many objects there are; numbers are below it.
    pub objects: usize,
    /// The objects in the order in which they are opened.
    pub opens: Vec<u32>,
}

impl Trace {
    /// Every object is opened `1 / rank ^ exponent` as often as the first.
    pub fn zipf(objects: u32, exponent: f64, opens: usize) -> Self {
        let zipf = Zipf::new(objects, exponent);
        let mut random = Random::new(1);
        Self {
            name: format!("zipf {exponent}"),
            objects: objects as usize,
            opens: (0..opens).map(|_| zipf.pick(&mut random)).collect(),
        }
    }

    /// [`Self::zipf`], and after every `every` opens a scan of `length` objects that
    /// nobody else opens, each once.
    pub fn zipf_with_scans(
        objects: u32,
        exponent: f64,
        opens: usize,
        every: usize,
        length: u32,
    ) -> Self {
        let base = Self::zipf(objects, exponent, opens);
        let mut next = objects;
        let mut mixed = Vec::new();
        for part in base.opens.chunks(every) {
            mixed.extend(part);
            mixed.extend(next..next + length);
            next += length;
        }
        Self {
            name: format!("{}, scans of {length} every {every}", base.name),
            objects: objects as usize,
            opens: mixed,
        }
    }

    /// Every object once, in another order each time.
    pub fn epochs(objects: u32, epochs: usize) -> Self {
        let mut random = Random::new(2);
        let mut order: Vec<u32> = (0..objects).collect();
        let mut opens = Vec::new();
        for _ in 0..epochs {
            for last in (1..order.len()).rev() {
                order.swap(last, random.below(last as u64 + 1) as usize);
            }
            opens.extend(&order);
        }
        Self {
            name: format!("{epochs} shuffled epochs"),
            objects: objects as usize,
            opens,
        }
    }

    /// The objects in one order, over and over.
    pub fn repeated(objects: u32, times: usize) -> Self {
        Self {
            name: format!("{times} epochs in one order"),
            objects: objects as usize,
            opens: (0..times).flat_map(|_| 0..objects).collect(),
        }
    }

    /// One trace, then the other over objects of its own: a job that ends, and another
    /// that begins.
    pub fn then(self, other: Self) -> Self {
        let shift = self.objects as u32;
        let shifted = other.opens.iter().map(|object| object + shift);
        Self {
            name: format!("{}, then {} of others", self.name, other.name),
            objects: self.objects.max(other.objects),
            opens: self.opens.iter().copied().chain(shifted).collect(),
        }
    }
}

/// Picks ranks by Zipf's law, from the sums of their weights.
struct Zipf {
    sums: Vec<f64>,
}

impl Zipf {
    fn new(objects: u32, exponent: f64) -> Self {
        let mut sum = 0.0;
        let weights = (1..=objects).map(|rank| f64::from(rank).powf(-exponent));
        let sums = weights.map(|weight| {
            sum += weight;
            sum
        });
        Self {
            sums: sums.collect(),
        }
    }

    fn pick(&self, random: &mut Random) -> u32 {
        let total = self.sums.last().copied().unwrap_or(0.0);
        let point = random.word() as f64 / u64::MAX as f64 * total;
        let rank = self.sums.partition_point(|sum| *sum < point);
        rank.min(self.sums.len() - 1) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_opens_every_object_once() {
        let trace = Trace::epochs(100, 3);
        assert_eq!(trace.opens.len(), 300);
        for epoch in trace.opens.chunks(100) {
            let mut epoch = epoch.to_vec();
            epoch.sort_unstable();
            assert_eq!(epoch, (0..100).collect::<Vec<_>>());
        }
        assert_ne!(trace.opens[..100], trace.opens[100..200]);
    }

    #[test]
    fn zipf_opens_the_first_twice_as_often_as_the_second() {
        let trace = Trace::zipf(1000, 1.0, 100_000);
        let count = |object| trace.opens.iter().filter(|open| **open == object).count() as f64;
        let ratio = count(0) / count(1);
        assert!((1.8..2.2).contains(&ratio), "{ratio}");
        assert_eq!(trace, Trace::zipf(1000, 1.0, 100_000));
    }

    #[test]
    fn scans_open_objects_of_their_own() {
        let trace = Trace::zipf_with_scans(10, 1.0, 100, 50, 5);
        assert_eq!(trace.opens.len(), 110);
        assert_eq!(trace.opens[50..55], [10, 11, 12, 13, 14]);
        assert_eq!(trace.opens[105..], [15, 16, 17, 18, 19]);
    }
}
