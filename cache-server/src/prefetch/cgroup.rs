//! How near this process is to a memory limit of its control groups, v1 and v2.
//!
//! Page cache is charged to a group, too, and a group that reads files is always full of
//! it. What counts is the rest: what the kernel cannot drop at once.

use std::fs;
use std::path::{Path, PathBuf};

/// What one group has, and may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) limit_bytes: u64,
    /// Without what can be dropped.
    pub(super) used_bytes: u64,
}

/// A group that the process is in, directly or not.
#[derive(Debug)]
struct Level {
    dir: PathBuf,
    files: &'static Files,
}

/// What the kernel calls things.
#[derive(Debug)]
struct Files {
    limits: &'static [&'static str],
    used: &'static str,
    /// In `memory.stat`: pages of files, then those of them that must be written first.
    page_cache: [&'static str; 2],
    unwritten: [&'static str; 2],
}

const V1: Files = Files {
    limits: &["memory.limit_in_bytes"],
    used: "memory.usage_in_bytes",
    page_cache: ["total_inactive_file", "total_active_file"],
    unwritten: ["total_dirty", "total_writeback"],
};

const V2: Files = Files {
    limits: &["memory.max", "memory.high"],
    used: "memory.current",
    page_cache: ["inactive_file", "active_file"],
    unwritten: ["file_dirty", "file_writeback"],
};

/// More than any machine has: what v1 writes for no limit.
const UNLIMITED: u64 = 1 << 60;

/// The groups of a process, its own one first.
#[derive(Debug, Default)]
pub(super) struct MemoryGroups(Vec<Level>);

impl MemoryGroups {
    /// The groups that `membership` (/proc/self/cgroup) names, below `root`
    /// (/sys/fs/cgroup).
    pub(super) fn find(membership: &str, root: &Path) -> Self {
        let mut levels = Vec::new();
        for line in membership.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
                continue;
            };
            if controllers.split(',').any(|name| name == "memory") {
                climb(&root.join("memory"), path, &V1, &mut levels);
            } else if controllers.is_empty() {
                // Beside v1 hierarchies, v2 has a place of its own.
                for root in [root.to_owned(), root.join("unified")] {
                    climb(&root, path, &V2, &mut levels);
                }
            }
        }
        Self(levels)
    }

    /// The group with the least room in proportion; `None` if none has a limit.
    pub(super) fn tightest(&self) -> Option<Standing> {
        let fill =
            |standing: &Standing| standing.used_bytes as f64 / standing.limit_bytes.max(1) as f64;
        self.0
            .iter()
            .filter_map(Level::standing)
            .max_by(|one, other| fill(one).total_cmp(&fill(other)))
    }

    /// The smallest limit.
    pub(super) fn limit(&self) -> Option<u64> {
        self.0.iter().filter_map(Level::limit).min()
    }

    /// What the kernel says of stalls in the process's own group; v2 only.
    pub(super) fn stalls(&self) -> Option<String> {
        let own = self.0.first()?;
        fs::read_to_string(own.dir.join("memory.pressure")).ok()
    }
}

/// The group at `path` below `root` and those above it. In a container, the mounted root
/// is the container's own group, and the path leads nowhere.
fn climb(root: &Path, path: &str, files: &'static Files, levels: &mut Vec<Level>) {
    let below = path.trim_matches('/');
    let own = root.join(below);
    let start = if own.is_dir() { own.as_path() } else { root };
    let dirs = start.ancestors().take_while(|dir| dir.starts_with(root));
    levels.extend(
        dirs.filter(|dir| dir.join(files.used).is_file())
            .map(|dir| Level {
                dir: dir.to_owned(),
                files,
            }),
    );
}

impl Level {
    fn limit(&self) -> Option<u64> {
        let limits = self.files.limits.iter();
        let limits = limits.filter_map(|name| number(&self.dir.join(name)));
        limits.min().filter(|&limit| limit < UNLIMITED)
    }

    fn standing(&self) -> Option<Standing> {
        let limit_bytes = self.limit()?;
        let used = number(&self.dir.join(self.files.used))?;
        let stat = fs::read_to_string(self.dir.join("memory.stat")).unwrap_or_default();
        let sum = |names: [&str; 2]| {
            let values = names.into_iter().filter_map(|name| field(&stat, name));
            values.fold(0, u64::saturating_add)
        };
        let droppable = sum(self.files.page_cache).saturating_sub(sum(self.files.unwritten));
        Some(Standing {
            limit_bytes,
            used_bytes: used.saturating_sub(droppable),
        })
    }
}

fn number(file: &Path) -> Option<u64> {
    // "max" is no number, and no limit.
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn field(stat: &str, name: &str) -> Option<u64> {
    stat.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .and_then(|value| value.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(dir).expect("a directory");
        for (name, text) in files {
            fs::write(dir.join(name), text).expect("a file");
        }
    }

    #[test]
    fn the_tightest_group_on_the_way_up_counts_without_droppable_pages() {
        let root = tempfile::tempdir().expect("a directory");
        let pod = root.path().join("pod");
        write(
            &pod,
            &[("memory.max", "1000\n"), ("memory.current", "900\n")],
        );
        let stat = "anon 5\ninactive_file 300\nactive_file 200\nfile_dirty 50\nfile_writeback 50\n";
        let own = [
            ("memory.max", "max\n"),
            ("memory.high", "2000\n"),
            ("memory.current", "900\n"),
            ("memory.stat", stat),
            ("memory.pressure", "some avg10=1.00 x\n"),
        ];
        write(&pod.join("app"), &own);
        let groups = MemoryGroups::find("0::/pod/app\n", root.path());
        assert_eq!(
            groups.tightest(),
            Some(Standing {
                limit_bytes: 1000,
                used_bytes: 900
            })
        );
        assert_eq!(groups.limit(), Some(1000));
        fs::write(pod.join("memory.max"), "max").expect("writes");
        assert_eq!(
            groups.tightest(),
            Some(Standing {
                limit_bytes: 2000,
                used_bytes: 500
            })
        );
        assert!(groups.stalls().is_some());
    }

    #[test]
    fn version_1_has_other_names_and_a_number_for_no_limit() {
        let root = tempfile::tempdir().expect("a directory");
        let memory = root.path().join("memory");
        let unlimited = [
            ("memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory.usage_in_bytes", "7\n"),
        ];
        write(&memory, &unlimited);
        let stat = "total_inactive_file 100\ntotal_active_file 20\ntotal_dirty 10\n";
        let limited = [
            ("memory.limit_in_bytes", "500\n"),
            ("memory.usage_in_bytes", "400\n"),
            ("memory.stat", stat),
        ];
        write(&memory.join("app"), &limited);
        let groups = MemoryGroups::find("5:devices:/\n4:memory:/app\n", root.path());
        let expected = Standing {
            limit_bytes: 500,
            used_bytes: 290,
        };
        assert_eq!(groups.tightest(), Some(expected));
    }

    #[test]
    fn a_container_finds_its_own_group_at_the_root() {
        let root = tempfile::tempdir().expect("a directory");
        let own = [("memory.max", "10"), ("memory.current", "5")];
        write(root.path(), &own);
        let groups = MemoryGroups::find("0::/kubepods/pod1/x\n", root.path());
        assert_eq!(groups.limit(), Some(10));
    }

    #[test]
    fn without_groups_there_is_no_limit() {
        let root = tempfile::tempdir().expect("a directory");
        for membership in ["", "garbage", "4:memory:/none\n", "::"] {
            let groups = MemoryGroups::find(membership, root.path());
            assert_eq!((groups.limit(), groups.tightest()), (None, None));
        }
    }
}
