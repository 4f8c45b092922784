//! A lease as the client holds it: where the object's bytes lie, and which are there.

use std::fs::File;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use forebay_core::cache::{Availability, Backing, CacheError, FileRef};
use forebay_core::{ByteRange, ErrorKind, chunk};
use forebay_proto::local::{Presence, Reply, Request, WholeFile};

use crate::bitmap::Bitmap;
use crate::error::CallError;
use crate::places::Found;
use crate::session::Session;

/// A lease on the server of this machine.
#[derive(Debug)]
pub(crate) struct RemoteLease {
    file: FileRef,
    size: u64,
    // Read by each read of the file, written when the server has something new.
    view: RwLock<View>,
    // The session in which it was last taken, and its number there; None while what was
    // opened at its place has not had to be leased.
    held: Mutex<Option<(Arc<Session>, u64)>>,
}

/// What a lease knows of its object.
#[derive(Debug)]
struct View {
    backing: Option<Backing>,
    present: Bitmap,
}

/// The answer to a lease request.
#[derive(Debug)]
pub(crate) struct Leased {
    pub(crate) lease: u64,
    pub(crate) size: u64,
    pub(crate) offset: Option<u64>,
    pub(crate) presence: Presence,
    pub(crate) descriptor: Option<OwnedFd>,
}

impl View {
    fn new(size: u64, leased: Leased) -> Self {
        let backing = match (leased.offset, leased.descriptor) {
            (Some(offset), Some(descriptor)) => Some(backing(descriptor, offset)),
            _ => None,
        };
        let presence = match backing {
            Some(_) => leased.presence,
            None => Presence::Nothing,
        };
        Self {
            backing,
            present: Bitmap::new(chunk::count(size), presence),
        }
    }
}

fn backing(descriptor: OwnedFd, offset: u64) -> Backing {
    Backing {
        file: Arc::new(File::from(descriptor)),
        offset,
    }
}

impl RemoteLease {
    /// Takes a lease in `session`.
    pub(crate) async fn take(
        session: &Arc<Session>,
        file: FileRef,
    ) -> Result<Arc<Self>, CallError> {
        let leased = session.lease(file).await?;
        let (lease, size) = (leased.lease, leased.size);
        let remote = Arc::new(Self {
            file,
            size,
            view: RwLock::new(View::new(size, leased)),
            held: Mutex::new(Some((Arc::clone(session), lease))),
        });
        session.watch(lease, &remote);
        Ok(remote)
    }

    /// A file that lies at a place which is known.
    pub(crate) fn at_place(file: FileRef, found: Found) -> Arc<Self> {
        let view = View {
            backing: Some(found.backing),
            present: Bitmap::new(chunk::count(found.size), Presence::Everything),
        };
        Arc::new(Self {
            file,
            size: found.size,
            view: RwLock::new(view),
            held: Mutex::default(),
        })
    }

    /// Whether the object lies in a pack, as far as is known.
    pub(crate) fn is_packed(&self) -> bool {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        // Only objects with a file of their own begin at its first byte.
        view.backing
            .as_ref()
            .is_some_and(|backing| backing.offset != 0)
    }

    /// The object's size.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Its number in `session`; taken anew there if it was held in another.
    pub(crate) async fn number_in(
        self: &Arc<Self>,
        session: &Arc<Session>,
    ) -> Result<u64, CallError> {
        if let Some(number) = self.number_if_in(session) {
            return Ok(number);
        }
        let leased = session.lease(self.file).await?;
        let number = leased.lease;
        if leased.size != self.size {
            session.send(&Request::Release(number));
            let message = format!(
                "the object has {} bytes now and had {} when it was opened",
                leased.size, self.size
            );
            return Err(CacheError::new(ErrorKind::Stale, message).into());
        }
        let lost = {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            match &*held {
                // Another reader of the file was faster.
                Some((known, _)) if Arc::ptr_eq(known, session) => Some(number),
                _ => {
                    *held = Some((Arc::clone(session), number));
                    None
                }
            }
        };
        if let Some(number) = lost {
            session.send(&Request::Release(number));
            return self.number_if_in(session).ok_or(CallError::Lost);
        }
        // A server that has lost its cache does not take away what is still readable here.
        if leased.offset.is_some() {
            let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
            *view = View::new(self.size, leased);
        }
        session.watch(number, self);
        Ok(number)
    }

    /// Its number in `session`, if it is held there.
    pub(crate) fn number_if_in(&self, session: &Arc<Session>) -> Option<u64> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, number) = held.as_ref()?;
        Arc::ptr_eq(known, session).then_some(*number)
    }

    /// Where `range` can be read, if it is known to be present.
    pub(crate) fn readable(&self, range: ByteRange) -> Option<Availability> {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        let present = range.end() <= self.size && view.present.contains(chunk::covering(range));
        present
            .then(|| view.backing.clone().map(Availability::Backed))
            .flatten()
    }

    /// Forgets what is known to be present: some of it is not. The file stays, because the
    /// server passes each only once.
    pub(crate) fn forget(&self) {
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        view.present = Bitmap::new(chunk::count(self.size), Presence::Nothing);
    }

    /// The file of which the server has spoken last.
    pub(crate) fn backing(&self) -> Option<Availability> {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        view.backing.clone().map(Availability::Backed)
    }

    /// The file, if it is known to hold the whole object at offset 0.
    pub(crate) fn whole(&self) -> Option<Arc<File>> {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        let backing = view
            .backing
            .as_ref()
            .filter(|backing| backing.offset == 0)?;
        view.present
            .contains(0..chunk::count(self.size))
            .then(|| Arc::clone(&backing.file))
    }

    /// Takes in what a reply says of the object, before anybody who waits for the reply
    /// hears of it. The descriptor is kept even if nobody waits any more: the server
    /// passes it once.
    pub(crate) fn note(&self, reply: &Reply, descriptor: Option<OwnedFd>) {
        match reply {
            Reply::Backed { offset, chunks, .. } => {
                self.present(descriptor, *offset, chunks.clone());
            }
            Reply::Whole { file, .. } if *file != WholeFile::None => {
                self.present(descriptor, 0, 0..chunk::count(self.size));
            }
            _ => {}
        }
    }

    fn present(&self, descriptor: Option<OwnedFd>, offset: u64, chunks: Range<u64>) {
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(descriptor) = descriptor {
            // What was present in another file need not be in this one.
            view.present = Bitmap::new(chunk::count(self.size), Presence::Nothing);
            view.backing = Some(backing(descriptor, offset));
        }
        if view.backing.is_some() {
            view.present.insert(chunks);
        }
    }
}

impl Drop for RemoteLease {
    fn drop(&mut self) {
        let held = self.held.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some((session, number)) = held {
            session.release(*number);
        }
    }
}
