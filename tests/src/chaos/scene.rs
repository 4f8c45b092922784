//! An origin, a cache server, two mounts, and a small disk; and how they fail.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use forebay_loopback_s3::{Action, Fault as OriginFault, Operation};
use rustix::process::Signal;

use super::cache_server::CacheServer;
use super::plan::{Fault, Step};
use crate::bucket::Bucket;
use crate::dataset::{Dataset, Shape, Sizes};
use crate::mount::{Mount, MountCommand, kill};
use crate::tmpfs::Tmpfs;

const MIB: u64 = 1 << 20;
/// Less than the dataset, so that the origin is asked all the time.
const QUOTA: u64 = 96 * MIB;
/// The cache server's disk.
const DISK: u64 = 128 * MIB;
/// How long a body stalls: longer than a hedge, far shorter than a reader's patience.
const STALL: Duration = Duration::from_secs(3);
/// Nobody waits for a mount that hangs: a run that is over.
const LIMIT: Duration = Duration::from_secs(24 * 3600);

/// Everything below the readers. Fields are dropped from first to last.
pub(super) struct Scene {
    mounts: Vec<Mount>,
    server: CacheServer,
    ballast: PathBuf,
    killed: [Option<u32>; 2],
    frozen: [Option<u32>; 2],
    disorder: Vec<String>,
    dataset: Dataset,
    _disk: Tmpfs,
    bucket: Bucket,
}

impl Scene {
    pub(super) fn new(seed: u64) -> Self {
        let bucket = Bucket::new("chaos", 512 * MIB);
        let dataset = Dataset::new(&Shape {
            files: 400,
            directories: 5,
            sizes: Sizes::Skewed(100, 12 * MIB),
            seed,
        });
        dataset.put_to(bucket.server(), Bucket::NAME, "");
        let dir = bucket.scratch().dir("server");
        let cache = dir.join("cache");
        let disk = Tmpfs::mount(&cache, DISK);
        let ballast = cache.join("lost+found");
        let server = CacheServer::start((&dir, &cache), QUOTA, Bucket::NAME, bucket.endpoint());
        let through = MountCommand::through(
            &server.socket(),
            CacheServer::DATASET,
            &bucket.scratch().dir("through"),
        );
        let own = bucket
            .mount("own")
            .args(&["--cache-size", &QUOTA.to_string()]);
        let mounts = [through, own].map(|command| command.supervised().limit(LIMIT).start());
        Self {
            mounts: mounts.into(),
            server,
            ballast,
            killed: [None; 2],
            frozen: [None; 2],
            disorder: Vec::new(),
            dataset,
            _disk: disk,
            bucket,
        }
    }

    pub(super) fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Where the readers read.
    pub(super) fn roots(&self) -> Vec<PathBuf> {
        self.mounts.iter().map(Mount::path).collect()
    }

    /// Lets a fault begin or end.
    pub(super) fn take(&mut self, step: &Step) {
        match step {
            Step::Begin(fault) => self.begin(*fault),
            Step::End(fault) => self.end_of(*fault),
        }
    }

    fn begin(&mut self, fault: Fault) {
        let origin = self.bucket.server();
        let reads = |action, times| {
            let fault = OriginFault::new(action).on(Operation::GetObject);
            origin.faults().push(fault.times(times));
        };
        match fault {
            Fault::ClientKilled { mount } => self.kill_client(mount),
            Fault::ClientFrozen { mount } => {
                self.frozen[mount] = self.mounts[mount].client_pid();
                self.signal_frozen(mount, Signal::STOP);
            }
            Fault::ServerKilled => self.server.kill(),
            Fault::ServerStopped => self.disorder.extend(self.server.stop()),
            Fault::OriginGone => origin.pause(),
            Fault::OriginBusy => {
                let busy = Action::status(503, "SlowDown");
                origin.faults().push(OriginFault::new(busy).always());
            }
            Fault::OriginSlow { delay } => {
                let slow = Action::Delay(Duration::from_millis(delay));
                origin.faults().push(OriginFault::new(slow).always());
            }
            Fault::BodiesCut { bodies, after } => reads(Action::TruncateAfter(after), bodies),
            Fault::BodiesStalled { bodies, after } => {
                reads(Action::StallAfter(after, STALL), bodies);
            }
            Fault::ConnectionsBroken { connections } => reads(Action::Disconnect, connections),
            Fault::DiskFull => self.fill_disk(),
        }
    }

    fn end_of(&mut self, fault: Fault) {
        let origin = self.bucket.server();
        match fault {
            Fault::ClientKilled { .. } => {}
            Fault::ClientFrozen { mount } => self.signal_frozen(mount, Signal::CONT),
            Fault::ServerKilled | Fault::ServerStopped => self.server.come(),
            Fault::OriginGone => origin.resume().expect("the port is ours"),
            Fault::OriginBusy
            | Fault::OriginSlow { .. }
            | Fault::BodiesCut { .. }
            | Fault::BodiesStalled { .. }
            | Fault::ConnectionsBroken { .. } => origin.faults().clear(),
            Fault::DiskFull => {
                let _ = fs::remove_dir_all(&self.ballast);
            }
        }
    }

    /// Kills the process that serves a mount, unless that is the one that was killed last:
    /// nobody is in its place yet, or nobody has said so.
    fn kill_client(&mut self, mount: usize) {
        let pid = self.mounts[mount].client_pid();
        if let Some(pid) = pid
            && self.killed[mount] != Some(pid)
        {
            kill(pid, Signal::KILL);
            self.killed[mount] = Some(pid);
        }
    }

    fn signal_frozen(&self, mount: usize, signal: Signal) {
        if let Some(pid) = self.frozen[mount] {
            kill(pid, signal);
        }
    }

    /// Takes what is free of the disk, by a file that a cache directory may have in it.
    fn fill_disk(&self) {
        let file = fs::create_dir_all(&self.ballast)
            .and_then(|()| File::create(self.ballast.join("ballast")));
        // There may be no room for a name even.
        if let Ok(mut file) = file {
            let block = vec![1; 64 << 10];
            while file.write_all(&block).is_ok() {}
        }
    }

    /// Unmounts and ends everything; what was not in order.
    pub(super) fn end(mut self) -> Vec<String> {
        let mut logs = vec![self.server.log()];
        for mount in self.mounts.drain(..) {
            logs.push(mount.log());
            let path = mount.path();
            let said = mount.run(&["umount", &path.to_string_lossy()]);
            let ended = mount.wait(Duration::from_secs(30));
            if !said.status.success() || !ended.is_some_and(|ended| ended.success()) {
                let said = String::from_utf8_lossy(&said.stderr).into_owned();
                self.disorder.push(format!(
                    "the mount at {} ended with {ended:?}: {said}",
                    path.display()
                ));
            }
        }
        self.disorder.extend(self.server.stop());
        let panics = logs.iter().flat_map(|log| log.lines());
        let panics = panics.filter(|line| line.contains("panicked at"));
        self.disorder.extend(panics.map(ToOwned::to_owned));
        self.disorder
    }
}
