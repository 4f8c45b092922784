//! Plain files on the local disk: the limit of every cached read.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Role, Running, State, Subject};
use crate::site::Site;
use crate::workload::{Load, Pass, Workload};

/// The data as files of the file system that all caches are on.
#[derive(Clone, Debug)]
pub struct Local {
    root: PathBuf,
}

impl Local {
    /// The local files of `site`.
    pub fn new(site: &Site) -> Self {
        Self { root: site.local() }
    }
}

impl Subject for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    fn version(&self) -> String {
        let kernel = rustix::system::uname();
        format!("files, Linux {}", kernel.release().to_string_lossy())
    }

    fn role(&self) -> Role {
        Role::Limit
    }

    fn plays(&self, _: Workload, state: State) -> bool {
        state != State::Cold
    }

    fn start(&self, _: &Path) -> Result<Box<dyn Running>> {
        Ok(Box::new(self.clone()))
    }
}

impl Running for Local {
    fn pids(&self) -> Vec<u32> {
        Vec::new()
    }

    fn pass(&self, load: &Load<'_>, _: State) -> Result<Pass> {
        load.run(&self.root)
    }
}
