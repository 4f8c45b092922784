//! The shared mounts of a node, one for each dataset version that somebody reads.
//!
//! A shared mount lives from the first volume that is staged or shows it to the last. Who
//! that is is read from the table of mounts (marks at staging paths, and binds of the same
//! device), so that no count can be wrong after a crash. Everything that changes a shared
//! mount is done under the lock of its key. A bind is taken away without: who starts a
//! mount holds that lock for as long as a bucket takes to list.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use forebay_core::mountinfo::{MountEntry, mount_at, mounts};
use tokio::sync::OwnedMutexGuard;

use crate::bind::{Restrictions, bind, mark, marked, unbind};
use crate::error::{Error, Kind, Phase, Result};
use crate::locks::Locks;
use crate::mounter::{Mounter, MounterError, State};
use crate::place::{Place, Root};
use crate::record::{Record, Records};
use crate::secrets::Secrets;
use crate::spec::{MountKey, MountSpec};
use crate::task::blocking;

mod lost;

/// How long a mount may take to find a sub-path.
const LOOK_UP: Duration = Duration::from_secs(30);
/// How long who takes a bind away waits to end the mount with it. After that, the next
/// sweep does.
const END: Duration = Duration::from_secs(5);

/// The shared mounts of a node.
#[derive(Debug)]
pub(crate) struct SharedMounts {
    dir: PathBuf,
    root: Root,
    mounter: Arc<dyn Mounter>,
    records: Records,
    locks: Locks,
}

/// What is to be shown where.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// The directory of the dataset.
    pub(crate) sub_path: PathBuf,
    /// Where.
    pub(crate) place: Place,
    /// What is not done through it.
    pub(crate) restrictions: Restrictions,
    /// What the caller is doing.
    pub(crate) phase: Phase,
}

impl SharedMounts {
    pub(crate) fn new(
        dir: PathBuf,
        root: Root,
        mounter: Arc<dyn Mounter>,
        records: Records,
    ) -> Self {
        Self {
            dir,
            root,
            mounter,
            records,
            locks: Locks::default(),
        }
    }

    /// The key of a mount with that spec and these credentials.
    pub(crate) fn key(&self, spec: &MountSpec, secrets: &Secrets) -> MountKey {
        MountKey::of(spec, secrets, self.records.salt())
    }

    /// Shows the dataset of `record`, mounting it if nobody has. If it is shown there
    /// already, does nothing.
    ///
    /// # Errors
    /// [`Kind::Conflict`] if another volume is shown there.
    pub(crate) async fn show(&self, record: Record, view: View) -> Result<()> {
        let key = self.key(&record.spec, &record.secrets);
        let _held = self.locks.lock(key.as_str()).await;
        self.serve(&key, Some(record)).await?;
        self.show_served(&key, view).await
    }

    /// Mounts the dataset of `record` if nobody has, and marks the staging path `place`.
    ///
    /// # Errors
    /// [`Kind::Conflict`] if another dataset is staged there.
    pub(crate) async fn stage(&self, record: Record, place: Place) -> Result<()> {
        let key = self.key(&record.spec, &record.secrets);
        let _held = self.locks.lock(key.as_str()).await;
        self.serve(&key, Some(record)).await?;
        let path = place.path();
        let marked = match self.key_at(&place)? {
            Some(staged) if staged == key => Ok(()),
            Some(_) => {
                let what = "the volume is staged with other attributes or another Secret";
                Err(Error::new(Kind::Conflict, Phase::Stage, what)
                    .next("delete the pods of this volume on this node, then try again"))
            }
            // What is there all the same is dead, or not ours.
            None => unbind(&place)
                .and_then(|()| mark(&key, &place))
                .map_err(|error| system(Phase::Stage, "mark", &path, error)),
        };
        if marked.is_err() {
            // A mount that was made for this call alone is not left behind by it.
            self.end_if_unused(&key).await?;
        }
        marked
    }

    /// Shows what the volume at `staged` shows.
    ///
    /// # Errors
    /// [`Kind::NotReady`] if nothing of ours is there.
    pub(crate) async fn show_staged(&self, staged: &Place, view: View) -> Result<()> {
        let phase = view.phase;
        let not_staged = || {
            let what = format!("nothing is staged at {}", staged.path().display());
            Error::new(Kind::NotReady, phase, what)
        };
        let key = self.key_at(staged)?.ok_or_else(not_staged)?;
        let _held = self.locks.lock(key.as_str()).await;
        if self.key_at(staged)?.as_ref() != Some(&key) {
            return Err(not_staged());
        }
        self.serve(&key, None).await?;
        self.show_served(&key, view).await
    }

    /// Takes away what is shown at `place`, and ends the shared mount behind it if nobody
    /// else shows it. Asks who serves it only for the latter, and never waits on it.
    pub(crate) async fn hide(&self, place: &Place, phase: Phase) -> Result<()> {
        let key = self.key_at(place)?;
        let hidden = self.take_away(place, phase).await;
        let ended = match (hidden, &key) {
            (Ok(()), Some(key)) => self.end_soon(key).await,
            // What was there is dead, or not ours; it must not stay in either case.
            (hidden, _) => hidden,
        };
        ended.map_err(|error| self.of_noted(key.as_ref(), error))
    }

    async fn take_away(&self, place: &Place, phase: Phase) -> Result<()> {
        let path = place.path();
        let _held = self.lock_place(&path).await;
        unbind(place).map_err(|error| system(phase, "unmount", &path, error))
    }

    /// Ends the mount if nobody shows it, unless it is being started for a long time.
    async fn end_soon(&self, key: &MountKey) -> Result<()> {
        match tokio::time::timeout(END, self.locks.lock(key.as_str())).await {
            Ok(_held) => self.end_if_unused(key).await,
            Err(_) => Ok(()),
        }
    }

    /// Holds what is mounted at a place below the kubelet's directory. Taken after the lock
    /// of a key, never before one.
    async fn lock_place(&self, path: &Path) -> OwnedMutexGuard<()> {
        self.locks.lock(&path.to_string_lossy()).await
    }

    /// Says whose error it is, if that is noted: calls that take away name no dataset.
    fn of_noted(&self, key: Option<&MountKey>, error: Error) -> Error {
        match key.and_then(|key| self.records.read(key)) {
            Some(record) => error.of(record.spec.dataset),
            None => error,
        }
    }

    /// Which shared mount is shown or staged at `place`; `None` for nothing, and for the bind of a
    /// mount that has gone.
    pub(crate) fn key_at(&self, place: &Place) -> Result<Option<MountKey>> {
        let table = table()?;
        let path = place.path();
        let Some(shown) = table.iter().rfind(|entry| entry.mountpoint == path) else {
            return Ok(None);
        };
        if let Some(key) = marked(shown) {
            return Ok(Some(key));
        }
        let shared = table.iter().filter(|entry| entry.device == shown.device);
        Ok(shared
            .filter_map(|entry| self.key_of(&entry.mountpoint))
            .next())
    }

    /// The keys of all that is noted, mounted or half made.
    pub(crate) fn keys(&self) -> io::Result<Vec<MountKey>> {
        let names = crate::record::names(&self.dir)?;
        let mut keys: Vec<_> = names.iter().filter_map(|name| lost::key(name)).collect();
        keys.extend(self.records.keys()?);
        keys.sort();
        keys.dedup();
        Ok(keys)
    }

    /// Whether the shared mount is served.
    pub(crate) async fn is_served(&self, key: &MountKey) -> bool {
        let state = self.mounter.state(&self.path(key)).await;
        matches!(state, Ok(State::Serving))
    }

    /// Brings a shared mount to what it should be: served if somebody shows it, gone if
    /// nobody does.
    pub(crate) async fn reconcile(&self, key: &MountKey) -> Result<()> {
        let _held = self.locks.lock(key.as_str()).await;
        if self.users(key)?.is_empty() {
            return self.end_if_unused(key).await;
        }
        self.serve(key, None).await
    }

    /// Ends processes that serve a directory of ours about which nothing is noted.
    pub(crate) async fn end_strays(&self) -> std::result::Result<(), MounterError> {
        for dir in self.mounter.served().await? {
            let Some(key) = self.key_of(&dir) else {
                continue;
            };
            let _held = self.locks.lock(key.as_str()).await;
            if self.records.read(&key).is_none() {
                tracing::warn!(mount = %key, "ending a process that nobody knows of");
                self.mounter.stop(&dir).await?;
            }
        }
        Ok(())
    }

    /// Sees to it that the mount is served, whatever was there before. Under its lock.
    async fn serve(&self, key: &MountKey, wanted: Option<Record>) -> Result<()> {
        let dir = self.path(key);
        if mounted(&dir)?.is_some() {
            match self.mounter.state(&dir).await {
                Ok(State::Serving) => return self.show_lost_again(key).await,
                Ok(State::Gone) => {}
                // Its readers may be well: nothing is taken from them for want of an answer.
                Err(error) => return Err(not_known(error)),
            }
        }
        let record = wanted.or_else(|| self.records.read(key)).ok_or_else(|| {
            let what = format!("nothing is known of the mount {key}, whose process has gone");
            Error::new(Kind::NotReady, Phase::Mount, what)
                .next("delete the pods of this volume on this node")
        })?;
        let dataset = record.spec.dataset.clone();
        self.set_aside(key);
        self.clear(key).await?;
        self.records
            .write(key, &record)
            .map_err(|error| system(Phase::Mount, "note", &dir, error))?;
        make(&dir).map_err(|error| system(Phase::Mount, "create", &dir, error))?;
        let begun = std::time::Instant::now();
        let started = self
            .mounter
            .start(key, &record.spec, &record.secrets, &dir)
            .await;
        started.map_err(|error| not_mounted(error).of(&dataset))?;
        tracing::info!(%dataset, mount = %key, seconds = begun.elapsed().as_secs_f64(), "mounted");
        self.show_lost_again(key).await
    }

    /// Removes what a process that has gone left.
    async fn clear(&self, key: &MountKey) -> Result<()> {
        let dir = self.path(key);
        // A process may be there without a mount, or one that does not answer.
        if let Err(error) = self.mounter.stop(&dir).await {
            tracing::warn!(mount = %key, %error, "the process of a mount was not ended in order");
        }
        detach(&dir).map_err(|error| system(Phase::Mount, "unmount", &dir, error))
    }

    async fn show_served(&self, key: &MountKey, view: View) -> Result<()> {
        let path = view.place.path();
        if let Some(shown) = mounted(&path)? {
            let served = mounted(&self.path(key))?;
            let same = served.is_some_and(|served| served.device == shown.device);
            if same && shown.root == Path::new("/").join(&view.sub_path) {
                return Ok(());
            }
            // A bind of the mount before this one may be replaced.
            let other = self.key_at(&view.place)?.is_some_and(|found| found != *key);
            if same || other {
                let what = format!("another volume or sub-path is at {}", path.display());
                return Err(Error::new(Kind::Conflict, view.phase, what));
            }
            unbind(&view.place).map_err(|error| system(view.phase, "unmount", &path, error))?;
        }
        let shown = self.bind(key, view).await;
        if shown.is_err() {
            // A mount that was made for this call alone is not left behind by it.
            self.end_if_unused(key).await?;
        }
        shown
    }

    async fn bind(&self, key: &MountKey, view: View) -> Result<()> {
        let dir = self.path(key);
        let View {
            sub_path,
            place,
            restrictions,
            phase,
        } = view;
        let (path, named) = (place.path(), sub_path.clone());
        let bound = blocking(phase, LOOK_UP, move || {
            bind(&dir, &sub_path, &place, restrictions)
        })
        .await?;
        bound.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                if !named.as_os_str().is_empty() =>
            {
                let what = format!("the dataset has no directory {}", named.display());
                Error::new(Kind::Invalid, phase, what).next("correct subPath")
            }
            _ => system(phase, "bind the dataset to", &path, error),
        })
    }

    /// Ends the mount if no bind shows it. Under its lock.
    async fn end_if_unused(&self, key: &MountKey) -> Result<()> {
        if !self.users(key)?.is_empty() {
            return Ok(());
        }
        let dir = self.path(key);
        self.clear(key).await?;
        self.forget_lost(key)?;
        remove(&dir).map_err(|error| system(Phase::Mount, "remove", &dir, error))?;
        self.records
            .remove(key)
            .map_err(|error| system(Phase::Mount, "forget", &dir, error))?;
        tracing::info!(mount = %key, "ended: nobody shows it");
        Ok(())
    }

    /// Who uses the mount: marks of staged volumes, published volumes, and what the kubelet
    /// has made of these for a container's sub-path.
    fn users(&self, key: &MountKey) -> Result<Vec<MountEntry>> {
        let own = [self.path(key), self.lost_path(key)];
        let table = table()?;
        let is_own = |entry: &MountEntry| own.contains(&entry.mountpoint);
        let devices: Vec<_> = table
            .iter()
            .filter(|entry| is_own(entry))
            .map(|entry| entry.device.clone())
            .collect();
        let shows = |entry: &MountEntry| {
            let bound = devices.contains(&entry.device) && !is_own(entry);
            bound || marked(entry).as_ref() == Some(key)
        };
        Ok(table.into_iter().filter(shows).collect())
    }

    fn path(&self, key: &MountKey) -> PathBuf {
        self.dir.join(key.as_str())
    }

    fn key_of(&self, mountpoint: &Path) -> Option<MountKey> {
        lost::key(mountpoint.strip_prefix(&self.dir).ok()?.to_str()?)
    }
}

fn table() -> Result<Vec<MountEntry>> {
    mounts().map_err(|error| {
        system(
            Phase::Mount,
            "read",
            Path::new("/proc/self/mountinfo"),
            error,
        )
    })
}

/// What is mounted at `path`.
pub(crate) fn mounted(path: &Path) -> Result<Option<MountEntry>> {
    mount_at(path).map_err(|error| {
        system(
            Phase::Mount,
            "read",
            Path::new("/proc/self/mountinfo"),
            error,
        )
    })
}

fn make(dir: &Path) -> io::Result<()> {
    match std::fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Removes an empty directory; one that is gone is removed.
fn remove(dir: &Path) -> io::Result<()> {
    match std::fs::remove_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Takes a mount of ours away without asking who serves it.
fn detach(dir: &Path) -> io::Result<()> {
    use rustix::mount::{UnmountFlags, unmount};
    while mount_at(dir)?.is_some() {
        unmount(
            dir,
            UnmountFlags::DETACH | UnmountFlags::FORCE | UnmountFlags::NOFOLLOW,
        )?;
    }
    Ok(())
}

fn system(phase: Phase, what: &str, path: &Path, error: io::Error) -> Error {
    Error::system(phase, what, path, error)
}

fn not_known(error: MounterError) -> Error {
    let what = format!("whether the mount is served is not known: {error}");
    Error::new(Kind::Unavailable, Phase::Mount, what)
        .next("the call is made again; if it stays so, see the log of the mount on this node")
}

fn not_mounted(error: MounterError) -> Error {
    let (kind, next) = match &error {
        MounterError::Wrong { .. } => (Kind::Invalid, "correct the volume's attributes"),
        MounterError::Source { .. } => (
            Kind::Unavailable,
            "check url and endpoint, and the Secret that the volume names",
        ),
        MounterError::Node { .. } => (Kind::Internal, "see the log of the mount on this node"),
        MounterError::TimedOut { .. } => (Kind::TimedOut, "see the log of the mount on this node"),
    };
    Error::new(kind, Phase::Mount, error.to_string()).next(next)
}
