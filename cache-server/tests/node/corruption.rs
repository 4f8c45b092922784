//! Random corruptions of cache files and index: no wrong byte is served, each is counted.
//!
//! `FOREBAY_CORRUPTIONS` says how many (default 60), `FOREBAY_SEED` which ones.

use std::fs::{self, File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use forebay_core::ByteRange;

use crate::fixture::Node;

const MIB: usize = 1 << 20;

/// Knuth's MMIX generator; the upper bits are the good ones.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 20) % bound
    }
}

/// What is done to one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Harm {
    FlipBit,
    Overwrite,
    Cut,
    Lengthen,
    Remove,
    Replace,
}

const OBJECT: [Harm; 6] = [
    Harm::FlipBit,
    Harm::Overwrite,
    Harm::Cut,
    Harm::Lengthen,
    Harm::Remove,
    Harm::Replace,
];
/// A pack that is gone is not missed by anybody, and what is behind the end of a pack or a
/// journal does not count.
const PACK: [Harm; 3] = [Harm::FlipBit, Harm::Overwrite, Harm::Cut];
const JOURNAL: [Harm; 3] = PACK;

/// Bytes of a record in the journal: cut between two, it has lost some and has nothing
/// that is wrong.
const RECORD: u64 = 64;

/// A file of the cache, and the part of it that matters.
#[derive(Clone, Debug)]
struct Victim {
    path: PathBuf,
    part: Range<u64>,
    harms: &'static [Harm],
}

impl Victim {
    fn whole(path: PathBuf, harms: &'static [Harm]) -> Self {
        let part = 0..fs::metadata(&path).unwrap().len();
        Self { path, part, harms }
    }

    /// The place where the packs have an object with these bytes.
    fn packed(packs: &Path, bytes: &[u8]) -> Self {
        let found = files(packs).into_iter().find_map(|path| {
            let pack = fs::read(&path).unwrap();
            let at = pack.windows(bytes.len()).position(|part| part == bytes)?;
            Some((path, at as u64))
        });
        let (path, at) = found.expect("the object is cached");
        let part = at..at + bytes.len() as u64;
        let harms = &PACK;
        Self { path, part, harms }
    }

    fn inflict(&self, harm: Harm, dice: &mut Dice) {
        let path = &self.path;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .unwrap();
        let Range { start, end } = self.part;
        let at = start + dice.below(end - start);
        match harm {
            Harm::FlipBit => {
                let mut byte = [0];
                file.read_exact_at(&mut byte, at).unwrap();
                byte[0] ^= 1 << dice.below(8);
                file.write_all_at(&byte, at).unwrap();
            }
            Harm::Overwrite => {
                let mut bytes = vec![0; (1 + dice.below(100_000)).min(end - at) as usize];
                file.read_exact_at(&mut bytes, at).unwrap();
                bytes.iter_mut().for_each(|byte| *byte = !*byte);
                file.write_all_at(&bytes, at).unwrap();
            }
            Harm::Cut => {
                let between = at.is_multiple_of(RECORD) && at + 1 < end;
                file.set_len(at + u64::from(between)).unwrap();
            }
            Harm::Lengthen => file.set_len(end + 1 + dice.below(1000)).unwrap(),
            Harm::Remove => fs::remove_file(path).unwrap(),
            Harm::Replace => {
                let other = path.with_extension("other");
                fs::write(&other, vec![0x5a; end as usize]).unwrap();
                fs::rename(other, path).unwrap();
            }
        }
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).unwrap();
            open.extend(entries.map(|entry| entry.unwrap().path()));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Waits until a write to a file gives it another time: file systems of older kernels
/// tell changes of one tick of the clock apart no better than anybody else.
fn until_the_clock_has_ticked(path: &Path, dir: &Path) {
    let time = |metadata: fs::Metadata| (metadata.ctime(), metadata.ctime_nsec());
    let last = time(fs::metadata(path).unwrap());
    let probe = dir.join("probe");
    loop {
        File::create(&probe).unwrap();
        if time(fs::metadata(&probe).unwrap()) > last {
            return fs::remove_file(probe).unwrap();
        }
    }
}

/// What was found wrong so far.
fn counted(node: &Node) -> u64 {
    let stats = node.cache.store().stats();
    stats.wrong_checksums
        + stats.unreadable
        + stats.missing_files
        + stats.wrong_lengths
        + stats.changed_files
        + stats.damaged_records
        + stats.torn_chunks
        + stats.orphans
}

/// Compares all objects, and returns how many bytes they have.
async fn read_all(node: &Node, objects: &[(&str, Vec<u8>)]) -> usize {
    let mut compared = 0;
    for (name, bytes) in objects {
        let all = ByteRange::at(0, bytes.len() as u64);
        let read = node.read(name, all).await.unwrap();
        assert!(read == *bytes, "wrong bytes of {name}");
        compared += bytes.len();
    }
    compared
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_random_corruption_is_served_and_each_is_counted() {
    let knob = |name: &str, default| {
        let said = std::env::var(name).ok();
        said.map_or(default, |said| said.parse().expect("a number"))
    };
    let (rounds, seed) = (knob("FOREBAY_CORRUPTIONS", 60), knob("FOREBAY_SEED", 1));
    let mut dice = Dice(seed);
    let names: Vec<String> = (0..16).map(|number| format!("o{number}")).collect();
    let objects: Vec<(&str, Vec<u8>)> = (0..)
        .zip(&names)
        .map(|(number, name)| {
            let size = match number {
                0..4 => MIB + number * 700_001,
                _ => 3_000 + number * 7_001,
            };
            // Never zero, so that a hole cannot pass for data.
            let bytes = (0..size).map(|at| ((at * (number + 3)) >> 4) as u8 | 1);
            (name.as_str(), bytes.collect())
        })
        .collect();
    let mut node = Node::start(&objects).await;
    let mut compared = read_all(&node, &objects).await;
    let mut found = 0;
    for round in 0..rounds {
        let tier = node.tier();
        let victim = match dice.below(6) {
            0 => Victim::whole(tier.join("journal"), &JOURNAL),
            1 => {
                let small = &objects[4 + dice.below(objects.len() as u64 - 4) as usize];
                Victim::packed(&tier.join("packs"), &small.1)
            }
            _ => {
                let own = files(&tier.join("objects"));
                Victim::whole(own[dice.below(own.len() as u64) as usize].clone(), &OBJECT)
            }
        };
        let harm = victim.harms[dice.below(victim.harms.len() as u64) as usize];
        // The others are read at the start only, or not looked at while they are in use.
        let live = victim.harms.len() == OBJECT.len() && dice.below(2) == 0;
        let what = format!("round {round} of seed {seed}, {harm:?}, live: {live}, {victim:?}");
        let before = if live {
            let before = counted(&node);
            until_the_clock_has_ticked(&victim.path, &tier.join(".."));
            victim.inflict(harm, &mut dice);
            before
        } else {
            node.stop().await;
            victim.inflict(harm, &mut dice);
            node.open_again();
            0
        };
        compared += read_all(&node, &objects).await;
        assert!(counted(&node) > before, "not counted: {what}");
        found += 1;
        // A lease that finds its file lost reads through; the next one keeps what it reads.
        compared += read_all(&node, &objects).await;
        let asked = node.origin.reads().len();
        compared += read_all(&node, &objects).await;
        assert_eq!(node.origin.reads().len(), asked, "not kept: {what}");
        if (round + 1) % 100 == 0 {
            eprintln!("corruption {} of {rounds}", round + 1);
        }
    }
    // Read by `cargo xtask show survive`.
    let mib = compared >> 20;
    println!("corruptions: {rounds} inflicted, {found} counted, {mib} MiB compared");
}
