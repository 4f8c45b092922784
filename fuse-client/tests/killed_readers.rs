//! Processes that are killed while they wait for bytes that never come.
//!
//! They are real processes; this program starts itself again as some of them. It is a
//! program of its own because a process that is just being started shares the open files
//! of all tests beside it for a moment.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::mm::{MapFlags, ProtFlags, mmap};
use rustix::process::{Pid, Signal, kill_process};

#[path = "support/memory_cache.rs"]
#[expect(dead_code, reason = "each test program needs a part of it")]
mod memory_cache;
#[path = "support/mounted.rs"]
#[expect(dead_code, reason = "each test program needs a part of it")]
mod mounted;

use memory_cache::Serve;
use mounted::{Mounted, until};

/// What somebody at a keyboard takes for "at once"; four looks, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(3);

/// Says to this program, started again, which file to map.
const FILE_TO_MAP: &str = "FOREBAY_TEST_FILE_TO_MAP";

/// A process that reads, and does not outlive its test.
#[derive(Debug)]
struct Reader(Child);

impl Drop for Reader {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
    }
}

fn spawn(command: &mut Command) -> Reader {
    let silent = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Reader(silent.spawn().unwrap())
}

fn direct_reader(path: &Path, block: &str) -> Reader {
    let input = format!("if={}", path.display());
    // The tests may have been started so that a hang-up is ignored, which is inherited.
    spawn(Command::new("env").args([
        "--default-signal=HUP",
        "dd",
        &input,
        "of=/dev/null",
        &format!("bs={block}"),
        "iflag=direct",
    ]))
}

fn buffered_reader(path: &Path) -> Reader {
    spawn(Command::new("cat").arg(path))
}

fn mapping_reader(path: &Path) -> Reader {
    let this = std::env::current_exe().unwrap();
    let test = ["--ignored", "--exact", "map_a_file_and_touch_it"];
    spawn(Command::new(this).args(test).env(FILE_TO_MAP, path))
}

impl Reader {
    /// Sends a signal, and waits for the end that it brings.
    fn ends_at_once(&mut self, signal: Signal, who: &str) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
        let start = Instant::now();
        until(&format!("{who} ends"), || self.state() == Some('Z'));
        assert!(
            start.elapsed() < AT_ONCE,
            "{who} took {:?}",
            start.elapsed()
        );
        self.0.wait().unwrap();
    }

    fn succeeds(&mut self) -> bool {
        self.0.wait().unwrap().success()
    }

    /// The state in `/proc/<pid>/stat`: Z is dead and not waited for yet.
    fn state(&self) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).ok()?;
        stat.rsplit(") ").next()?.chars().next()
    }
}

fn mounted_never() -> Mounted {
    let mounted = Mounted::new(&[("file", &vec![1u8; 8 << 20])]);
    mounted.fixture.serve("file", Serve::Never);
    mounted
}

#[test]
fn a_reader_dies_at_once_however_it_reads() {
    // promise S-27: A process that is killed while it waits for a read, a page fault or an open dies at once.
    type Start = fn(&Path) -> Reader;
    let readers: [(&str, Start); 4] = [
        ("a buffered reader", buffered_reader),
        ("a direct reader", |path| direct_reader(path, "64k")),
        ("a direct reader of large blocks", |path| {
            direct_reader(path, "8M")
        }),
        ("a reader of a mapping", mapping_reader),
    ];
    let mounted = mounted_never();
    for (who, start) in readers {
        let mut reader = start(&mounted.path("file"));
        mounted.until_waiting(1);
        reader.ends_at_once(Signal::KILL, who);
        until("no read waits any more", || {
            mounted.mount.fs().stats().snapshot().waiting == 0
        });
    }
}

#[test]
fn any_signal_that_ends_a_process_ends_its_wait() {
    let mounted = mounted_never();
    for (name, signal) in [("SIGTERM", Signal::TERM), ("SIGHUP", Signal::HUP)] {
        let mut reader = direct_reader(&mounted.path("file"), "1M");
        mounted.until_waiting(1);
        reader.ends_at_once(signal, name);
    }
}

#[test]
fn who_waits_to_open_a_file_can_be_killed() {
    let mounted = mounted_never();
    mounted.fixture.serve("file", Serve::NoLease);
    let mut reader = buffered_reader(&mounted.path("file"));
    // Nothing counts opens that wait, but the kernel says where the process sleeps.
    until("the open waits", || {
        let place = std::fs::read_to_string(format!("/proc/{}/wchan", reader.0.id()));
        place.is_ok_and(|place| place == "request_wait_answer")
    });
    reader.ends_at_once(Signal::KILL, "a process that opens");
}

#[test]
fn a_reader_that_lives_gets_its_bytes_however_long_it_waits() {
    let mounted = Mounted::new(&[("file", b"worth waiting for")]);
    mounted
        .fixture
        .serve("file", Serve::Later(Duration::from_millis(1200)));
    assert!(direct_reader(&mounted.path("file"), "4k").succeeds());
    assert!(mounted.mount.fs().stats().snapshot().errors.is_empty());
}

#[test]
fn one_reader_that_is_killed_does_not_fail_another_of_the_same_pages() {
    let mounted = Mounted::new(&[("file", &vec![3u8; 1 << 20])]);
    mounted.fixture.serve("file", Serve::Never);
    let mut victim = buffered_reader(&mounted.path("file"));
    mounted.until_waiting(1);
    let mut survivor = buffered_reader(&mounted.path("file"));
    until("the survivor waits for the same pages", || {
        survivor.state() == Some('D')
    });
    mounted.fixture.serve("file", Serve::Backed);
    victim.ends_at_once(Signal::KILL, "the victim");
    assert!(survivor.succeeds());
}

#[test]
#[ignore = "a process that the other tests start"]
#[expect(unsafe_code, reason = "a page fault is the subject")]
fn map_a_file_and_touch_it() {
    let file = File::open(std::env::var_os(FILE_TO_MAP).expect("started by a test")).unwrap();
    let len = usize::try_from(file.metadata().unwrap().len()).unwrap();
    // SAFETY: a new mapping at a place that the kernel chooses, read within its length.
    let byte = unsafe {
        let (prot, flags) = (ProtFlags::READ, MapFlags::SHARED);
        let start = mmap(std::ptr::null_mut(), len, prot, flags, &file, 0).unwrap();
        start.cast::<u8>().read_volatile()
    };
    assert_ne!(byte, 0);
}
