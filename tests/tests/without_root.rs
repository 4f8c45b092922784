//! A user who may not mount: fusermount3 does it, and the rest is as for root.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use forebay_tests::{
    Bucket, binary, kill, processes_with, require_root_and_fuse, stream, wait_until,
};
use rustix::process::Signal;
use serde_json::Value;

const MIB: u64 = 1 << 20;
const SOON: Duration = Duration::from_secs(30);
/// Nobody, of nobody's group, as every Debian has them.
const NOBODY: u32 = 65534;

/// A mount namespace in which anybody may open /dev/fuse, as on any machine with udev;
/// nothing of it is seen outside.
const OPEN_DEVICE: &str = "mount -t tmpfs none /mnt && mknod -m 666 /mnt/fuse c 10 229 && \
     mount --bind /mnt/fuse /dev/fuse && echo ready && exec sleep 600";

/// A user with a home and nothing else.
struct User<'a> {
    bucket: &'a Bucket,
    home: PathBuf,
    /// Who keeps the namespace.
    namespace: Child,
}

impl<'a> User<'a> {
    fn new(bucket: &'a Bucket) -> Self {
        let root = bucket.scratch().path();
        fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
        // Where the program is built is root's, perhaps.
        fs::copy(binary(), root.join("forebay")).unwrap();
        let mut namespace = Command::new("unshare")
            .args(["-m", "sh", "-c", OPEN_DEVICE])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 6];
        let mut out = namespace.stdout.take().unwrap();
        out.read_exact(&mut said).unwrap();
        let user = Self {
            bucket,
            home: bucket.scratch().dir("home"),
            namespace,
        };
        for dir in [&user.home, &user.home.join("mnt"), &user.home.join("run")] {
            fs::create_dir_all(dir).unwrap();
            chown(dir, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        user
    }

    fn command(&self, program: &Path) -> Command {
        let nobody = NOBODY.to_string();
        let mut command = Command::new("timeout");
        command
            .args([
                "60",
                "nsenter",
                "-m",
                "-t",
                &self.namespace.id().to_string(),
            ])
            .args([
                "setpriv",
                "--reuid",
                &nobody,
                "--regid",
                &nobody,
                "--clear-groups",
                "--",
            ])
            // The namespace has its own idea of where it is.
            .args(["env", "-C"])
            .arg(&self.home)
            .arg(program)
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| name == "PATH"))
            .envs(self.bucket.endpoint().environment())
            .env("HOME", &self.home)
            .env("FOREBAY_RUN_DIR", self.home.join("run"));
        command
    }

    fn forebay(&self, args: &[&str]) -> Output {
        let program = self.bucket.scratch().path().join("forebay");
        self.command(&program).args(args).output().unwrap()
    }

    /// The bytes of a file, as this user reads them.
    fn read(&self, name: &str) -> Vec<u8> {
        let path = self.home.join("mnt").join(name);
        let read = self.command(Path::new("cat")).arg(path).output().unwrap();
        assert!(read.status.success(), "{read:?}");
        read.stdout
    }

    fn processes(&self) -> Vec<String> {
        processes_with(self.bucket.scratch().path())
    }

    fn status(&self) -> Value {
        let said = self.forebay(&["status", "mnt", "--json"]);
        serde_json::from_slice(&said.stdout).unwrap_or_else(|_| panic!("{said:?}"))
    }
}

impl Drop for User<'_> {
    fn drop(&mut self) {
        if !self.processes().is_empty() {
            eprintln!("{:?}", self.forebay(&["umount", "mnt"]));
        }
        let _ = self.namespace.kill();
        let _ = self.namespace.wait();
    }
}

#[test]
fn a_user_mounts_reads_survives_a_crash_and_unmounts() {
    require_root_and_fuse();
    let bucket = Bucket::new("user", 100 * MIB);
    bucket.put_stream("large", 3 * MIB, 1);
    bucket.put("small", "small");
    let user = User::new(&bucket);
    let endpoint = &*bucket.endpoint().url;
    let mounted = user.forebay(&[
        "mount",
        "s3://data",
        "mnt",
        "--daemon",
        "--log-file",
        "log",
        "--endpoint",
        endpoint,
        "--path-style",
        "--memory-size",
        "0",
    ]);
    let log = || fs::read_to_string(user.home.join("log")).unwrap_or_default();
    assert!(mounted.status.success(), "{mounted:?}\n{}", log());
    assert!(user.read("large") == stream(1, 3 * MIB));

    let cache = user.home.join(".cache/forebay");
    assert_eq!(fs::metadata(cache).unwrap().uid(), NOBODY);

    let before = user.status();
    assert_eq!(before["cached_bytes"], 3 * MIB);
    let client = before["fuse_client_pid"].as_u64().unwrap();
    kill(u32::try_from(client).unwrap(), Signal::KILL);
    assert_eq!(user.read("small"), b"small");
    assert!(user.read("large") == stream(1, 3 * MIB));
    assert!(
        wait_until(SOON, || user.status()["restarts"] == 1),
        "{}",
        log()
    );

    let unmounted = user.forebay(&["umount", "mnt"]);
    assert!(unmounted.status.success(), "{unmounted:?}\n{}", log());
    let table = user.command(Path::new("cat")).arg("/proc/mounts").output();
    assert!(!String::from_utf8_lossy(&table.unwrap().stdout).contains("fuse.forebay"));
    assert!(wait_until(SOON, || user.processes().is_empty()));
}
