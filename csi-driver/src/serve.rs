//! Unix sockets that only the driver's own user may connect to.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tokio::net::UnixListener;

/// Listens at `path`, in place of whatever was there.
///
/// # Errors
/// If the socket cannot be made; the path may be longer than the 107 bytes that fit.
pub(crate) fn bind_private(path: &Path) -> io::Result<UnixListener> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    // Under another name until its mode is right: nobody connects in between. The kubelet
    // watches the directory of plugins, and passes over names that begin with a dot.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = path.with_file_name(format!(".{name}"));
    crate::record::remove(&draft)?;
    let listener = UnixListener::bind(&draft)?;
    fs::set_permissions(&draft, Permissions::from_mode(0o600))?;
    fs::rename(&draft, path)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn a_socket_is_its_owners_only_and_takes_the_place_of_a_stale_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/csi.sock");
        drop(bind_private(&path).unwrap());
        assert!(UnixStream::connect(&path).is_err());
        let _listener = bind_private(&path).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
