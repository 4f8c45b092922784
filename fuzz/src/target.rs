//! What is fuzzed.

use forebay_tests::Random;

mod keeper;
mod local;
mod manifest;
mod peer;
mod plan;
mod store;

/// Something that reads bytes which it did not write.
pub trait Target {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// Valid inputs, from which mutation starts.
    fn seeds(&self) -> Vec<Vec<u8>>;

    /// Words of the input's language, which mutation puts in.
    fn words(&self) -> &'static [&'static [u8]] {
        &[]
    }

    /// Makes lengths and checksums right again after mutation, so that what they guard is
    /// reached.
    fn seal(&self, _input: &mut Vec<u8>, _random: &mut Random) {}

    /// The most bytes of memory that reading an input of `len` bytes may take.
    fn most_memory(&self, len: usize) -> usize;

    /// Reads the input.
    ///
    /// # Panics
    /// If something is accepted that is wrong; that is what a campaign looks for.
    fn read(&mut self, input: &[u8]);
}

/// Makes a target: what it needs is set up when it is wanted.
pub type Make = fn() -> Box<dyn Target>;

/// Every target, by name.
pub fn all() -> [(&'static str, Make); 6] {
    [
        ("manifest", || Box::new(manifest::Reader::new())),
        ("keeper", || Box::new(keeper::Conversation::new())),
        ("store", || Box::new(store::Recovery::new())),
        ("local", || Box::new(local::Frames::new())),
        ("peer", || Box::new(peer::Frames::new())),
        ("plan", || Box::new(plan::Parser::new())),
    ]
}

/// A number of up to 8 bytes, little-endian, from `at` on; what is not there counts as 0.
fn number(input: &[u8], at: usize, len: usize) -> u64 {
    let bytes = input.iter().skip(at).take(len);
    bytes
        .rev()
        .fold(0, |number, &byte| number << 8 | u64::from(byte))
}
