//! The tree without a kernel: look-ups, versions and reads over a cache in memory.

use std::sync::Arc;
use std::time::Duration;

use forebay_core::ErrorKind;
use futures::FutureExt;

use super::error::FsError;
use super::inode::Inode;
use super::read::{Read, Through};
use super::{DatasetFs, Size, errno};
use crate::memory_cache::{Fixture, Serve};
use crate::options::MountOptions;

pub(crate) const FILES: &[(&str, &[u8])] = &[
    ("file", b"twelve bytes"),
    ("empty", b""),
    ("dir/inner", b"inner bytes"),
];

pub(crate) fn fs_with(files: &[(&str, &[u8])]) -> (Fixture, DatasetFs) {
    let fixture = Fixture::new();
    let manifest = fixture.version(files);
    let fs = DatasetFs::new(manifest, fixture.cache(), &MountOptions::default());
    (fixture, fs)
}

pub(crate) fn inode(fs: &DatasetFs, path: &str) -> Inode {
    path.split('/').fold(Inode::ROOT, |parent, name| {
        fs.lookup(parent, name.as_bytes())
            .expect("the path exists")
            .inode
    })
}

pub(crate) fn open(fs: &DatasetFs, inode: Inode) -> u64 {
    fs.open(inode)
        .now_or_never()
        .expect("leases are ready at once")
        .expect("opens")
        .handle
}

/// Reads as the kernel would, waiting for what is not there.
fn read(fs: &DatasetFs, inode: Inode, handle: u64, at: u64, len: u32) -> Result<Vec<u8>, FsError> {
    match fs.begin_read(inode, handle, at, len, Through::Pages)? {
        Read::Nothing => Ok(Vec::new()),
        Read::Ready(readable) => readable.with_bytes(<[u8]>::to_vec),
        Read::Pending(pending) => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            let limit = Duration::from_secs(10);
            let finished = runtime.block_on(async {
                tokio::time::timeout(limit, fs.finish_read(pending))
                    .await
                    .expect("answers in time")
            });
            match finished? {
                Some(readable) => readable.with_bytes(<[u8]>::to_vec),
                None => Ok(Vec::new()),
            }
        }
    }
}

#[test]
fn a_path_is_found_part_by_part() {
    let (_fixture, fs) = fs_with(FILES);
    let inner = fs.lookup(inode(&fs, "dir"), b"inner").expect("there");
    assert_eq!(inner.size, 11);
    assert!(matches!(
        fs.lookup(Inode::ROOT, b"inner"),
        Err(FsError::NoSuchEntry)
    ));
    assert!(matches!(
        fs.lookup(Inode::ROOT, b""),
        Err(FsError::NoSuchEntry)
    ));
    assert!(matches!(
        fs.lookup(inode(&fs, "file"), b"x"),
        Err(FsError::NoSuchEntry)
    ));
    assert_eq!(fs.attributes(inner.inode).expect("there"), inner);
}

#[test]
fn the_tree_is_as_large_as_its_files() {
    let (_fixture, fs) = fs_with(FILES);
    // The root, "dir" and three files; 23 bytes fit one block.
    assert_eq!(
        fs.size(Inode::ROOT).expect("known"),
        Size {
            blocks: 1,
            inodes: 5
        }
    );
}

#[test]
fn every_part_of_a_file_reads_as_it_was_written() {
    for serve in [Serve::Backed, Serve::Inline, Serve::Later(Duration::ZERO)] {
        let (fixture, fs) = fs_with(FILES);
        fixture.serve("file", serve);
        let file = inode(&fs, "file");
        let handle = open(&fs, file);
        for start in 0..14usize {
            for len in 0..14usize {
                let bytes = read(&fs, file, handle, start as u64, len as u32).expect("reads");
                let end = (start + len).min(12);
                assert_eq!(bytes, b"twelve bytes".get(start..end).unwrap_or_default());
            }
        }
    }
}

#[test]
fn an_empty_file_ends_at_once() {
    let (_fixture, fs) = fs_with(FILES);
    let empty = inode(&fs, "empty");
    let handle = open(&fs, empty);
    assert!(read(&fs, empty, handle, 0, 4096).expect("reads").is_empty());
}

#[test]
fn a_handle_of_another_process_reads_by_its_inode() {
    let (_fixture, fs) = fs_with(FILES);
    let (file, inner) = (inode(&fs, "file"), inode(&fs, "dir/inner"));
    let handle = open(&fs, inner);
    for stranger in [0, 77, handle] {
        assert_eq!(read(&fs, file, stranger, 0, 6).expect("reads"), b"twelve");
        fs.release(file, stranger);
    }
    assert_eq!(fs.stats().snapshot().open_handles, 1);
    fs.release(inner, handle);
    assert_eq!(fs.stats().snapshot().open_handles, 0);
}

#[test]
fn a_lease_lives_from_open_to_release() {
    let (fixture, fs) = fs_with(FILES);
    let file = inode(&fs, "file");
    let (first, second) = (open(&fs, file), open(&fs, file));
    assert_eq!(fixture.leases(), 2);
    fs.release(file, first);
    fs.release(file, second);
    assert_eq!(fixture.leases(), 0);
}

#[test]
fn directories_and_strangers_cannot_be_opened() {
    let (_fixture, fs) = fs_with(FILES);
    let opened = |inode| fs.open(inode).now_or_never().expect("at once");
    assert!(matches!(
        opened(Inode::ROOT),
        Err(FsError::IsADirectory { .. })
    ));
    assert!(matches!(
        opened(Inode::from_raw(999)),
        Err(FsError::UnknownInode { .. })
    ));
}

#[test]
fn what_the_cache_says_becomes_the_errno() {
    let (fixture, fs) = fs_with(FILES);
    let file = inode(&fs, "file");
    for kind in ErrorKind::ALL {
        fixture.serve("file", Serve::Fail(kind));
        let handle = open(&fs, file);
        let error = read(&fs, file, handle, 0, 1).expect_err("scripted");
        assert_eq!(error.errno(), kind.errno(), "{kind:?}");
    }
}

#[test]
fn a_cached_file_cut_short_is_an_error_and_never_zeros() {
    let (fixture, fs) = fs_with(FILES);
    fixture.serve("file", Serve::CutShort);
    let file = inode(&fs, "file");
    let handle = open(&fs, file);
    let error = read(&fs, file, handle, 0, 12).expect_err("cut short");
    assert_eq!(error.errno(), errno::EIO);
}

#[test]
fn an_open_file_keeps_its_version_and_a_new_open_sees_the_new_one() {
    let (fixture, fs) = fs_with(&[("file", b"old bytes"), ("gone", b"x")]);
    let old = inode(&fs, "file");
    let handle = open(&fs, old);
    fs.refresh(fixture.version(&[("file", b"new bytes, more"), ("added", b"y")]))
        .expect("new");
    assert_eq!(read(&fs, old, handle, 0, 99).expect("reads"), b"old bytes");
    let new = inode(&fs, "file");
    assert_ne!(new, old);
    let new_handle = open(&fs, new);
    assert_eq!(
        read(&fs, new, new_handle, 0, 99).expect("reads"),
        b"new bytes, more"
    );
    assert!(matches!(
        fs.lookup(Inode::ROOT, b"gone"),
        Err(FsError::NoSuchEntry)
    ));
    assert!(fs.lookup(Inode::ROOT, b"added").is_ok());
}

#[test]
fn a_directory_looked_up_before_a_refresh_stays_whole() {
    let (fixture, fs) = fs_with(&[("dir/a", b"1"), ("dir/b", b"2")]);
    let dir = inode(&fs, "dir");
    fs.refresh(fixture.version(&[("dir/a", b"one"), ("dir/c", b"3")]))
        .expect("new");
    assert_eq!(fs.lookup(dir, b"a").expect("pinned").size, 1);
    assert!(fs.lookup(dir, b"b").is_ok());
    assert!(matches!(fs.lookup(dir, b"c"), Err(FsError::NoSuchEntry)));
}

#[test]
fn sequential_reads_tell_the_cache_what_comes_next() {
    let content = vec![7u8; 32 << 20];
    let (fixture, fs) = fs_with(&[("big", &content)]);
    let big = inode(&fs, "big");
    let handle = open(&fs, big);
    for mebibyte in 0..4u64 {
        read(&fs, big, handle, mebibyte << 20, 1 << 20).expect("reads");
    }
    let advised = fixture.advised();
    assert!(!advised.is_empty());
    assert!(advised.iter().all(|range| range.end() <= 32 << 20));
}

#[test]
fn the_version_is_the_manifests() {
    let fixture = Fixture::new();
    let manifest = fixture.version(FILES);
    let fs = DatasetFs::new(
        Arc::clone(&manifest),
        fixture.cache(),
        &MountOptions::default(),
    );
    assert_eq!(fs.version(), manifest.version());
    assert_eq!(fs.versions(), [manifest.version()]);
}

#[test]
fn the_kernels_second_try_is_answered_as_the_first_and_the_next_read_asks_again() {
    let (fixture, fs) = fs_with(FILES);
    let file = inode(&fs, "file");
    let handle = open(&fs, file);
    fixture.serve("file", Serve::Fail(ErrorKind::Stale));
    let first = read(&fs, file, handle, 0, 12);
    assert!(matches!(first, Err(FsError::Cache(_))), "{first:?}");
    let second = read(&fs, file, handle, 0, 4);
    assert!(
        matches!(second, Err(FsError::RefusedBefore(_))),
        "{second:?}"
    );
    assert_eq!(second.unwrap_err().errno(), errno::ESTALE);
    let third = read(&fs, file, handle, 0, 4);
    assert!(matches!(third, Err(FsError::Cache(_))), "{third:?}");
    fixture.serve("file", Serve::Backed);
    assert_eq!(read(&fs, file, handle, 4, 5).expect("reads"), b"ve by");
}
