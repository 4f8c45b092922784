//! Manifest files.

use std::fs;
use std::path::Path;

use forebay_core::checksum::crc32c;
use forebay_core::manifest::{Builder, EntryId, Listed, Manifest, Source};
use forebay_tests::{Random, Scratch};
use xxhash_rust::xxh3::Xxh3;

use super::{Target, number};

// The layout of the header, as core/src/manifest/format.rs describes it.
const HEADER: usize = 256;
const VERSION: std::ops::Range<usize> = 16..32;
const LENGTHS: std::ops::Range<usize> = 32..152;
const CRC: usize = 252;
/// Sections whose length follows from nothing else: names, ETags, odd keys, sources and
/// what was skipped.
const FREE: [usize; 5] = [5, 8, 11, 12, 14];

/// Opens a file as a manifest and asks it everything.
pub(super) struct Reader {
    scratch: Scratch,
}

impl Reader {
    pub(super) fn new() -> Self {
        let scratch = Scratch::in_memory("fuzz-manifest", 64 << 20);
        Self { scratch }
    }
}

impl Target for Reader {
    fn name(&self) -> &'static str {
        "manifest"
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        let dir = self.scratch.dir("seeds");
        let odd: &[&[u8]] = &[
            b"a", b"a/b", b"a//c", b"d/e/f", b"..", b"g\0", b"\xff/x", b"h/",
        ];
        let numbered: Vec<_> = (0..200).map(|n| format!("{:02}/{n}", n % 7)).collect();
        let numbered: Vec<_> = numbered.iter().map(|key| key.as_bytes()).collect();
        vec![
            build(&dir, &[""], &[]),
            build(&dir, &[""], odd),
            build(&dir, &["left", "right"], odd),
            build(&dir, &[""], &numbered),
        ]
    }

    fn seal(&self, input: &mut Vec<u8>, random: &mut Random) {
        if input.len() < HEADER {
            return;
        }
        fit_lengths(input, *random.pick(&FREE));
        seal(input);
    }

    fn most_memory(&self, len: usize) -> usize {
        // The buffer of its reader, and an answer of every kind.
        (2 << 20) + 64 * len
    }

    fn read(&mut self, input: &[u8]) {
        let path = self.scratch.path().join("mutated.manifest");
        fs::write(&path, input).expect("write to /dev/shm");
        let Ok(manifest) = Manifest::open(&path) else {
            return;
        };
        let mut sealed = input.to_vec();
        seal(&mut sealed);
        assert!(sealed == input, "wrong checksums were accepted");
        ask_everything(&manifest);
    }
}

/// A manifest of `keys` in each of `sources`.
pub(super) fn build(dir: &Path, sources: &[&str], keys: &[&[u8]]) -> Vec<u8> {
    let of_name = |name: &&str| Source {
        name: (*name).to_owned(),
        url: format!("s3://bucket/{name}"),
    };
    let mut builder =
        Builder::new(dir, sources.iter().map(of_name).collect()).expect("sources with names");
    for source in 0..sources.len() as u16 {
        for (size, key) in keys.iter().enumerate() {
            let listed = Listed {
                key,
                size: size as u64 * 1000,
                modified: 1_700_000_000_000_000_000,
                etag: "\"0123\"",
            };
            builder
                .push(source, listed)
                .expect("room for temporary data");
        }
    }
    let version = builder.finish().expect("room for a manifest");
    fs::read(dir.join(format!("{version}.manifest"))).expect("the manifest is there")
}

/// Makes the length of one section what brings their sum to the length of the file.
fn fit_lengths(input: &mut [u8], section: usize) {
    let length = |index: usize| number(input, LENGTHS.start + 8 * index, 8);
    let others = (0..15).filter(|&index| index != section).map(length);
    let taken = others.fold(HEADER as u64, u64::saturating_add);
    if let Some(rest) = (input.len() as u64).checked_sub(taken) {
        input[LENGTHS.start + 8 * section..][..8].copy_from_slice(&rest.to_le_bytes());
    }
}

/// Puts the right version and the right checksum in the header.
fn seal(input: &mut [u8]) {
    let mut hash = Xxh3::new();
    hash.update(&input[LENGTHS]);
    hash.update(&input[HEADER..]);
    input[VERSION].copy_from_slice(&hash.digest128().to_le_bytes());
    let crc = crc32c(&input[..CRC]);
    input[CRC..HEADER].copy_from_slice(&crc.to_le_bytes());
}

/// Calls every method with every id, and some that are none. The answers must hang
/// together however wrong they are.
fn ask_everything(manifest: &Manifest) {
    let ids = (0..manifest.len().min(300)).chain([manifest.len(), u32::MAX]);
    for id in ids.map(EntryId) {
        let parent = manifest.parent(id);
        assert!(parent.0 <= id.0, "a parent behind its child");
        if let Some(children) = manifest.children(id) {
            assert!(children.end <= manifest.len(), "children that do not exist");
        }
        let path = manifest.path(id);
        let _ = (manifest.attr(id), manifest.object(id));
        let _ = (
            manifest.lookup(parent, manifest.name(id)),
            manifest.resolve(&path),
        );
    }
    let _ = (
        manifest.totals(),
        manifest.version(),
        manifest.sources().count(),
    );
    let _ = (
        manifest.skipped().count(),
        manifest.skipped_counts().count(),
    );
    assert!(manifest.files().count() <= manifest.len() as usize);
}
