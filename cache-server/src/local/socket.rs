//! The socket that clients connect to.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, chownat};
use rustix::process::Gid;
use tokio::net::{UnixListener, UnixStream};

/// Why nothing listens at a socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody listens there already.
    #[error("another process listens at {path}", path = path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// There is something else.
    #[error("{path} exists and is no socket", path = path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The group cannot be given.
    #[error("give {path} to the group {group}", path = path.display())]
    Group {
        /// The socket.
        path: PathBuf,
        /// The group's number.
        group: u32,
        /// Why.
        source: io::Error,
    },
    /// It cannot be made; its path may be too long (107 bytes).
    #[error("listen at {path}", path = path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A socket that is listened at. Its file goes with it.
#[derive(Debug)]
pub struct Listening {
    path: PathBuf,
    listener: UnixListener,
}

impl Listening {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // Before the listener goes: afterwards the name may be that of a successor.
        let _ = fs::remove_file(&self.path);
    }
}

/// Listens at `path`, for its owner and `group` only (mode 0660, or 0600 without a group).
/// A socket that a dead process left there is removed.
///
/// # Errors
/// [`BindError`].
pub fn bind(path: &Path, group: Option<u32>) -> Result<Listening, BindError> {
    let io = |source| BindError::Io {
        path: path.to_owned(),
        source,
    };
    clear_away(path)?;
    // Made for the owner only and opened to the group afterwards: nobody else ever
    // finds it open. A temporary name keeps it out of sight until then.
    let draft = draft_of(path);
    let _ = fs::remove_file(&draft);
    let listener = UnixListener::bind(&draft).map_err(io)?;
    let mode = if group.is_some() { 0o660 } else { 0o600 };
    fs::set_permissions(&draft, Permissions::from_mode(mode)).map_err(io)?;
    if let Some(group) = group {
        chownat(
            CWD,
            &draft,
            None,
            Some(Gid::from_raw(group)),
            rustix::fs::AtFlags::empty(),
        )
        .map_err(|source| BindError::Group {
            path: path.to_owned(),
            group,
            source: source.into(),
        })?;
    }
    fs::rename(&draft, path).map_err(io)?;
    Ok(Listening {
        path: path.to_owned(),
        listener,
    })
}

fn draft_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("~");
    name.into()
}

fn clear_away(path: &Path) -> Result<(), BindError> {
    let io = |source| BindError::Io {
        path: path.to_owned(),
        source,
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NotASocket {
                path: path.to_owned(),
            });
        }
        Ok(_) => {}
    }
    match BlockingStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(io)
        }
        _ => Err(BindError::InUse {
            path: path.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn a_socket_is_for_its_owner_or_for_a_group_and_for_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let own = rustix::process::getegid().as_raw();
        let listener = bind(&path, None).unwrap();
        assert_eq!(mode(&path), 0o600);
        drop(listener);
        assert!(!path.exists());
        let _listener = bind(&path, Some(own)).unwrap();
        assert_eq!(mode(&path), 0o660);
    }

    #[tokio::test]
    async fn what_a_dead_process_left_is_replaced_and_what_lives_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let dead = UnixListener::bind(&path).unwrap();
        assert!(matches!(bind(&path, None), Err(BindError::InUse { .. })));
        drop(dead);
        let _listener = bind(&path, None).unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(
            bind(&file, None),
            Err(BindError::NotASocket { .. })
        ));
    }
}
