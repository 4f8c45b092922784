//! Files in the tree that are not of the dataset: where a job says what it will read.
//!
//! `.forebay/plan` below the root can be looked up and is never listed, so that a walk
//! over the tree finds the dataset and nothing else; an entry of the dataset called
//! `.forebay` hides it. It is read-only as everything here, also through a read-only bind
//! mount: a plan goes in by ioctl(2), which needs no right to write. The command's number
//! carries the length, as `_IOW('F', 1, length)`: 16,383 bytes at most, and a longer
//! plan comes in several calls.
//!
//! Reading it gives the plans that are followed, as JSON. So does its attribute
//! `user.forebay.plan`, for mounts that open files without asking: their kernel reads no
//! more of a file than its size says, and that is 0.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use forebay_core::manifest::{Attr, Kind};

use super::DatasetFs;
use super::attr::Attributes;
use super::error::FsError;
use super::inode::Inode;
use crate::plan::{Document, Fed, Order, PlanError, Spec};

/// The directory of the control files.
const DIRECTORY: &[u8] = b".forebay";

/// Its one file.
const PLAN: &[u8] = b"plan";

/// The directory can be entered, not listed.
const DIRECTORY_MODE: u16 = 0o111;

/// Whoever may see the tree may say how it will be read.
const PLAN_MODE: u16 = 0o444;

/// Plans that are being sent at the same time; of more, the oldest are forgotten.
const MOST_UNFINISHED: usize = 256;

/// All plans that are being sent, together: one of the longest kind, and some short ones.
const MOST_UNFINISHED_BYTES: usize = 96 << 20;

/// The state of the control files.
#[derive(Debug, Default)]
pub(super) struct Control {
    next: AtomicU64,
    // Held while a piece of at most 16 KiB is taken in.
    open: Mutex<HashMap<Sender, Session>>,
    last_error: Mutex<Option<String>>,
}

/// Who has a control file open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Sender {
    /// The open file that this handle stands for.
    Handle(u64),
    /// A process, where the kernel opens files without asking.
    Process(u32),
}

impl Sender {
    /// The sender of a request that names `handle`, made by process `pid`.
    pub(crate) fn new(handle: u64, pid: u32) -> Self {
        match handle {
            0 => Self::Process(pid),
            handle => Self::Handle(handle),
        }
    }
}

#[derive(Debug, Default)]
struct Session {
    age: u64,
    document: Document,
    /// What reading gives: the state when the file was opened.
    shown: Vec<u8>,
}

/// What became of a piece of a plan.
#[derive(Debug)]
pub(crate) enum Piece {
    /// There is more to come.
    Kept,
    /// It was the last one.
    Whole(Vec<u8>),
}

impl Inode {
    /// The directory of the control files. No entry has this number: positions have 32
    /// bits.
    pub(crate) const CONTROL: Self = Self::from_raw((1 << 39) + 1);
    /// The plan file.
    pub(crate) const PLAN: Self = Self::from_raw((1 << 39) + 2);

    /// Whether the number is one of these.
    pub(crate) fn is_control(self) -> bool {
        self == Self::CONTROL || self == Self::PLAN
    }
}

impl DatasetFs {
    /// The control file, or directory of them, called `name` in `parent`.
    pub(super) fn lookup_control(&self, parent: Inode, name: &[u8]) -> Option<Attributes> {
        match (parent, name) {
            (Inode::ROOT, DIRECTORY) => self.control_attributes(Inode::CONTROL),
            (Inode::CONTROL, PLAN) => self.control_attributes(Inode::PLAN),
            _ => None,
        }
    }

    /// The attributes of a control file; `None` if `inode` is none.
    pub(super) fn control_attributes(&self, inode: Inode) -> Option<Attributes> {
        let (kind, mode) = match inode {
            Inode::CONTROL => (Kind::Directory, DIRECTORY_MODE),
            Inode::PLAN => (Kind::File, PLAN_MODE),
            _ => return None,
        };
        let root = self.epochs.root();
        let modified = root
            .manifest
            .attr(root.entry)
            .map_or(0, |attr| attr.modified);
        let attr = Attr {
            kind,
            size: 0,
            modified,
        };
        Some(Attributes {
            mode,
            ..self.ownership.attributes(inode, attr)
        })
    }

    /// Opens the plan file and returns its handle.
    pub(crate) fn open_plan(&self) -> u64 {
        // Above those of files, so that a log of handles cannot mean this one.
        let handle = (1 << 63) | self.control.next.fetch_add(1, Ordering::Relaxed);
        let session = Session {
            shown: self.plan_state(),
            ..Session::default()
        };
        self.control.enter(Sender::Handle(handle), session);
        handle
    }

    /// Closes the plan file.
    pub(crate) fn release_plan(&self, handle: u64) {
        let mut open = self.control.open();
        open.remove(&Sender::Handle(handle));
    }

    /// What reading the plan file gives at `offset`.
    pub(crate) fn read_plan(&self, handle: u64, offset: u64, len: u32) -> Vec<u8> {
        let open = self.control.open();
        let session = open.get(&Sender::Handle(handle));
        let shown = session.map(|session| session.shown.clone());
        drop(open);
        let shown = shown.unwrap_or_else(|| self.plan_state());
        let start = usize::try_from(offset).map_or(shown.len(), |at| at.min(shown.len()));
        let end = start.saturating_add(len as usize).min(shown.len());
        shown[start..end].to_vec()
    }

    /// Takes in a piece of a plan.
    ///
    /// # Errors
    /// [`FsError::Plan`] if it cannot become one; what came before it is forgotten.
    pub(crate) fn feed_plan(&self, sender: Sender, piece: &[u8]) -> Result<Piece, FsError> {
        match self.control.feed(sender, piece) {
            Fed::More => Ok(Piece::Kept),
            Fed::Whole(document) => Ok(Piece::Whole(document)),
            Fed::Broken => Err(self.refuse_plan(PlanError::Syntax {
                reason: "a plan is a JSON object of at most 64 MiB".to_owned(),
            })),
        }
    }

    /// Follows a plan that came through the plan file. Blocks, as
    /// [`set_plan`](Self::set_plan) does.
    ///
    /// # Errors
    /// [`FsError::Plan`].
    pub(crate) fn take_plan(&self, document: &[u8]) -> Result<Order, FsError> {
        let set = Spec::parse(document).and_then(|spec| self.set_plan(&spec));
        match set {
            Ok(order) => {
                *self.control.last_error() = None;
                Ok(order)
            }
            Err(error) => Err(self.refuse_plan(error)),
        }
    }

    fn refuse_plan(&self, error: PlanError) -> FsError {
        *self.control.last_error() = Some(error.to_string());
        FsError::Plan { source: error }
    }

    /// The plans that are followed, and why the last one that was sent is not, as a line
    /// of JSON.
    pub(super) fn plan_state(&self) -> Vec<u8> {
        let plans: Vec<_> = self
            .plans()
            .into_iter()
            .map(|plan| {
                serde_json::json!({
                    "name": plan.name,
                    "entries": plan.entries,
                    "position": plan.position,
                    "ahead_bytes": plan.ahead_bytes,
                })
            })
            .collect();
        let error = self.control.last_error().clone();
        let state = serde_json::json!({ "plans": plans, "error": error });
        let mut line = state.to_string().into_bytes();
        line.push(b'\n');
        line
    }
}

impl Control {
    fn open(&self) -> std::sync::MutexGuard<'_, HashMap<Sender, Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last_error(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, sender: Sender, session: Session) {
        let mut open = self.open();
        make_room(&mut open);
        let age = self.next.fetch_add(1, Ordering::Relaxed);
        open.insert(sender, Session { age, ..session });
    }

    fn feed(&self, sender: Sender, piece: &[u8]) -> Fed {
        if !self.open().contains_key(&sender) {
            self.enter(sender, Session::default());
        }
        let mut open = self.open();
        let all: usize = open.values().map(|session| session.document.len()).sum();
        if all + piece.len() > MOST_UNFINISHED_BYTES {
            open.remove(&sender);
            return Fed::Broken;
        }
        // It may have been forgotten in between, for the sake of others.
        let fed = open.entry(sender).or_default().document.feed(piece);
        if fed != Fed::More && matches!(sender, Sender::Process(_)) {
            open.remove(&sender);
        }
        fed
    }
}

/// Forgets the oldest of too many.
fn make_room(open: &mut HashMap<Sender, Session>) {
    while open.len() >= MOST_UNFINISHED {
        let oldest = open.iter().min_by_key(|(_, session)| session.age);
        let Some(oldest) = oldest.map(|(sender, _)| *sender) else {
            return;
        };
        open.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::tests::{FILES, fs_with};

    #[test]
    fn control_files_are_looked_up_below_the_root_only() {
        let (_fixture, fs) = fs_with(FILES);
        let directory = fs.lookup(Inode::ROOT, b".forebay").expect("there");
        assert_eq!((directory.kind, directory.mode), (Kind::Directory, 0o111));
        let plan = fs.lookup(directory.inode, b"plan").expect("there");
        assert_eq!((plan.kind, plan.mode, plan.size), (Kind::File, 0o444, 0));
        assert_eq!(fs.attributes(plan.inode).expect("known"), plan);
        let inner = fs.lookup(Inode::ROOT, b"dir").expect("there").inode;
        for (parent, name) in [
            (inner, &b".forebay"[..]),
            (directory.inode, b"other"),
            (Inode::ROOT, b"plan"),
        ] {
            assert!(matches!(fs.lookup(parent, name), Err(FsError::NoSuchEntry)));
        }
    }

    #[test]
    fn an_entry_of_the_dataset_hides_them() {
        let (_fixture, fs) = fs_with(&[(".forebay/mine", b"1")]);
        let directory = fs.lookup(Inode::ROOT, b".forebay").expect("there").inode;
        assert_ne!(directory, Inode::CONTROL);
        assert!(fs.lookup(directory, b"mine").is_ok());
        assert!(matches!(
            fs.lookup(directory, b"plan"),
            Err(FsError::NoSuchEntry)
        ));
    }

    #[test]
    fn a_plan_in_pieces_is_taken_with_the_last_one() {
        let (_fixture, fs) = fs_with(FILES);
        for sender in [Sender::new(fs.open_plan(), 7), Sender::new(0, 7)] {
            let kept = fs
                .feed_plan(sender, br#"{"paths": ["file", "#)
                .expect("kept");
            assert!(matches!(kept, Piece::Kept));
            let other = Sender::new(0, 8);
            assert!(matches!(fs.feed_plan(other, b"{"), Ok(Piece::Kept)));
            let Ok(Piece::Whole(document)) = fs.feed_plan(sender, br#""dir/inner"]}"#) else {
                panic!("whole")
            };
            assert_eq!(fs.take_plan(&document).expect("a plan").len(), 2);
        }
        assert_eq!(fs.plans()[0].entries, 2);
    }

    #[test]
    fn what_is_wrong_can_be_read_and_is_gone_with_the_next_plan() {
        let (_fixture, fs) = fs_with(FILES);
        let error = fs
            .take_plan(br#"{"paths": ["nope"]}"#)
            .expect_err("unknown");
        assert_eq!(error.errno(), crate::fs::errno::EINVAL);
        let state = |fs: &DatasetFs| -> serde_json::Value {
            let handle = fs.open_plan();
            let state = fs.read_plan(handle, 0, 1 << 20);
            assert_eq!(fs.read_plan(handle, 3, 4), state[3..7]);
            assert!(fs.read_plan(handle, 1 << 40, 4).is_empty());
            fs.release_plan(handle);
            serde_json::from_slice(&state).expect("JSON")
        };
        assert!(
            state(&fs)["error"]
                .as_str()
                .expect("text")
                .contains("\"nope\"")
        );
        assert!(fs.feed_plan(Sender::new(0, 1), b"no JSON").is_err());
        fs.take_plan(br#"{"paths": ["file"], "name": "mine"}"#)
            .expect("a plan");
        let state = state(&fs);
        assert!(state["error"].is_null());
        assert_eq!(
            (&state["plans"][0]["name"], &state["plans"][0]["position"]),
            (&"mine".into(), &0.into())
        );
    }

    #[test]
    fn senders_that_never_finish_are_forgotten() {
        let (_fixture, fs) = fs_with(FILES);
        for pid in 0..2000 {
            let _ = fs.feed_plan(Sender::new(0, pid), b"{\"paths\": [");
        }
        assert!(fs.control.open().len() <= MOST_UNFINISHED);
    }
}
