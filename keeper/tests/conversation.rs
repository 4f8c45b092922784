//! A keeper and its callers, over a real socket and with real connections.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File, Permissions};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use forebay_keeper::{Client, Error, Mission, Name, Refusal, Server, limits};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with,
};

const SOON: Duration = Duration::from_secs(20);
const ONE: Mission = Mission::OneMount {
    abandon_after: Duration::from_secs(60),
};

/// A FUSE mount that nobody serves.
struct Silent {
    dir: tempfile::TempDir,
    device: OwnedFd,
}

impl Silent {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let device = fuse_device();
        let options = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0",
            device.as_raw_fd()
        );
        let options = std::ffi::CString::new(options).unwrap();
        mount("silent", dir.path(), "fuse", MountFlags::empty(), &*options)
            .expect("these tests mount: run them as root");
        Self { dir, device }
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        let _ = unmount(self.dir.path(), UnmountFlags::FORCE | UnmountFlags::DETACH);
    }
}

fn fuse_device() -> OwnedFd {
    let device = File::options().read(true).write(true).open("/dev/fuse");
    device.expect("these tests need /dev/fuse").into()
}

/// A keeper in a thread.
struct Keeper {
    dir: tempfile::TempDir,
    running: JoinHandle<Result<(), Error>>,
}

impl Keeper {
    fn start(mission: Mission) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::listen(&dir.path().join("k")).unwrap();
        let running = thread::spawn(move || server.run(mission));
        Self { dir, running }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("k")
    }

    fn client(&self) -> Client {
        Client::connect(&self.socket()).unwrap()
    }

    fn ends(self) {
        let deadline = Instant::now() + SOON;
        while !self.running.is_finished() {
            assert!(Instant::now() < deadline, "the keeper goes on");
            thread::sleep(Duration::from_millis(10));
        }
        self.running.join().unwrap().unwrap();
        assert!(
            !self.dir.path().join("k").exists(),
            "the socket is left behind"
        );
    }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(result: Result<T, Error>, expected: Refusal) -> String {
    match result {
        Err(Error::Refused { reason, text }) if reason == expected => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_stored_is_fetched_listed_replaced_and_dropped() {
    let (keeper, mount) = (Keeper::start(Mission::Node), Silent::new());
    let client = keeper.client();
    assert_eq!(client.keeper_pid(), std::process::id());
    client
        .store(&name("a"), mount.device.as_fd(), b"init", b"note")
        .unwrap();
    client
        .store(&name("b"), mount.device.as_fd(), b"", b"")
        .unwrap();
    // Another caller, as after a crash of the first.
    drop(client);
    let client = keeper.client();
    let kept = client.fetch(&name("a")).unwrap();
    assert_eq!(
        (&*kept.handshake, &*kept.note),
        (&b"init"[..], &b"note"[..])
    );
    assert_eq!(
        fs::read_link(format!("/proc/self/fd/{}", kept.device.as_raw_fd())).unwrap(),
        Path::new("/dev/fuse")
    );
    client
        .store(&name("a"), kept.device.as_fd(), b"init", b"other")
        .unwrap();
    assert_eq!(client.fetch(&name("a")).unwrap().note, b"other");
    assert_eq!(client.list().unwrap(), [name("a"), name("b")]);
    client.forget(&name("a")).unwrap();
    assert_eq!(client.list().unwrap(), [name("b")]);
    assert_refused(client.fetch(&name("a")), Refusal::Unknown);
    assert_refused(client.forget(&name("a")), Refusal::Unknown);
}

#[test]
fn a_connection_that_is_held_lives_on_and_one_that_has_ended_is_let_go_of() {
    let (keeper, mut mount) = (Keeper::start(Mission::Node), Silent::new());
    let client = keeper.client();
    client
        .store(&name("a"), mount.device.as_fd(), b"", b"")
        .unwrap();
    // The server of the mount is gone; the keeper alone has the connection now.
    mount.device = fuse_device();
    thread::sleep(Duration::from_millis(1500));
    let kept = client.fetch(&name("a")).unwrap();
    // INIT waits there since the mount was made.
    let mut request = [0; 16384];
    assert!(rustix::io::read(&kept.device, &mut request).unwrap() > 40);
    drop(mount);
    let deadline = Instant::now() + SOON;
    while !client.list().unwrap().is_empty() {
        assert!(
            Instant::now() < deadline,
            "an ended connection is still held"
        );
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn only_fuse_devices_within_the_limits_are_held() {
    let keeper = Keeper::start(Mission::Node);
    let client = keeper.client();
    let null = File::open("/dev/null").unwrap();
    let text = assert_refused(
        client.store(&name("a"), null.as_fd(), b"", b""),
        Refusal::Device,
    );
    assert!(text.contains("/dev/fuse"), "{text}");
    let fuse = fuse_device();
    for (handshake, note) in [(limits::HANDSHAKE + 1, 0), (0, limits::NOTE + 1)] {
        let stored = client.store(
            &name("a"),
            fuse.as_fd(),
            &vec![0; handshake],
            &vec![0; note],
        );
        assert_refused(stored, Refusal::Malformed);
    }
    let (handshake, note) = (vec![1; limits::HANDSHAKE], vec![2; limits::NOTE]);
    client
        .store(&name("a"), fuse.as_fd(), &handshake, &note)
        .unwrap();
}

#[test]
fn a_keeper_survives_whatever_it_is_sent() {
    let keeper = Keeper::start(Mission::Node);
    let kind = SocketType::SEQPACKET;
    for packet in [
        &b"x"[..],
        b"FBKP",
        &[0xff; 64],
        &[b'F'; 20_000],
        b"FBKP\x09\x00\x01\x00\0\0\0\0",
    ] {
        let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
        connect(&socket, &SocketAddrUnix::new(keeper.socket()).unwrap()).unwrap();
        send(&socket, packet, SendFlags::empty()).unwrap();
        let mut reply = [0; 512];
        let (len, _) = recv(&socket, &mut reply[..], RecvFlags::empty()).unwrap();
        assert!(
            len > 12 && reply.starts_with(b"FBKP\x01\x00\xff\xff"),
            "{packet:?}"
        );
    }
    // One that goes away in the middle, and one that says nothing.
    drop(keeper.client());
    let _silent = keeper.client();
    assert!(keeper.client().list().unwrap().is_empty());
}

#[test]
fn there_is_an_end_to_how_many_are_connected_at_once() {
    let keeper = Keeper::start(Mission::Node);
    let mut callers: Vec<_> = (0..limits::CALLERS).map(|_| keeper.client()).collect();
    for caller in &callers {
        caller.list().unwrap();
    }
    assert_refused(keeper.client().list(), Refusal::Full);
    callers.pop();
    callers[0].list().unwrap();
    keeper.client().list().unwrap();
}

#[test]
fn a_socket_has_one_keeper_and_a_dead_ones_socket_is_taken_over() {
    let keeper = Keeper::start(Mission::Node);
    assert!(matches!(
        Server::listen(&keeper.socket()),
        Err(Error::InUse { .. })
    ));
    let dir = tempfile::tempdir().unwrap();
    let stale = dir.path().join("k");
    // As a keeper that was killed leaves it.
    std::mem::forget(std::os::unix::net::UnixListener::bind(&stale).map(drop));
    assert!(stale.exists());
    let server = Server::listen(&stale).unwrap();
    assert_eq!(
        fs::metadata(&stale).unwrap().permissions().mode() & 0o777,
        0o600
    );
    drop(server);
    assert!(!stale.exists());
}

#[test]
fn a_keeper_for_one_mount_ends_with_it() {
    let (keeper, mount) = (Keeper::start(ONE), Silent::new());
    let client = keeper.client();
    client
        .store(&name("a"), mount.device.as_fd(), b"", b"")
        .unwrap();
    assert!(
        !client
            .watch()
            .unwrap()
            .has_gone_within(Duration::from_millis(100))
    );
    drop(mount);
    assert!(client.watch().unwrap().has_gone_within(SOON));
    keeper.ends();
}

#[test]
fn a_keeper_for_one_mount_ends_when_it_is_told_to_let_go() {
    let (keeper, mount) = (Keeper::start(ONE), Silent::new());
    let client = keeper.client();
    client
        .store(&name("a"), mount.device.as_fd(), b"", b"")
        .unwrap();
    client.forget(&name("a")).unwrap();
    keeper.ends();
}

#[test]
fn a_mount_that_nobody_comes_for_is_given_up_so_that_its_readers_get_an_error() {
    let abandon_after = Duration::from_millis(1500);
    let (keeper, mut mount) = (
        Keeper::start(Mission::OneMount { abandon_after }),
        Silent::new(),
    );
    let client = keeper.client();
    client
        .store(&name("a"), mount.device.as_fd(), b"", b"")
        .unwrap();
    mount.device = fuse_device();
    let point = mount.dir.path().to_owned();
    let reader = thread::spawn(move || fs::metadata(point));
    thread::sleep(Duration::from_secs(3));
    assert!(!reader.is_finished(), "somebody was connected all the time");
    drop(client);
    keeper.ends();
    let error = reader.join().unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotConnected, "{error}");
}

#[test]
fn strangers_are_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let socket = dir.path().join("k");
    let server = Server::listen(&socket).unwrap();
    // Even where somebody has opened the socket to all.
    fs::set_permissions(&socket, Permissions::from_mode(0o666)).unwrap();
    thread::spawn(move || server.run(Mission::Node));
    let copy = dir.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let said = Command::new(copy)
        .args([
            "--exact",
            "asks_as_somebody_else",
            "--ignored",
            "--nocapture",
        ])
        .env("KEEPER", &socket)
        .uid(65534)
        .gid(65534)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("user 65534 may not ask"), "{said}");
    Client::connect(&socket).unwrap().list().unwrap();
}

#[test]
#[ignore = "the other half of strangers_are_refused_in_words"]
fn asks_as_somebody_else() {
    let Some(socket) = std::env::var_os("KEEPER") else {
        return;
    };
    let client = Client::connect(Path::new(&socket)).unwrap();
    println!("{}", assert_refused(client.list(), Refusal::Caller));
}
