//! A control group with little memory, v1 or v2, for the process under test alone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::require::require_root_and_fuse;
use crate::wait::wait_until;

const ROOT: &str = "/sys/fs/cgroup";
/// How long the last process of a group may take to be gone from it.
const EMPTY: Duration = Duration::from_secs(10);

/// A group of its own, removed when this is dropped; what is in it must have ended.
#[derive(Debug)]
pub struct MemoryGroup {
    dir: PathBuf,
    files: &'static Files,
}

/// What the two versions call things.
#[derive(Debug)]
struct Files {
    limit: &'static str,
    /// In `memory.stat`: what processes have, without page cache.
    anonymous: &'static str,
    /// Where the number of kills for want of memory stands, behind its name.
    kills: (&'static str, &'static str),
}

const V1: Files = Files {
    limit: "memory.limit_in_bytes",
    anonymous: "total_rss",
    kills: ("memory.oom_control", "oom_kill"),
};

const V2: Files = Files {
    limit: "memory.max",
    anonymous: "anon",
    kills: ("memory.events", "oom_kill"),
};

impl MemoryGroup {
    /// A group whose processes, and the page cache that they have filled, may take `bytes`
    /// of memory.
    ///
    /// # Panics
    /// Without root, or where no group can be made.
    pub fn new(name: &str, bytes: u64) -> Self {
        require_root_and_fuse();
        let (parent, files) = hierarchy();
        let dir = parent.join(format!("forebay-{name}-{}", std::process::id()));
        let make = || -> io::Result<()> {
            fs::create_dir(&dir)?;
            fs::write(dir.join(files.limit), bytes.to_string())
        };
        make().unwrap_or_else(|error| panic!("make the control group {}: {error}", dir.display()));
        Self { dir, files }
    }

    /// The file that takes the number of a process that is to be in the group.
    pub fn processes(&self) -> PathBuf {
        self.dir.join("cgroup.procs")
    }

    /// What its processes have in memory now, without page cache.
    ///
    /// # Panics
    /// If the kernel does not say.
    pub fn anonymous_bytes(&self) -> u64 {
        self.number("memory.stat", self.files.anonymous)
    }

    /// How many of its processes were killed for want of memory.
    ///
    /// # Panics
    /// If the kernel does not say.
    pub fn kills(&self) -> u64 {
        let (file, name) = self.files.kills;
        self.number(file, name)
    }

    fn number(&self, file: &str, name: &str) -> u64 {
        let path = self.dir.join(file);
        let text = fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        let value = lines.find(|(found, _)| *found == name);
        let value = value.and_then(|(_, value)| value.trim().parse().ok());
        value.unwrap_or_else(|| panic!("{} says nothing of {name}", path.display()))
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        if !wait_until(EMPTY, || fs::remove_dir(&self.dir).is_ok()) {
            eprintln!("the control group {} cannot be removed", self.dir.display());
        }
    }
}

/// Where groups with limits of memory can be made: below this process's own group in v1,
/// below the root in v2, where a group with processes has no groups below it.
fn hierarchy() -> (PathBuf, &'static Files) {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").is_file() {
        // It may be on already, or not be ours to turn on; making the group tells.
        let _ = fs::write(root.join("cgroup.subtree_control"), "+memory");
        return (root.to_owned(), &V2);
    }
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let controllers = fields.next()?;
        let path = fields.next()?;
        let is_memory = controllers.split(',').any(|name| name == "memory");
        is_memory.then(|| root.join("memory").join(path.trim_matches('/')))
    });
    // In a container the path is the machine's, and the root is the container's own.
    let own = own.filter(|dir| dir.is_dir());
    (own.unwrap_or_else(|| root.join("memory")), &V1)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn who_takes_more_than_the_group_has_is_killed_and_counted() {
        let group = MemoryGroup::new("group", 16 << 20);
        assert_eq!((group.kills(), group.anonymous_bytes()), (0, 0));
        // dd takes its block as one piece of memory.
        let script = "echo $$ >\"$0\" && exec dd if=/dev/zero of=/dev/null bs=64M count=1";
        let mut shell = Command::new("sh");
        let shell = shell.args(["-c", script]).arg(group.processes());
        assert!(!shell.output().unwrap().status.success());
        assert_eq!(group.kills(), 1);
        let dir = group.dir.clone();
        drop(group);
        assert!(!dir.exists());
    }
}
