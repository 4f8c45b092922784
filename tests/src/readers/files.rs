//! Readers of bytes.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use memmap2::{Advice as MapAdvice, Mmap, MmapOptions, UncheckedAdvice};
use rustix::fs::{Advice, OFlags, fadvise};

use super::Work;
use crate::dataset::File;
use crate::read::open_random;

const SEQUENTIAL: usize = 256 << 10;
const RANDOM: usize = 16 << 10;
const DIRECT: usize = 64 << 10;

/// As often as a file is read here and there, before another one is.
const TIMES: u64 = 200;

impl Work {
    pub(super) fn read_sequentially(&mut self) -> io::Result<()> {
        let file = self.random.pick(&self.large).clone();
        let path = self.root.join(&file.path);
        let opened = self.timed(|| fs::File::open(&path))?;
        let mut buffer = vec![0; SEQUENTIAL];
        let mut offset = 0;
        while offset < file.size && !self.is_over() {
            let len = self.timed(|| opened.read_at(&mut buffer, offset))?;
            if len == 0 {
                self.fault(format_args!("{} ends at {offset}", file.path));
                break;
            }
            self.compare(&file, offset, &buffer[..len]);
            offset += len as u64;
        }
        // The next reader asks the mount again.
        fadvise(&opened, 0, None, Advice::DontNeed)?;
        Ok(())
    }

    pub(super) fn read_at_random(&mut self) -> io::Result<()> {
        let file = self.random.pick(&self.large).clone();
        let path = self.root.join(&file.path);
        let opened = self.timed(|| open_random(&path))?;
        self.read_here_and_there(&file, &opened, RANDOM)
    }

    pub(super) fn read_directly(&mut self) -> io::Result<()> {
        let file = self.random.pick(&self.large).clone();
        let path = self.root.join(&file.path);
        let opened = self.timed(|| {
            let direct = OFlags::DIRECT.bits().cast_signed();
            OpenOptions::new()
                .read(true)
                .custom_flags(direct)
                .open(path)
        })?;
        self.read_here_and_there(&file, &opened, DIRECT)
    }

    fn read_here_and_there(
        &mut self,
        file: &File,
        opened: &fs::File,
        len: usize,
    ) -> io::Result<()> {
        // Aligned, as O_DIRECT wants memory, offset and length.
        let mut memory = MmapOptions::new().len(len).map_anon()?;
        for _ in 0..TIMES {
            if self.is_over() {
                break;
            }
            let offset = self.random.below(file.size / len as u64) * len as u64;
            self.timed(|| opened.read_exact_at(&mut memory, offset))?;
            self.compare(file, offset, &memory);
            fadvise(opened, offset, None, Advice::DontNeed)?;
        }
        Ok(())
    }

    pub(super) fn read_mapped(&mut self) -> io::Result<()> {
        let file = self.random.pick(&self.large).clone();
        let path = self.root.join(&file.path);
        let opened = self.timed(|| open_random(&path))?;
        let map = self.timed(|| map(&opened))?;
        map.advise(MapAdvice::Random)?;
        for _ in 0..TIMES {
            if self.is_over() {
                break;
            }
            let page = self.random.below(file.size / 4096) as usize * 4096;
            let bytes = self.timed(|| Ok(map[page..page + 4096].to_vec()))?;
            self.compare(&file, page as u64, &bytes);
        }
        #[expect(
            unsafe_code,
            reason = "to forget pages of a private mapping loses writes"
        )]
        // SAFETY: nothing was written to the mapping, which is of a file.
        unsafe {
            map.unchecked_advise(UncheckedAdvice::DontNeed)?;
        }
        fadvise(&opened, 0, None, Advice::DontNeed)?;
        Ok(())
    }

    pub(super) fn read_small(&mut self) -> io::Result<()> {
        let file = self.random.pick(&self.small).clone();
        let path = self.root.join(&file.path);
        let opened = self.timed(|| fs::File::open(&path))?;
        let mut content = vec![0; usize::try_from(file.size).unwrap_or_default() + 1];
        let len = self.timed(|| opened.read_at(&mut content, 0))?;
        if len as u64 != file.size {
            self.fault(format_args!("{} has {len} bytes", file.path));
        }
        self.compare(&file, 0, &content[..len]);
        fadvise(&opened, 0, None, Advice::DontNeed)?;
        Ok(())
    }
}

fn map(file: &fs::File) -> io::Result<Mmap> {
    #[expect(unsafe_code, reason = "a file can only be mapped under a promise")]
    // SAFETY: the file is on a mount that is read-only.
    unsafe {
        Mmap::map(file)
    }
}
