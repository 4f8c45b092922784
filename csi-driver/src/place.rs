//! Directories that a caller names. They lie below the kubelet's directory, and no link
//! on the way leads elsewhere.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, unlinkat};
use rustix::io::Errno;

/// As long as the kernel takes.
const LONGEST: usize = 4095;

/// The directory below which a caller may name places.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    /// As callers write it.
    given: PathBuf,
    /// Without links, as the table of mounts has it.
    real: PathBuf,
}

/// A place that is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {path:?}: {problem}")]
pub(crate) struct InvalidPlace {
    field: &'static str,
    path: String,
    problem: String,
}

/// A link is where a directory has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is a link on the way, and none is followed")]
pub(crate) struct Linked;

impl Root {
    pub(crate) fn new(given: &Path) -> io::Result<Self> {
        Ok(Self {
            given: given.to_owned(),
            real: given.canonicalize()?,
        })
    }

    /// The place that the field `field` of a request names.
    pub(crate) fn place(&self, field: &'static str, path: &str) -> Result<Place, InvalidPlace> {
        let invalid = |problem: &str| InvalidPlace {
            field,
            path: path.chars().take(200).collect(),
            problem: problem.to_owned(),
        };
        let named = Path::new(path);
        let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
        // `components` drops `.` and double slashes, which change nothing; but `..` does.
        if !named.is_absolute() || !named.components().all(plain) || path.contains('\0') {
            return Err(invalid("expected an absolute path without `..`"));
        }
        if path.len() > LONGEST {
            return Err(invalid("it is too long"));
        }
        let below = named
            .strip_prefix(&self.given)
            .ok()
            .filter(|below| below.file_name().is_some());
        let Some(below) = below else {
            return Err(invalid(&format!(
                "expected a path below {}",
                self.given.display()
            )));
        };
        Ok(self.below(below))
    }

    /// A place that the table of mounts names; `None` if it is not below this directory.
    pub(crate) fn listed(&self, mountpoint: &Path) -> Option<Place> {
        let below = mountpoint.strip_prefix(&self.real).ok()?;
        below.file_name()?;
        Some(self.below(below))
    }

    fn below(&self, below: &Path) -> Place {
        Place {
            root: self.real.clone(),
            below: below.components().collect(),
        }
    }
}

/// A directory below the root: its name there is free of `..`, but what is on the disk
/// may have changed since anybody looked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    root: PathBuf,
    below: PathBuf,
}

impl Place {
    /// As the table of mounts has it.
    pub(crate) fn path(&self) -> PathBuf {
        self.root.join(&self.below)
    }

    /// The directory that holds it, opened without following a link.
    fn parent(&self) -> io::Result<OwnedFd> {
        let root = openat(CWD, &self.root, DIRECTORY, Mode::empty())?;
        let parent = self.below.parent().unwrap_or(Path::new(""));
        if parent.as_os_str().is_empty() {
            return Ok(root);
        }
        open_beneath(&root, parent)
    }

    fn name(&self) -> &Path {
        Path::new(self.below.file_name().unwrap_or_default())
    }

    /// Makes it if it is not there, and opens it. Not for a place where something is
    /// mounted: that could hang.
    pub(crate) fn make(&self) -> io::Result<OwnedFd> {
        let parent = self.parent()?;
        match mkdirat(&parent, self.name(), Mode::from_raw_mode(0o750)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        open_beneath(&parent, self.name())
    }

    /// Removes the empty directory; one that is gone is removed.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let parent = match self.parent() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            parent => parent?,
        };
        match unlinkat(&parent, self.name(), AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Calls `with` with a path that leads here, whatever links are made meanwhile; the
    /// last component is not followed.
    pub(crate) fn through_parent<T>(
        &self,
        with: impl FnOnce(&Path) -> io::Result<T>,
    ) -> io::Result<T> {
        use std::os::fd::AsRawFd;
        let parent = self.parent()?;
        let number = parent.as_fd().as_raw_fd();
        with(
            &Path::new("/proc/self/fd")
                .join(number.to_string())
                .join(self.name()),
        )
    }
}

/// Opens a directory below `above` and follows no link on the way.
fn open_beneath(above: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    openat2(above, path, DIRECTORY, Mode::empty(), beneath).map_err(|errno| match errno {
        Errno::LOOP => io::Error::other(Linked),
        errno => errno.into(),
    })
}

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn root() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn a_path_out_of_the_kubelets_directory_is_refused() {
        let (dir, root) = root();
        let inside = dir.path().join("pods/x/mount").display().to_string();
        assert!(root.place("target_path", &inside).is_ok());
        let there = dir.path().display().to_string();
        for wrong in [
            "/etc".to_owned(),
            "pods/x".to_owned(),
            String::new(),
            there.clone(),
            format!("{there}/../etc"),
            format!("{there}/pods/../../etc"),
            format!("{there}-other/x"),
            format!("{there}/a\0b"),
            format!("{there}/{}", "x/".repeat(3000)),
        ] {
            let error = root.place("target_path", &wrong).unwrap_err();
            assert!(error.to_string().starts_with("target_path is "), "{error}");
        }
    }

    #[test]
    fn a_link_on_the_way_is_not_followed() {
        let (dir, root) = root();
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir(outside.path().join("x")).unwrap();
        symlink(outside.path(), dir.path().join("link")).unwrap();
        symlink(outside.path().join("x"), dir.path().join("last")).unwrap();
        let place = |name: &str| {
            let path = dir.path().join(name).display().to_string();
            root.place("target_path", &path).unwrap()
        };
        assert!(place("link/x").make().is_err());
        assert!(place("link/y").make().is_err());
        assert!(place("last").make().is_err());
        assert!(place("link/x").remove().is_err());
        assert!(place("last").remove().is_err());
        assert!(outside.path().join("x").is_dir());
        assert!(!outside.path().join("y").exists());
    }

    #[test]
    fn a_place_is_made_and_removed_and_both_may_be_repeated() {
        let (dir, root) = root();
        let path = dir.path().join("mount");
        let place = root
            .place("target_path", &path.display().to_string())
            .unwrap();
        place.make().unwrap();
        place.make().unwrap();
        assert!(path.is_dir());
        place.remove().unwrap();
        place.remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_root_behind_a_link_is_known_by_both_names() {
        let (dir, _) = root();
        let link = dir.path().join("link");
        let real = dir.path().join("real");
        fs::create_dir(&real).unwrap();
        symlink(&real, &link).unwrap();
        let root = Root::new(&link).unwrap();
        let place = root
            .place("target_path", &link.join("a/b").display().to_string())
            .unwrap();
        assert_eq!(place.path(), real.canonicalize().unwrap().join("a/b"));
        assert_eq!(root.listed(&place.path()), Some(place));
    }
}
