//! Requests from the kernel: decoded, passed to the tree, answered.
//!
//! A request that can be answered at once is, on fuser's thread. One that must wait for
//! the cache moves to the runtime together with its reply.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use forebay_core::ByteRange;
use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, FopenFlags,
    Generation, INodeNo, InitFlags, IoctlFlags, KernelConfig, LockOwner, OpenAccMode, OpenFlags,
    PollEvents, PollFlags, PollNotifier, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen,
    ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use tracing::{debug, info};

use crate::fs::error::FsError;
use crate::fs::handle::How;
use crate::fs::open::Opened;
use crate::fs::read::Read;
use crate::fs::xattr::{self, XattrAnswer};
use crate::fs::{NAME_MAX, STATFS_BLOCK};
use crate::open_mode::{Offer, OpenMode};

mod control;
mod convert;
mod server;
mod service;

use server::{asked, inode, requester};
use service::Asked;

pub(crate) use server::Server;

/// How long the kernel may believe what it is told: for ever, because a version never
/// changes. 136 years is the most that fits without care about overflow.
const TTL: Duration = Duration::from_secs(u32::MAX as u64);

/// An inode number is never given to another entry.
const GENERATION: Generation = Generation(0);

/// What makes the mount faster where the kernel has it, and is not missed elsewhere.
const WANTED: [InitFlags; 5] = [
    // A directory's attributes come with its listing, for those who stat it.
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    // Look-ups and listings of one directory do not wait for each other.
    InitFlags::FUSE_PARALLEL_DIROPS,
    // The parts of one large direct read are under way together.
    InitFlags::FUSE_ASYNC_DIO,
    // A file that is read past the page cache can be mapped all the same.
    InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
];

/// How many file systems the kernel may find stacked below a backing file: none, so that
/// this one can itself be the lower one of an overlay.
const STACK_DEPTH: u32 = 1;

/// Cached pages stay valid from one open to the next, and a close has nothing to write
/// back.
const OPENED: FopenFlags = FopenFlags::FOPEN_KEEP_CACHE.union(FopenFlags::FOPEN_NOFLUSH);

fn answer_xattr(value: Result<impl AsRef<[u8]>, Errno>, room: u32, reply: ReplyXattr) {
    let value = match value {
        Ok(value) => value,
        Err(errno) => return reply.error(errno),
    };
    match xattr::answer(value.as_ref(), room) {
        Ok(XattrAnswer::Size(size)) => reply.size(size),
        Ok(XattrAnswer::Value(value)) => reply.data(value),
        Err(error) => reply.error(convert::errno(&error)),
    }
}

fn answer_open(opened: Opened, reply: ReplyOpen) {
    let handle = FileHandle(opened.handle);
    match opened.how {
        How::Pages => reply.opened(handle, OPENED),
        How::Direct => reply.opened(handle, OPENED | FopenFlags::FOPEN_DIRECT_IO),
        How::Passthrough(number) => {
            #[expect(unsafe_code, reason = "fuser cannot know the number to be valid")]
            // SAFETY: the number was registered on this connection and stays so until the
            // last file that is open with it is closed, of which this one is the newest.
            let backing = unsafe { reply.wrap_backing(number.0) };
            // The kernel takes no other flag here: the mounted file has no pages to keep.
            reply.opened_passthrough(handle, FopenFlags::FOPEN_NOFLUSH, &backing);
            // Dropping it would take the number back.
            backing.into_raw();
        }
    }
}

impl Filesystem for Server {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        for capability in WANTED {
            if config.add_capabilities(capability).is_err() {
                debug!(?capability, "kernel is without a capability");
            }
        }
        let offered = config.capabilities();
        let offer = Offer {
            passthrough: offered.contains(InitFlags::FUSE_PASSTHROUGH),
            no_open: offered.contains(InitFlags::FUSE_NO_OPEN_SUPPORT),
        };
        let chosen = self.fs().choose_open_mode(offer);
        info!(open_mode = %chosen.mode, reason = chosen.reason, "how files are opened");
        if chosen.mode == OpenMode::Passthrough {
            // It was offered, or it would not have been chosen; a depth of 1 is valid.
            let _ = config.add_capabilities(InitFlags::FUSE_PASSTHROUGH);
            let _ = config.set_max_stack_depth(STACK_DEPTH);
        }
        // Both take anything but 0.
        let background = self.max_background.max(1);
        let _ = config.set_max_background(background);
        let _ = config.set_congestion_threshold((background / 4 * 3).max(1));
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.fs().lookup(inode(parent), name.as_bytes()) {
            Ok(found) => reply.entry(&TTL, &convert::file_attr(&found), GENERATION),
            Err(FsError::NoSuchEntry) => reply.entry(&TTL, &convert::absent(), GENERATION),
            Err(error) => reply.error(self.refuse("lookup", parent, &error)),
        }
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.fs().attributes(inode(ino)) {
            Ok(found) => reply.attr(&TTL, &convert::file_attr(&found)),
            Err(error) => reply.error(self.refuse("getattr", ino, &error)),
        }
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if flags.acc_mode() != OpenAccMode::O_RDONLY {
            return reply.error(Errno::EROFS);
        }
        if inode(ino).is_control() {
            return self.open_control(ino, reply);
        }
        if self.fs().never_asked_at_open() {
            // The kernel takes this for the answer to every open to come.
            return reply.error(Errno::ENOSYS);
        }
        let service = Arc::clone(&self.service);
        let work = async move { service.fs.open(inode(ino)).await };
        self.answer(
            asked("open", ino),
            requester(request),
            work,
            |opened| match opened {
                Ok(opened) => answer_open(opened, reply),
                Err(errno) => reply.error(errno),
            },
        );
    }

    fn read(
        &self,
        request: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let range = ByteRange::at(offset, size.into());
        let asked = Asked {
            operation: "read",
            inode: inode(ino),
            range,
        };
        if inode(ino).is_control() {
            return self.read_control(ino, fh, offset, size, reply);
        }
        self.fs().stats().read();
        let _runtime = self.runtime.enter();
        let through = convert::through(flags);
        let begun = self
            .fs()
            .begin_read(inode(ino), fh.0, offset, size, through);
        match begun {
            Ok(Read::Nothing) => reply.data(&[]),
            Ok(Read::Ready(readable)) => {
                if let Some(unsent) = self.service.send(readable, reply) {
                    let service = Arc::clone(&self.service);
                    let requester = requester(request);
                    let again = async move { service.send_again(asked, unsent, requester).await };
                    self.waits.spawn_on(again, &self.runtime);
                }
            }
            Ok(Read::Pending(pending)) => {
                let service = Arc::clone(&self.service);
                let requester = requester(request);
                let waiting =
                    async move { service.send_later(asked, pending, requester, reply).await };
                self.waits.spawn_on(waiting, &self.runtime);
            }
            Err(error) => self.service.fail_read(asked, &error, reply),
        }
    }

    fn release(
        &self,
        _request: &Request,
        ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        if inode(ino).is_control() {
            self.fs().release_plan(fh.0);
            return reply.ok();
        }
        let _runtime = self.runtime.enter();
        self.fs().release(inode(ino), fh.0);
        reply.ok();
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // There is never anything to write back, in any mode: the kernel need not ask.
        reply.error(Errno::ENOSYS);
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn opendir(&self, _request: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        match self.fs().open_directory(inode(ino)) {
            Ok(opened) => {
                let keep = FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR;
                let flags = if opened.cacheable {
                    keep
                } else {
                    FopenFlags::empty()
                };
                reply.opened(FileHandle(opened.handle), flags);
            }
            Err(error) => reply.error(self.refuse("opendir", ino, &error)),
        }
    }

    fn readdir(
        &self,
        _request: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listing = match self.fs().listing(inode(ino), fh.0) {
            Ok(listing) => listing,
            Err(error) => return reply.error(self.refuse("readdir", ino, &error)),
        };
        listing.visit(offset, |entry| {
            let kind = convert::file_type(entry.attributes.kind);
            let number = INodeNo(entry.attributes.inode.as_raw());
            !reply.add(number, entry.next, kind, OsStr::from_bytes(entry.name))
        });
        reply.ok();
    }

    fn readdirplus(
        &self,
        _request: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let listing = match self.fs().listing(inode(ino), fh.0) {
            Ok(listing) => listing,
            Err(error) => return reply.error(self.refuse("readdirplus", ino, &error)),
        };
        let ttl = if listing.is_current {
            TTL
        } else {
            Duration::ZERO
        };
        listing.visit(offset, |entry| {
            let attr = convert::file_attr(&entry.attributes);
            let name = OsStr::from_bytes(entry.name);
            !reply.add(attr.ino, entry.next, name, &ttl, &attr, GENERATION)
        });
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, _: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn statfs(&self, _request: &Request, ino: INodeNo, reply: ReplyStatfs) {
        match self.fs().size(inode(ino)) {
            Ok(size) => {
                let block = STATFS_BLOCK;
                reply.statfs(size.blocks, 0, 0, size.inodes, 0, block, NAME_MAX, block);
            }
            Err(error) => reply.error(self.refuse("statfs", ino, &error)),
        }
    }

    fn getxattr(
        &self,
        request: &Request,
        ino: INodeNo,
        name: &OsStr,
        room: u32,
        reply: ReplyXattr,
    ) {
        let service = Arc::clone(&self.service);
        let name = name.as_bytes().to_vec();
        let work = async move { service.fs.xattr(inode(ino), &name).await };
        self.answer(
            asked("getxattr", ino),
            requester(request),
            work,
            move |value| {
                answer_xattr(value, room, reply);
            },
        );
    }

    fn listxattr(&self, _request: &Request, ino: INodeNo, room: u32, reply: ReplyXattr) {
        let names = self.fs().xattr_names(inode(ino));
        let names = names.map_err(|error| self.refuse("listxattr", ino, &error));
        answer_xattr(names, room, reply);
    }

    fn access(&self, _: &Request, _: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        if mask.contains(AccessFlags::W_OK) {
            reply.error(Errno::EROFS)
        } else {
            reply.ok()
        }
    }

    fn readlink(&self, _: &Request, _: INodeNo, reply: ReplyData) {
        reply.error(Errno::EINVAL);
    }

    // What follows is not there, and the kernel does without: ENOSYS makes it seek by
    // itself and take every file for ready.

    fn lseek(&self, _: &Request, _: INodeNo, _: FileHandle, _: i64, _: i32, reply: ReplyLseek) {
        reply.error(Errno::ENOSYS);
    }

    fn poll(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: PollNotifier,
        _: PollEvents,
        _: PollFlags,
        reply: ReplyPoll,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn ioctl(
        &self,
        request: &Request,
        ino: INodeNo,
        fh: FileHandle,
        _: IoctlFlags,
        command: u32,
        piece: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        self.control(request, ino, fh, command, piece, reply);
    }

    // What follows would change something. The kernel refuses it by itself on a mount
    // that is read-only, and these answers do not rely on that.

    fn setattr(
        &self,
        _: &Request,
        _: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        reply.error(Errno::EROFS);
    }

    fn mknod(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, _: u32, reply: ReplyEntry) {
        reply.error(Errno::EROFS);
    }

    fn mkdir(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        reply.error(Errno::EROFS);
    }

    fn unlink(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EROFS);
    }

    fn rmdir(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EROFS);
    }

    fn symlink(&self, _: &Request, _: INodeNo, _: &OsStr, _: &Path, reply: ReplyEntry) {
        reply.error(Errno::EROFS);
    }

    fn rename(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        _: INodeNo,
        _: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EROFS);
    }

    fn link(&self, _: &Request, _: INodeNo, _: INodeNo, _: &OsStr, reply: ReplyEntry) {
        reply.error(Errno::EROFS);
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        reply.error(Errno::EROFS);
    }

    fn create(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        _: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        reply.error(Errno::EROFS);
    }

    fn setxattr(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        _: &[u8],
        _: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EROFS);
    }

    fn removexattr(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EROFS);
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: u64,
        _: i32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EROFS);
    }

    fn copy_file_range(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        reply.error(Errno::EROFS);
    }
}
