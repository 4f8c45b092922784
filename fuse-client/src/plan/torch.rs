//! The shuffles of PyTorch, number for number.
//!
//! `torch.randperm` on the CPU is a Fisher-Yates shuffle over the 32-bit numbers of
//! MT19937, each taken modulo what is left; a generator uses the low 32 bits of its seed.
//! (For 214,748,364 elements and more torch draws otherwise; nobody asks for so many.)
//!
//! MT19937: M. Matsumoto, T. Nishimura, "Mersenne Twister: a 623-dimensionally
//! equidistributed uniform pseudo-random number generator", ACM TOMACS 8 (1998).

use super::spec::Sampler;

/// Elements from which on torch shuffles in another way: 2^32 / 20.
pub(super) const TOO_MANY: u64 = 214_748_364;

const N: usize = 624;
const M: usize = 397;

/// The generator.
#[derive(Clone, Debug)]
struct Mt19937 {
    state: [u32; N],
    next: usize,
}

impl Mt19937 {
    fn new(seed: u32) -> Self {
        let mut state = [seed; N];
        for i in 1..N {
            let before = state[i - 1];
            state[i] = (before ^ (before >> 30))
                .wrapping_mul(1_812_433_253)
                .wrapping_add(i as u32);
        }
        Self { state, next: N }
    }

    fn draw(&mut self) -> u32 {
        if self.next == N {
            self.twist();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    fn twist(&mut self) {
        for i in 0..N {
            let mixed = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
            let odd = if mixed & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + M) % N] ^ (mixed >> 1) ^ odd;
        }
        self.next = 0;
    }

    /// The next `torch.randperm(n)`.
    fn permutation(&mut self, n: u32) -> Vec<u32> {
        let mut order: Vec<u32> = (0..n).collect();
        for i in 0..n.saturating_sub(1) {
            let other = i + self.draw() % (n - i);
            order.swap(i as usize, other as usize);
        }
        order
    }

    /// Passes over one `torch.randperm(n)`.
    fn skip_permutation(&mut self, n: u32) {
        for _ in 0..n.saturating_sub(1) {
            self.draw();
        }
    }
}

/// The order of `n` elements in an epoch. A seed's bits are taken as torch takes them.
pub(super) fn epoch_order(sampler: Sampler, n: u32, seed: i64, epoch: u64) -> Vec<u32> {
    let low_bits = |seed: u64| (seed & 0xffff_ffff) as u32;
    let seed = seed.cast_unsigned();
    match sampler {
        Sampler::Torch => Mt19937::new(low_bits(seed.wrapping_add(epoch))).permutation(n),
        Sampler::TorchRandom => {
            let mut generator = Mt19937::new(low_bits(seed));
            for _ in 0..epoch {
                generator.skip_permutation(n);
                // For what is left of a number of samples that is no multiple of n; there
                // is nothing left, and the permutation is drawn all the same.
                generator.skip_permutation(n);
            }
            generator.permutation(n)
        }
        Sampler::Sequential => (0..n).collect(),
    }
}

/// The part of an epoch that `ranks` of `world` read, as `DistributedSampler` divides it:
/// one element each in turn, filled up from the beginning or cut so that all have the
/// same number. Several ranks read side by side.
pub(super) fn shard(order: &[u32], ranks: &[u32], world: u32, drop_last: bool) -> Vec<u32> {
    let (len, world) = (order.len(), world as usize);
    if len == 0 {
        return Vec::new();
    }
    let rounds = if drop_last {
        len / world
    } else {
        len.div_ceil(world)
    };
    let mut part = Vec::with_capacity(rounds * ranks.len());
    for round in 0..rounds {
        let places = ranks.iter().map(|&rank| round * world + rank as usize);
        part.extend(places.map(|place| order[place % len]));
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    fn randperm(seed: i64, n: u32) -> Vec<u32> {
        epoch_order(Sampler::Torch, n, seed, 0)
    }

    #[test]
    fn the_generator_is_mt19937() {
        // The first and the 10,000th number of the seed 5489: C++ [rand.predef].
        let mut generator = Mt19937::new(5489);
        assert_eq!(generator.draw(), 3_499_211_612);
        let last = (1..10_000).map(|_| generator.draw()).last();
        assert_eq!(last, Some(4_123_659_995));
    }

    #[test]
    fn permutations_are_those_of_torch() {
        // torch 2.15: g.manual_seed(seed); torch.randperm(n, generator=g)
        assert_eq!(randperm(0, 10), [4, 1, 7, 5, 3, 9, 0, 8, 6, 2]);
        assert_eq!(randperm(42, 10), [2, 6, 1, 8, 4, 5, 0, 9, 3, 7]);
        assert_eq!(randperm((1 << 32) + 5, 7), [1, 0, 4, 2, 6, 5, 3]);
        assert_eq!(randperm(i64::MAX, 7), [2, 1, 3, 6, 4, 5, 0]);
        assert_eq!(randperm(123_456_789, 1), [0]);
        assert!(randperm(1, 0).is_empty());
    }

    #[test]
    fn large_permutations_are_those_of_torch() {
        // torch 2.15, as above: both ends of ImageNet's 1,281,167.
        let order = randperm(7, 1_281_167);
        assert_eq!(order[..5], [1_044_030, 165_401, 760_413, 410_973, 924_840]);
        let end = [574_215, 651_501, 1_110_107, 1_190_269, 242_772];
        assert_eq!(order[order.len() - 5..], end);
    }

    #[test]
    fn shards_are_those_of_the_distributed_sampler() {
        // torch 2.15: DistributedSampler(range(n), world, rank, shuffle, seed, drop_last),
        // set_epoch(epoch)
        let part = |n, world, rank, seed, epoch, drop_last| {
            let order = epoch_order(Sampler::Torch, n, seed, epoch);
            shard(&order, &[rank], world, drop_last)
        };
        assert_eq!(part(10, 3, 0, 0, 0, false), [4, 5, 0, 2]);
        assert_eq!(part(10, 3, 2, 0, 1, false), [1, 8, 7, 6]);
        assert_eq!(part(10, 3, 1, 5, 2, true), [0, 1, 6]);
        assert_eq!(part(3, 8, 6, 0, 0, false), [2]);
        assert_eq!(part(2, 7, 6, 1, 0, false), [1]);
        assert!(part(3, 8, 6, 0, 0, true).is_empty());
        let large = part(1000, 8, 5, 3, 9, false);
        assert_eq!((&large[..4], large.len()), (&[876, 390, 516, 877][..], 125));
        let plain = |drop_last| shard(&(0..10).collect::<Vec<_>>(), &[3], 4, drop_last);
        assert_eq!(plain(false), [3, 7, 1]);
        assert_eq!(plain(true), [3, 7]);
    }

    #[test]
    fn a_random_sampler_goes_on_where_its_generator_is() {
        // torch 2.15: g.manual_seed(3); RandomSampler(range(8), generator=g), four times
        let epochs = [
            [2, 4, 3, 5, 1, 0, 6, 7],
            [2, 3, 5, 7, 4, 1, 6, 0],
            [6, 3, 2, 4, 1, 0, 7, 5],
            [0, 5, 6, 4, 3, 7, 1, 2],
        ];
        for (epoch, expected) in (0..).zip(epochs) {
            assert_eq!(epoch_order(Sampler::TorchRandom, 8, 3, epoch), expected);
        }
    }

    #[test]
    fn ranks_side_by_side_take_turns() {
        let order: Vec<_> = (0..8).collect();
        assert_eq!(shard(&order, &[0, 1], 4, false), [0, 1, 4, 5]);
        assert!(shard(&[], &[0], 4, false).is_empty());
    }
}
