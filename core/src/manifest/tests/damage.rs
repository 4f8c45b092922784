//! Files that are not, or no longer, a manifest.

use std::fs;
use std::path::Path;

use super::super::Error;
use super::super::format::{self, HEADER_LEN, Header, SECTIONS, Section};
use super::*;

use xxhash_rust::xxh3::Xxh3;

fn sample() -> Built {
    let objects: Vec<_> = ["a", "a/b", "a//c", "d/e/f", "..", "g\0"]
        .into_iter()
        .map(|key| Object::new(key, 3))
        .collect();
    Built::new(&["left", "right"], &objects, 1 << 20)
}

fn open_bytes(dir: &Path, bytes: &[u8]) -> Result<Manifest, Error> {
    let path = dir.join("altered.manifest");
    fs::write(&path, bytes).unwrap();
    Manifest::open(&path)
}

/// Calls every method with every id, and some that are none.
fn read_everything(manifest: &Manifest) {
    for id in (0..manifest.len().min(1_000) + 2)
        .chain([u32::MAX])
        .map(EntryId)
    {
        let _ = manifest.attr(id);
        let _ = manifest.object(id);
        let _ = manifest.path(id);
        let _ = manifest.lookup(id, b"a");
        let _ = manifest.children(id).map(Iterator::count);
        let _ = manifest.resolve(&manifest.path(manifest.parent(id)));
    }
    let _ = manifest.skipped().count();
    let _ = manifest.skipped_counts().count();
    let _ = manifest.sources().len();
    let _ = manifest.files().count();
}

#[test]
fn a_flipped_byte_anywhere_is_noticed() {
    let built = sample();
    let bytes = fs::read(built.path()).unwrap();
    for at in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[at] ^= 0x40;
        assert!(open_bytes(built.dir.path(), &altered).is_err(), "byte {at}");
    }
}

#[test]
fn a_truncated_manifest_is_called_so() {
    let built = sample();
    let bytes = fs::read(built.path()).unwrap();
    for len in [
        8,
        100,
        HEADER_LEN - 1,
        HEADER_LEN,
        HEADER_LEN + 1,
        bytes.len() - 1,
    ] {
        let error = open_bytes(built.dir.path(), &bytes[..len]).unwrap_err();
        assert!(
            matches!(error, Error::Truncated { actual, .. } if actual == len as u64),
            "{len}: {error}"
        );
    }
}

#[test]
fn a_longer_manifest_is_damaged() {
    let built = sample();
    let mut bytes = fs::read(built.path()).unwrap();
    bytes.push(0);
    let error = open_bytes(built.dir.path(), &bytes).unwrap_err();
    assert!(
        matches!(error, Error::Damaged { part: "length", .. }),
        "{error}"
    );
}

#[test]
fn another_file_is_foreign() {
    let dir = tempfile::tempdir().unwrap();
    for bytes in [&b""[..], b"FORE", b"#!/bin/sh\n", &[0; 4_096]] {
        let error = open_bytes(dir.path(), bytes).unwrap_err();
        assert!(matches!(error, Error::Foreign { .. }), "{error}");
    }
}

#[test]
fn a_newer_format_is_called_so() {
    let built = sample();
    let mut bytes = fs::read(built.path()).unwrap();
    bytes[8] = 2;
    let error = open_bytes(built.dir.path(), &bytes).unwrap_err();
    assert!(
        matches!(
            error,
            Error::UnsupportedFormat {
                found: 2,
                supported: 1,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Manifest::open(Path::new("/nonexistent/x.manifest")).unwrap_err();
    assert_eq!(error.to_string(), "read manifest /nonexistent/x.manifest");
}

/// A file whose checksums are right and whose content is not: what a checksum cannot tell.
fn forge(bytes: &[u8], at: usize, value: u8) -> Vec<u8> {
    let mut forged = bytes.to_vec();
    forged[at] = value;
    let mut header = Header::decode(forged.first_chunk().unwrap()).unwrap();
    let mut hash = Xxh3::new();
    hash.update(&format::encode_lengths(&header.lengths));
    hash.update(&forged[HEADER_LEN..]);
    header.version = VersionId::from_bytes(hash.digest128().to_le_bytes());
    forged[..HEADER_LEN].copy_from_slice(&header.encode());
    forged
}

#[test]
fn a_forged_manifest_does_not_panic_its_readers() {
    let built = sample();
    let bytes = fs::read(built.path()).unwrap();
    let mut opened = 0;
    for at in HEADER_LEN..bytes.len() {
        for value in [0, 1, 0x7f, 0xff] {
            if let Ok(manifest) = open_bytes(built.dir.path(), &forge(&bytes, at, value)) {
                opened += 1;
                read_everything(&manifest);
            }
        }
    }
    assert!(
        opened > bytes.len(),
        "most forgeries get as far as being read: {opened}"
    );
}

#[test]
fn the_sections_tile_the_file() {
    let built = sample();
    let bytes = fs::read(built.path()).unwrap();
    let header = Header::decode(bytes.first_chunk().unwrap()).unwrap();
    let mut next = HEADER_LEN as u64;
    for (index, section) in Section::ALL.into_iter().enumerate() {
        assert_eq!(section as usize, index);
        assert_eq!(header.range(section).start, next);
        next = header.range(section).end;
    }
    assert_eq!((Section::ALL.len(), next), (SECTIONS, bytes.len() as u64));
}
