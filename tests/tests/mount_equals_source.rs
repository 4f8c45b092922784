//! Whatever is asked of a mount, it answers as a copy of the source on the local disk
//! does: random trees, random reads, cold and again from the cache.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use forebay_tests::{Bucket, Mount, Random, errno, stream};
use memmap2::Mmap;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// What names are made of; a number is added, so that no two are the same.
const NAMES: [&str; 12] = [
    "plain",
    "with space",
    "größe",
    "数据",
    "😀",
    "back\\slash",
    "line\nfeed",
    ".hidden",
    "per%20cent",
    "quo\"te's",
    "a+b&c=d#e?f",
    "-rf *",
];

/// Around the borders of pages, of the kernel's requests and of chunks.
const SIZES: [u64; 10] = [
    0,
    1,
    4 * KIB - 1,
    4 * KIB,
    128 * KIB + 1,
    MIB - 1,
    MIB,
    MIB + 1,
    2 * MIB + 5,
    5 * MIB + 4 * KIB,
];

/// A tree on the local disk, and the same tree in a bucket.
struct Tree {
    copy: PathBuf,
    files: Vec<PathBuf>,
    directories: Vec<PathBuf>,
}

impl Tree {
    fn make(random: &mut Random, bucket: &Bucket, copy: PathBuf) -> Self {
        let mut tree = Self {
            copy,
            files: Vec::new(),
            directories: vec![PathBuf::new()],
        };
        for number in 0..4 + random.below(20) {
            let parent = random.pick(&tree.directories).clone();
            let name = format!("{} {number}", random.pick(&NAMES));
            let path = parent.join(name);
            match random.below(3) {
                0 => tree.add_directory(bucket, path),
                _ => tree.add_file(random, bucket, path),
            }
        }
        // Whatever was drawn, there is something deep to find.
        let deep = (0..20).fold(PathBuf::new(), |path, level| path.join(format!("d{level}")));
        tree.add_directory(bucket, deep.clone());
        tree.add_file(random, bucket, deep.join("deep"));
        tree
    }

    /// In the bucket it is a marker.
    fn add_directory(&mut self, bucket: &Bucket, path: PathBuf) {
        fs::create_dir_all(self.copy.join(&path)).unwrap();
        bucket.put(&format!("{}/", path.to_str().unwrap()), "");
        self.directories.push(path);
    }

    fn add_file(&mut self, random: &mut Random, bucket: &Bucket, path: PathBuf) {
        let size = match random.below(3) {
            0 => random.below(3 * MIB),
            _ => *random.pick(&SIZES),
        };
        let content = stream(random.word(), size);
        fs::write(self.copy.join(&path), &content).unwrap();
        bucket.put(path.to_str().unwrap(), content);
        self.files.push(path);
    }
}

/// The names below `root`, with what `stat` says about each.
fn listing(root: &Path) -> BTreeSet<(PathBuf, bool, u64)> {
    let mut found = BTreeSet::new();
    let mut open = vec![PathBuf::new()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(root.join(&dir)).unwrap() {
            let entry = entry.unwrap();
            let path = dir.join(entry.file_name());
            let stat = fs::symlink_metadata(root.join(&path)).unwrap();
            assert_eq!(stat.file_type(), entry.file_type().unwrap(), "{path:?}");
            if stat.is_dir() {
                open.push(path.clone());
            }
            // A directory's size is its file system's own.
            let size = if stat.is_dir() { 0 } else { stat.len() };
            found.insert((path, stat.is_dir(), size));
        }
    }
    found
}

/// One way to read a file.
#[derive(Clone, Debug)]
enum Reading {
    /// All of it at once.
    Whole,
    /// From front to back, through a buffer of this size.
    Sequential(usize),
    /// One pread(2), beyond the end or not.
    At { offset: u64, len: usize },
    /// A part of a mapping, as shares of 1,000 of the file.
    Mapped { from: u64, to: u64 },
}

impl Reading {
    fn draw(random: &mut Random, size: u64) -> Self {
        match random.below(8) {
            0 => Self::Whole,
            1 => Self::Sequential(1 + random.below(300 * KIB) as usize),
            2 | 3 => {
                let (a, b) = (random.below(1001), random.below(1001));
                let (from, to) = (a.min(b), a.max(b));
                Self::Mapped { from, to }
            }
            _ => {
                let most = 16 << random.below(18);
                Self::At {
                    offset: random.below(size + 2 * KIB),
                    len: random.below(most) as usize,
                }
            }
        }
    }

    fn of(&self, path: &Path) -> Vec<u8> {
        match self {
            Self::Whole => fs::read(path).unwrap(),
            Self::Sequential(buffer) => {
                let mut content = Vec::new();
                let file = File::open(path).unwrap();
                let mut reader = BufReader::with_capacity(*buffer, file);
                reader.read_to_end(&mut content).unwrap();
                content
            }
            Self::At { offset, len } => {
                let mut buffer = vec![0; *len];
                let read = File::open(path).unwrap().read_at(&mut buffer, *offset);
                buffer.truncate(read.unwrap());
                buffer
            }
            Self::Mapped { from, to } => mapped(path, |bytes| {
                let at = |share: u64| (bytes.len() as u64 * share / 1000) as usize;
                bytes[at(*from)..at(*to)].to_vec()
            }),
        }
    }
}

#[expect(unsafe_code, reason = "a mapping is what is tested")]
fn mapped(path: &Path, look: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let file = File::open(path).unwrap();
    // SAFETY: nothing changes the file: both trees are read-only from here on.
    let map = unsafe { Mmap::map(&file) }.unwrap();
    look(&map)
}

/// Looks at everything and reads at random; then all, so that all is cached.
fn compare(tree: &Tree, mount: &Mount, random: &mut Random) {
    let root = mount.path();
    assert_eq!(listing(&root), listing(&tree.copy));
    for _ in 0..40 {
        let file = random.pick(&tree.files);
        let local = tree.copy.join(file);
        let reading = Reading::draw(random, fs::metadata(&local).unwrap().len());
        assert!(
            reading.of(&root.join(file)) == reading.of(&local),
            "{file:?} differs: {reading:?}"
        );
    }
    for file in &tree.files {
        let same = Reading::Whole.of(&root.join(file)) == Reading::Whole.of(&tree.copy.join(file));
        assert!(same, "{file:?} differs");
    }
    for dir in &tree.directories {
        let mut name = OsString::from("not there");
        name.push(random.word().to_string());
        let path = dir.join(name);
        let (here, there) = (
            fs::metadata(root.join(&path)),
            fs::metadata(tree.copy.join(&path)),
        );
        assert_eq!(errno(&here), errno(&there), "{path:?}");
    }
}

fn a_tree_is_read_as_it_is(seed: u64) {
    eprintln!("seed {seed}");
    let mut random = Random::new(seed);
    let bucket = Bucket::new("equal", 500 * MIB);
    let tree = Tree::make(&mut random, &bucket, bucket.scratch().dir("copy"));
    let mount = bucket.mount("m").start();
    compare(&tree, &mount, &mut random);
    mount.assert_quiet();
    mount.unmount();
    let reads = bucket.reads();
    let again = bucket.mount("m").start();
    compare(&tree, &again, &mut random);
    again.assert_quiet();
    assert_eq!(again.status()["origin"]["bytes"], 0);
    assert_eq!(bucket.reads(), reads, "what was cached was fetched again");
    again.unmount();
}

#[test]
fn five_random_trees_are_read_as_they_are_at_the_source_cold_and_again() {
    (0..5).for_each(a_tree_is_read_as_it_is);
}

#[test]
fn five_other_random_trees_are_read_as_they_are_at_the_source_cold_and_again() {
    (5..10).for_each(a_tree_is_read_as_it_is);
}
