//! The control files, as requests reach them.

use std::sync::Arc;

use fuser::{Errno, FileHandle, FopenFlags, INodeNo, ReplyData, ReplyIoctl, ReplyOpen, Request};

use super::server::{Server, asked, inode, requester};
use crate::fs::control::{Piece, Sender};
use crate::fs::error::FsError;
use crate::fs::inode::Inode;
use crate::plan::PlanError;

/// `_IOW('F', 1, 0)`: a piece of a plan, without its length.
const ADD_TO_PLAN: u32 = 0x4000_4601;

/// Where the length is (asm-generic/ioctl.h): 14 bits.
const LENGTH: u32 = 0x3fff_0000;

impl Server {
    pub(super) fn open_control(&self, ino: INodeNo, reply: ReplyOpen) {
        if inode(ino) != Inode::PLAN {
            return reply.error(Errno::EISDIR);
        }
        // It has no size and no pages: each read is a question.
        let handle = FileHandle(self.fs().open_plan());
        reply.opened(handle, FopenFlags::FOPEN_DIRECT_IO);
    }

    pub(super) fn read_control(
        &self,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        reply: ReplyData,
    ) {
        if inode(ino) != Inode::PLAN {
            return reply.error(Errno::EISDIR);
        }
        reply.data(&self.fs().read_plan(fh.0, offset, size));
    }

    /// Answers an ioctl(2), which means something on the plan file alone.
    pub(super) fn control(
        &self,
        request: &Request,
        ino: INodeNo,
        fh: FileHandle,
        command: u32,
        piece: &[u8],
        reply: ReplyIoctl,
    ) {
        if inode(ino) != Inode::PLAN || command & !LENGTH != ADD_TO_PLAN {
            return reply.error(Errno::ENOTTY);
        }
        let sender = Sender::new(fh.0, request.pid());
        let document = match self.fs().feed_plan(sender, piece) {
            Ok(Piece::Kept) => return reply.ioctl(0, &[]),
            Ok(Piece::Whole(document)) => document,
            Err(error) => return reply.error(self.refuse("ioctl", ino, &error)),
        };
        let service = Arc::clone(&self.service);
        let work = async move {
            let take = move || service.fs.take_plan(&document);
            let taken = tokio::task::spawn_blocking(take).await;
            // A join error is a panic there, which has been logged.
            taken.unwrap_or_else(|error| {
                let reason = error.to_string();
                Err(FsError::Plan {
                    source: PlanError::Syntax { reason },
                })
            })
        };
        let answer = |taken: Result<_, Errno>| match taken {
            Ok(_) => reply.ioctl(0, &[]),
            Err(errno) => reply.error(errno),
        };
        self.answer(asked("ioctl", ino), requester(request), work, answer);
    }
}
