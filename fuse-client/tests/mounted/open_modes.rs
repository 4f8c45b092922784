//! How files are opened, and that readers see no difference.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::process::Command;

use forebay_core::ErrorKind;
use forebay_fuse_client::OpenMode;
use memmap2::MmapOptions;

use crate::memory_cache::Serve;
use crate::mounted::{MODES, Mounted, OPEN_MODE, until};

const LARGE: usize = 9 << 20;

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 % 251) as u8).collect()
}

fn opens(mounted: &Mounted) -> Vec<(&'static str, u64)> {
    mounted.mount.fs().stats().snapshot().opens
}

fn reads(mounted: &Mounted) -> u64 {
    mounted.mount.fs().stats().snapshot().reads
}

fn until_closed(mounted: &Mounted) {
    until("all files are released", || {
        mounted.mount.fs().stats().snapshot().open_handles == 0
    });
}

#[test]
fn every_promise_holds_in_every_open_mode() {
    if std::env::var_os(OPEN_MODE).is_some() {
        return;
    }
    for mode in MODES {
        let tests = Command::new(std::env::current_exe().unwrap())
            .env(OPEN_MODE, mode.as_str())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&tests.stdout);
        assert!(tests.status.success(), "{mode}: {told}");
        assert!(told.contains("test result: ok"), "{mode}: {told}");
    }
}

#[test]
fn a_complete_file_is_read_by_the_kernel_itself() {
    let bytes = content(LARGE);
    let mounted = Mounted::in_mode(OpenMode::Passthrough, &[("file", &bytes)]);
    mounted.fixture.serve("file", Serve::Whole);
    let first = File::open(mounted.path("file")).unwrap();
    let second = File::open(mounted.path("file")).unwrap();
    assert!(fs::read(mounted.path("file")).unwrap() == bytes);
    let mut part = [0; 1000];
    for file in [&first, &second] {
        file.read_exact_at(&mut part, 5_000_001).unwrap();
        assert_eq!(part[..], bytes[5_000_001..][..1000]);
    }
    // SAFETY: nobody writes to the file.
    #[expect(unsafe_code, reason = "mapping a file")]
    let mapping = unsafe { MmapOptions::new().map(&first).unwrap() };
    assert!(mapping[..] == bytes[..]);
    assert_eq!(reads(&mounted), 0);
    assert_eq!(opens(&mounted), [("passthrough", 3)]);
}

#[test]
fn a_file_that_is_being_fetched_stays_with_the_process_until_it_is_closed() {
    let bytes = content(LARGE);
    let mounted = Mounted::in_mode(OpenMode::Passthrough, &[("file", &bytes)]);
    let early = File::open(mounted.path("file")).unwrap();
    // SAFETY: nobody writes to the file.
    #[expect(unsafe_code, reason = "mapping a file")]
    let mapping = unsafe { MmapOptions::new().map(&early).unwrap() };
    assert_eq!(mapping[LARGE - 1], bytes[LARGE - 1]);
    mounted.fixture.serve("file", Serve::Whole);
    // Mapped through the page cache as it is, the kernel would refuse a backing file.
    assert!(fs::read(mounted.path("file")).unwrap() == bytes);
    assert_eq!(opens(&mounted), [("pages", 1), ("direct", 1)]);
    drop((mapping, early));
    until_closed(&mounted);
    let before = reads(&mounted);
    assert!(fs::read(mounted.path("file")).unwrap() == bytes);
    assert_eq!(reads(&mounted), before);
    assert_eq!(
        opens(&mounted),
        [("pages", 1), ("direct", 1), ("passthrough", 1)]
    );
}

#[test]
fn a_file_that_is_passed_through_stays_so_whatever_the_cache_says() {
    let bytes = content(LARGE);
    let mounted = Mounted::in_mode(OpenMode::Passthrough, &[("file", &bytes)]);
    mounted.fixture.serve("file", Serve::Whole);
    let first = File::open(mounted.path("file")).unwrap();
    mounted
        .fixture
        .serve("file", Serve::Fail(ErrorKind::Unavailable));
    assert!(fs::read(mounted.path("file")).unwrap() == bytes);
    drop(first);
    until_closed(&mounted);
    // Registered no more, and the cache has nothing.
    assert!(fs::read(mounted.path("file")).is_err());
}

#[test]
fn small_files_and_refused_kernels_go_by_the_page_cache() {
    let mounted = Mounted::in_mode(OpenMode::Passthrough, &[("small", b"bytes")]);
    assert_eq!(fs::read(mounted.path("small")).unwrap(), b"bytes");
    assert_eq!(opens(&mounted), [("pages", 1)]);
}

#[test]
fn no_open_mode_reads_without_a_single_open() {
    let large = content(LARGE);
    let mounted = Mounted::in_mode(OpenMode::NoOpen, &[("large", &large), ("small", b"bytes")]);
    for _ in 0..3 {
        assert!(fs::read(mounted.path("large")).unwrap() == large);
        assert_eq!(fs::read(mounted.path("small")).unwrap(), b"bytes");
    }
    assert_eq!(opens(&mounted), []);
    let chosen = mounted.mount.fs().open_mode_chosen().unwrap();
    assert_eq!(chosen.mode, OpenMode::NoOpen);
}
