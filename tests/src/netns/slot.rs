//! Which names and addresses are a network's, and what is left of those that were killed.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::run;
use crate::mount::take_down;

/// How many networks there can be at once.
const SLOTS: u8 = 16;
/// A file for each; who holds its lock may use the names and addresses.
const NOTES: &str = "/run/forebay-netns";

/// The right to the names and addresses of one network.
#[derive(Debug)]
pub(super) struct Slot {
    number: u8,
    // Unlocked by the kernel when its process ends, however it does.
    lock: File,
}

impl Slot {
    /// Takes a free one, and removes what is left of every one that nobody holds. `dir`
    /// is noted: it goes with the rest if this run is killed.
    ///
    /// # Panics
    /// If all are taken.
    pub(super) fn claim(dir: &Path) -> Self {
        fs::create_dir_all(NOTES).unwrap_or_else(|error| panic!("create {NOTES}: {error}"));
        let mut claimed = None;
        for number in 0..SLOTS {
            let Some(slot) = Self::lock(number) else {
                continue;
            };
            let noted = fs::read_to_string(slot.notes()).unwrap_or_default();
            slot.clear();
            remove_directory(noted.trim());
            slot.note("");
            claimed.get_or_insert(slot);
        }
        let slot = claimed.unwrap_or_else(|| {
            panic!("all {SLOTS} networks are in use: see {NOTES} and `ip netns`")
        });
        slot.note(&dir.display().to_string());
        slot
    }

    fn lock(number: u8) -> Option<Self> {
        let path = Path::new(NOTES).join(number.to_string());
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .unwrap_or_else(|error| panic!("open {}: {error}", path.display()));
        match lock.try_lock() {
            Ok(()) => Some(Self { number, lock }),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Error(error)) => panic!("lock {}: {error}", path.display()),
        }
    }

    fn notes(&self) -> PathBuf {
        Path::new(NOTES).join(self.number.to_string())
    }

    fn note(&self, text: &str) {
        let mut file = &self.lock;
        let noted = file
            .set_len(0)
            .and_then(|()| file.write_all(text.as_bytes()));
        noted.unwrap_or_else(|error| panic!("write {}: {error}", self.notes().display()));
    }

    /// The bridge's name.
    pub(super) fn bridge(&self) -> String {
        format!("fbn{}", self.number)
    }

    /// The name of a namespace, and of its cable's end on the bridge.
    pub(super) fn namespace(&self, number: u8) -> String {
        format!("fbn{}-{number}", self.number)
    }

    /// The address of this number.
    pub(super) fn address(&self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(203, 0, 113, self.number * 16 + number)
    }

    /// Removes bridge and namespaces, and kills who is in them. What is not there is not
    /// missed.
    pub(super) fn clear(&self) {
        let prefix = format!("{}-", self.bridge());
        let listed = run("ip", "netns list").unwrap_or_default();
        let names = listed.lines().filter_map(|line| line.split(' ').next());
        for name in names.filter(|name| name.starts_with(&prefix)) {
            let inside = run("ip", &format!("netns pids {name}")).unwrap_or_default();
            for pid in inside.lines().filter_map(|pid| pid.parse().ok()) {
                crate::mount::kill(pid, rustix::process::Signal::KILL);
            }
            if let Err(error) = run("ip", &format!("netns delete {name}")) {
                eprintln!("{error}");
            }
            // Mostly gone with the namespace.
            let _ = run("ip", &format!("link delete {name}"));
        }
        let _ = run("ip", &format!("link delete {}", self.bridge()));
    }

    /// Lets go of it as a process does that is killed.
    #[cfg(test)]
    pub(super) fn abandon(&self) {
        self.lock.unlock().expect("a lock that is held");
    }
}

/// Removes the directory of a run that was killed, and the mounts that are dead in it.
fn remove_directory(dir: &str) {
    let is_ours = Path::new(dir)
        .file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with("forebay-"));
    if !is_ours {
        return;
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    for point in points.filter(|point| Path::new(point).starts_with(dir)) {
        take_down(Path::new(point));
    }
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            eprintln!("remove {dir}, which a run has left: {error}");
        }
        _ => {}
    }
}
