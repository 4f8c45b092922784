//! Bytes: every way of reading gives those of the object.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::Duration;

use forebay_core::ErrorKind;
use forebay_fuse_client::OpenMode;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::memory_cache::Serve;
use crate::mounted::{Mounted, until};
use crate::semantics;

/// Bytes that differ from place to place, and are never zero.
fn content(len: usize) -> Vec<u8> {
    (0..len as u64)
        .map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8 | 1)
        .collect()
}

fn direct(path: &Path) -> File {
    let flags = OFlags::DIRECT.bits() as i32;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .unwrap()
}

fn errno(result: std::io::Result<impl std::fmt::Debug>) -> i32 {
    result
        .expect_err("scripted")
        .raw_os_error()
        .expect("from the kernel")
}

#[test]
fn every_offset_and_length_reads_the_objects_bytes() {
    // promise S-10: A read returns the bytes of the object at that place, all that were asked for except at the end of the file.
    let bytes = content(3 * 4096 + 17);
    let mounted = Mounted::new(&[("file", &bytes)]);
    for serve in [Serve::Backed, Serve::Inline, Serve::Later(Duration::ZERO)] {
        mounted.fixture.serve("file", serve);
        let (buffered, direct) = (
            File::open(mounted.path("file")).unwrap(),
            direct(&mounted.path("file")),
        );
        for offset in (0..bytes.len() + 100).step_by(511) {
            for len in [1, 7, 512, 4095, 4096, 4097, 20_000] {
                let end = (offset + len).min(bytes.len());
                let expected = bytes.get(offset..end).unwrap_or_default();
                for file in [&buffered, &direct] {
                    let mut buffer = vec![0; len];
                    let read = file.read_at(&mut buffer, offset as u64).unwrap();
                    assert_eq!(&buffer[..read], expected, "{len} at {offset}, {serve:?}");
                }
            }
        }
    }
}

#[test]
fn a_large_file_reads_whole_in_every_way() {
    let bytes = content((9 << 20) + 4321);
    let mounted = Mounted::new(&[("big", &bytes)]);
    mounted
        .fixture
        .serve("big", Serve::Later(Duration::from_millis(1)));
    assert!(fs::read(mounted.path("big")).unwrap() == bytes, "buffered");
    let mut read = vec![0; bytes.len()];
    direct(&mounted.path("big")).read_exact(&mut read).unwrap();
    assert!(read == bytes, "direct");
    let snapshot = mounted.mount.fs().stats().snapshot();
    assert_eq!((snapshot.waiting, snapshot.errors.len()), (0, 0));
    assert!(snapshot.waits > 0);
    assert_eq!(snapshot.read_bytes, 2 * bytes.len() as u64);
}

#[test]
fn a_mapped_file_has_the_objects_bytes() {
    // promise S-11: A file can be mapped for reading, and the mapping has the object's bytes.
    let bytes = content((2 << 20) + 5000);
    let mounted = Mounted::new(&[("file", &bytes)]);
    mounted
        .fixture
        .serve("file", Serve::Later(Duration::from_millis(1)));
    let file = File::open(mounted.path("file")).unwrap();
    assert!(mapped(&file, bytes.len()) == bytes);
}

#[expect(unsafe_code, reason = "mapping is the subject")]
fn mapped(file: &File, len: usize) -> Vec<u8> {
    let (prot, flags) = (ProtFlags::READ, MapFlags::SHARED);
    // SAFETY: a new mapping at a place that the kernel chooses; the file is immutable and
    // `len` bytes long.
    unsafe {
        let start = mmap(std::ptr::null_mut(), len, prot, flags, file, 0).unwrap();
        let bytes = std::slice::from_raw_parts(start.cast::<u8>(), len).to_vec();
        munmap(start, len).unwrap();
        bytes
    }
}

#[test]
fn seeking_and_the_end_of_the_file_behave_as_on_disk() {
    // promise S-12: A file has no holes, and an empty object is an empty file.
    let mounted = Mounted::new(&[("file", b"0123456789"), ("empty", b"")]);
    let mut file = File::open(mounted.path("file")).unwrap();
    let mut rest = String::new();
    assert_eq!(file.seek(SeekFrom::End(-3)).unwrap(), 7);
    file.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "789");
    assert_eq!(file.read(&mut [0; 10]).unwrap(), 0);
    assert_eq!(file.seek(SeekFrom::Start(1 << 40)).unwrap(), 1 << 40);
    assert_eq!(file.read(&mut [0; 10]).unwrap(), 0);
    assert!(fs::read(mounted.path("empty")).unwrap().is_empty());
    // A file without holes: data from the first byte, a hole at the end.
    assert_eq!(
        rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(0)).unwrap(),
        10
    );
}

#[test]
fn many_readers_of_one_file_get_the_same_bytes() {
    let bytes = content(4 << 20);
    let mounted = Mounted::new(&[("file", &bytes)]);
    mounted
        .fixture
        .serve("file", Serve::Later(Duration::from_millis(5)));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert!(fs::read(mounted.path("file")).unwrap() == bytes));
        }
    });
    // The kernel says so a moment after the close.
    until("all files are released", || {
        mounted.mount.fs().stats().snapshot().open_handles == 0
    });
}

#[test]
fn pages_stay_cached_from_one_open_to_the_next() {
    // promise S-16: What was read stays in the page cache: reading it again, also after opening it again, asks nobody; a large file that is still being fetched is the exception.
    let bytes = content(100_000);
    let mounted = Mounted::new(&[("file", &bytes)]);
    assert!(fs::read(mounted.path("file")).unwrap() == bytes);
    mounted
        .fixture
        .serve("file", Serve::Fail(ErrorKind::Unavailable));
    let reads = mounted.mount.fs().stats().snapshot().reads;
    assert!(fs::read(mounted.path("file")).unwrap() == bytes);
    assert_eq!(mounted.mount.fs().stats().snapshot().reads, reads);
}

#[test]
fn a_failed_read_says_why_and_a_later_one_succeeds() {
    // promise S-22: A read that fails has the errno that the table below gives for its cause.
    // promise S-23: A read that failed can be repeated, and succeeds once its cause is gone.
    let mounted = Mounted::new(&[("file", b"bytes")]);
    let buffered = File::open(mounted.path("file")).unwrap();
    let direct = direct(&mounted.path("file"));
    for kind in semantics::KINDS {
        mounted.fixture.serve("file", Serve::Fail(kind));
        for file in [&buffered, &direct] {
            let error = file.read_at(&mut [0; 5], 0).expect_err("scripted");
            assert_eq!(error.raw_os_error(), Some(kind.errno()), "{kind:?}");
        }
    }
    mounted.fixture.serve("file", Serve::Backed);
    for file in [&buffered, &direct] {
        let mut buffer = [0; 5];
        file.read_exact_at(&mut buffer, 0).unwrap();
        assert_eq!(&buffer, b"bytes");
    }
}

#[test]
fn locks_are_seen_by_whoever_has_the_file_open() {
    // promise S-17: Advisory locks work between the processes of one machine.
    let mounted = Mounted::new(&[("file", b"bytes")]);
    let open = || File::open(mounted.path("file")).unwrap();
    let (first, second) = (open(), open());
    flock(&first, FlockOperation::LockExclusive).unwrap();
    let busy = flock(&second, FlockOperation::NonBlockingLockShared);
    assert_eq!(busy, Err(Errno::WOULDBLOCK));
    flock(&first, FlockOperation::Unlock).unwrap();
    flock(&second, FlockOperation::NonBlockingLockShared).unwrap();
}

#[test]
fn bytes_that_are_missing_in_the_cache_are_an_error_and_never_zeros() {
    // promise S-13: A byte that cannot be had is an error; it is never replaced by a zero or by a byte of another version.
    let bytes = content(8192);
    let mounted = Mounted::new(&[("file", &bytes)]);
    mounted.fixture.serve("file", Serve::CutShort);
    assert_eq!(errno(direct(&mounted.path("file")).read(&mut [0; 8192])), 5);
    assert_eq!(errno(fs::read(mounted.path("file"))), 5);
    let errors = mounted.mount.fs().stats().snapshot().errors;
    assert!(
        errors
            .iter()
            .any(|(name, count)| *name == "EIO" && *count >= 2),
        "{errors:?}"
    );
}

#[test]
fn bytes_that_the_cache_has_lost_are_asked_for_again() {
    let bytes = content(8192);
    let mounted = Mounted::new(&[("file", &bytes)]);
    let serve = || {
        mounted
            .fixture
            .serve("file", Serve::CutShortUntilDistrusted)
    };
    serve();
    let mut read = vec![0; 8192];
    assert_eq!(direct(&mounted.path("file")).read(&mut read).unwrap(), 8192);
    assert!(read == bytes);
    serve();
    assert!(fs::read(mounted.path("file")).unwrap() == bytes);
    assert!(
        mounted
            .mount
            .fs()
            .stats()
            .snapshot()
            .errors
            .iter()
            .all(|(_, count)| *count == 0)
    );
}

#[test]
fn opening_asks_nothing_of_the_origin() {
    let mounted = Mounted::in_mode(OpenMode::Plain, &[("file", b"bytes"), ("dir/inner", b"x")]);
    mounted.fixture.serve("file", Serve::Never);
    let file = File::open(mounted.path("file")).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 5);
    assert_eq!(mounted.fixture.leases(), 1);
    drop(file);
    until("the lease is given back", || mounted.fixture.leases() == 0);
}
