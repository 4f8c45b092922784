//! Inputs made from other inputs.

use forebay_tests::Random;

/// No input is longer: what needs more is a matter of the whole system's tests.
pub(crate) const LONGEST_INPUT: usize = 64 << 10;

/// Numbers at which comparisons and sums go wrong.
const EDGES: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 20,
    1 << 63,
    u64::MAX,
];

/// Changes `input` in one to eight places. `other` gives parts, `words` are put in.
pub(crate) fn mutate(input: &mut Vec<u8>, other: &[u8], words: &[&[u8]], random: &mut Random) {
    for _ in 0..1 << random.below(4) {
        match random.below(9) {
            0 => flip(input, random),
            1 => overwrite(input, random),
            2 => edge(input, random),
            3 => remove(input, random),
            4 => repeat(input, random),
            5 => splice(input, other, random),
            6 => nudge(input, random),
            7 if !words.is_empty() => {
                let word: &&[u8] = random.pick(words);
                put(input, word, random);
            }
            _ => move_part(input, random),
        }
        input.truncate(LONGEST_INPUT);
    }
}

/// A part of an input of `len` bytes, up to 64 bytes long.
fn part(len: usize, random: &mut Random) -> std::ops::Range<usize> {
    let from = random.below(len as u64 + 1) as usize;
    let most = 1 << random.below(7);
    from..(from + 1 + random.below(most) as usize).min(len)
}

fn flip(input: &mut [u8], random: &mut Random) {
    if !input.is_empty() {
        let at = random.below(input.len() as u64) as usize;
        input[at] ^= 1 << random.below(8);
    }
}

fn overwrite(input: &mut [u8], random: &mut Random) {
    let part = part(input.len(), random);
    for byte in &mut input[part] {
        *byte = random.word() as u8;
    }
}

fn edge(input: &mut [u8], random: &mut Random) {
    let width = 1 << random.below(4);
    if input.len() >= width {
        let at = random.below((input.len() - width) as u64 + 1) as usize;
        let number = random.pick(&EDGES).to_le_bytes();
        input[at..at + width].copy_from_slice(&number[..width]);
    }
}

fn nudge(input: &mut [u8], random: &mut Random) {
    if !input.is_empty() {
        let at = random.below(input.len() as u64) as usize;
        let by = random.below(32) as u8;
        input[at] = input[at].wrapping_add(by).wrapping_sub(16);
    }
}

fn remove(input: &mut Vec<u8>, random: &mut Random) {
    let part = part(input.len(), random);
    input.drain(part);
}

fn repeat(input: &mut Vec<u8>, random: &mut Random) {
    let part = input[part(input.len(), random)].to_vec();
    put(input, &part, random);
}

fn splice(input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    put(input, &other[part(other.len(), random)], random);
}

fn move_part(input: &mut [u8], random: &mut Random) {
    let from = part(input.len(), random);
    let to = random.below((input.len() - from.len()) as u64 + 1) as usize;
    input.copy_within(from, to);
}

fn put(input: &mut Vec<u8>, bytes: &[u8], random: &mut Random) {
    let at = random.below(input.len() as u64 + 1) as usize;
    input.splice(at..at, bytes.iter().copied());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutation_follows_from_the_seed_and_takes_any_input() {
        let mutated = |seed| {
            let mut random = Random::new(seed);
            let mut input = Vec::new();
            for _ in 0..500 {
                mutate(&mut input, b"other", &[b"word"], &mut random);
            }
            input
        };
        assert_eq!(mutated(1), mutated(1));
        assert_ne!(mutated(1), mutated(2));
        assert!(mutated(3).len() <= LONGEST_INPUT);
    }
}
