//! The control files: found by name, in no listing, and open to programs in any language.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Output};

use forebay_fuse_client::{MountOptions, OpenMode, OpenModeChoice, PlanProgress};

use crate::memory_cache::Fixture;
use crate::mounted::{Mounted, until};

/// What docs/PREFETCH.md tells people to write, and nothing else.
const SEND: &str = "
import fcntl, json, sys
plan = bytearray(json.dumps(json.loads(sys.argv[2])).encode())
with open(sys.argv[1] + '/.forebay/plan') as f: fcntl.ioctl(f, 0x40004601 | len(plan) << 16, plan)
";

/// The same for a plan of any length.
const SEND_LONG: &str = "
import fcntl, json, sys
plan = json.dumps({'indices': list(range(200)) * 200}).encode()
with open(sys.argv[1] + '/.forebay/plan') as f:
    for at in range(0, len(plan), 16383):
        piece = bytearray(plan[at:at + 16383])
        fcntl.ioctl(f, 0x40004601 | len(piece) << 16, piece)
";

fn python(script: &str, root: &Path, plan: &str) -> Output {
    let mut command = Command::new("python3");
    command.args(["-c", script]).arg(root).arg(plan);
    command.output().expect("python3 is installed")
}

fn mounted(files: usize, open_mode: OpenMode) -> Mounted {
    let names: Vec<_> = (0..files).map(|n| format!("f{n:05}")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (&name[..], &b"12"[..])).collect();
    let fixture = Fixture::new();
    let manifest = fixture.version(&files);
    let options = MountOptions {
        open_mode: OpenModeChoice::Fixed(open_mode),
        ..MountOptions::default()
    };
    Mounted::with(fixture, manifest, &options)
}

fn plans(mounted: &Mounted) -> Vec<PlanProgress> {
    mounted.mount.fs().plans()
}

#[test]
fn control_files_are_found_and_never_listed() {
    // promise S-37: The control files below `.forebay` can be looked up and are never listed, and an entry of the dataset with that name hides them.
    let mounted = Mounted::new(&[("a", b"1"), ("dir/b", b"2")]);
    let names = |path: &str| -> Vec<_> {
        let entries = fs::read_dir(mounted.path(path)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(""), ["a", "dir"]);
    let plan = fs::metadata(mounted.path(".forebay/plan")).unwrap();
    assert!(plan.is_file() && plan.mode() & 0o777 == 0o444, "{plan:?}");
    assert!(fs::metadata(mounted.path(".forebay")).unwrap().is_dir());
    let listed = fs::read_dir(mounted.path(".forebay")).map(|_| ());
    let denied = listed.unwrap_err().kind();
    assert_eq!(denied, std::io::ErrorKind::PermissionDenied);
    assert_eq!(names(""), ["a", "dir"]);
    assert!(fs::metadata(mounted.path("dir/.forebay")).is_err());
    let hidden = Mounted::new(&[(".forebay/plan", b"a file of the dataset")]);
    let content = fs::read(hidden.path(".forebay/plan")).unwrap();
    assert_eq!(content, b"a file of the dataset");
}

#[test]
fn a_program_says_its_plan_in_three_lines_through_a_read_only_bind_mount() {
    for open_mode in [OpenMode::Plain, OpenMode::NoOpen] {
        let mounted = mounted(10, open_mode);
        let place = tempfile::Builder::new()
            .prefix("forebay-fuse-bind-")
            .tempdir()
            .unwrap();
        let bind = Bind::new(&mounted.path(""), place.path());
        let plan = r#"{"seed": 0, "epoch": 0, "rank": 0, "world": 1}"#;
        let sent = python(SEND, &bind.0, plan);
        assert!(sent.status.success(), "{sent:?}");
        let [plan] = &plans(&mounted)[..] else {
            panic!("one plan")
        };
        assert_eq!((plan.name.as_str(), plan.entries), ("default", 10));
        let order = [4, 1, 7, 5, 3, 9, 0, 8, 6, 2].map(|n| format!("f{n:05}"));
        until("the cache is advised", || {
            mounted.fixture.advised_files() == order
        });
        for name in &order[..9] {
            assert_eq!(fs::read(bind.0.join(name)).unwrap(), b"12");
        }
        until("the reader is followed", || {
            plans(&mounted)[0].position == 9
        });
    }
}

#[test]
fn a_long_plan_comes_in_pieces() {
    let mounted = mounted(200, OpenMode::Plain);
    let sent = python(SEND_LONG, &mounted.path(""), "");
    assert!(sent.status.success(), "{sent:?}");
    assert_eq!(plans(&mounted)[0].entries, 40_000);
}

#[test]
fn what_is_wrong_with_a_plan_is_an_error_and_can_be_read() {
    let mounted = mounted(3, OpenMode::Plain);
    let sent = python(SEND, &mounted.path(""), r#"{"paths": ["nope"]}"#);
    let told = String::from_utf8_lossy(&sent.stderr);
    assert!(told.contains("[Errno 22]"), "{told}");
    let state = fs::read_to_string(mounted.path(".forebay/plan")).unwrap();
    assert!(state.contains("\\\"nope\\\""), "{state}");
    assert!(state.contains(r#""plans":[]"#), "{state}");
    let other =
        "import fcntl, sys; fcntl.ioctl(open(sys.argv[1] + '/f00000'), 0x40044601, bytearray(4))";
    let sent = python(other, &mounted.path(""), "");
    let told = String::from_utf8_lossy(&sent.stderr);
    assert!(told.contains("[Errno 25]"), "no terminal: {told}");
}

/// A read-only bind mount, as a pod has it.
struct Bind(std::path::PathBuf);

impl Bind {
    fn new(from: &Path, to: &Path) -> Self {
        let run = |args: &[&str]| {
            let mut command = Command::new("mount");
            let done = command.args(args).arg(from).arg(to).status().unwrap();
            assert!(done.success(), "mount {args:?}");
        };
        run(&["--bind", "-o", "ro"]);
        Self(to.to_owned())
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
