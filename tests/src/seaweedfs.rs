//! SeaweedFS: master, volume, filer and S3 in one process.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::endpoint::Endpoint;
use crate::ports::free_ports;
use crate::process::Process;
use crate::require::server_program;
use crate::s3client::S3Client;
use crate::scratch::Scratch;

/// It takes 3 to 4 seconds on an idle machine.
const START: Duration = Duration::from_secs(60);
/// The bucket whose creation tells that every part is up.
const PROBE: &str = "forebay-probe";
/// What it writes itself.
const OWN_BYTES: u64 = 256 << 20;

/// A running SeaweedFS. Dropping it kills it and removes its data.
#[derive(Debug)]
pub struct SeaweedFs {
    // In this order: the process must be gone when its files are removed.
    process: Process,
    sockets: Vec<PathBuf>,
    endpoint: Endpoint,
    filer: String,
    _scratch: Scratch,
}

impl SeaweedFs {
    /// Starts a server with room for `need` bytes of objects on disk.
    ///
    /// # Panics
    /// If it is not installed, has no room, or does not start.
    pub fn start(need: u64) -> Self {
        Self::start_at("127.0.0.1", need)
    }

    /// Starts a server at an address of this machine.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_at(address: &str, need: u64) -> Self {
        Self::start_in(address, Scratch::new("seaweedfs", need + OWN_BYTES))
    }

    /// [`Self::start`] with the objects in memory.
    ///
    /// # Panics
    /// If it is not installed, has no room, or does not start.
    pub fn start_in_memory(need: u64) -> Self {
        Self::start_in(
            "127.0.0.1",
            Scratch::in_memory("seaweedfs", need + OWN_BYTES),
        )
    }

    fn start_in(address: &str, scratch: Scratch) -> Self {
        let weed = server_program("seaweedfs", "weed");
        let ports = Ports::pick();
        let endpoint = Endpoint::new(format!("http://{address}:{}", ports.s3));
        let keys = scratch.path().join("s3.json");
        fs::write(&keys, identities(&endpoint)).expect("a scratch directory can be written");
        let data = scratch.dir("data");
        let mut command = Command::new(weed);
        command
            .current_dir(scratch.path())
            .args(["-logtostderr=true", "server"])
            .arg(format!("-ip={address}"))
            .arg(format!("-ip.bind={address}"))
            .arg(format!("-dir={}", data.display()))
            .arg(format!("-s3.config={}", keys.display()))
            .args(["-filer.localSocket=filer.sock", "-s3.localSocket=s3.sock"])
            .args([
                "-master.telemetry=false",
                "-master.volumeSizeLimitMB=1024",
                "-volume.max=100",
            ])
            // It reserves this share of the disk by default, whatever the test needs.
            .arg("-volume.minFreeSpace=1")
            .args(["-filer", "-s3", "-s3.port.iceberg=0", "-s3.port.lance=0"])
            .args(ports.flags());
        let mut process = Process::start("SeaweedFS", &mut command, &scratch.path().join("log"));
        let client = S3Client::new(&endpoint);
        process.wait_ready(START, || client.can_create(PROBE));
        Self {
            process,
            sockets: ports.sockets(),
            filer: ports.filer(),
            endpoint,
            _scratch: scratch,
        }
    }

    /// Where it is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Where its filer is, as its own programs want to be told.
    pub fn filer(&self) -> String {
        self.filer.clone()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

impl Drop for SeaweedFs {
    fn drop(&mut self) {
        self.process.kill();
        for socket in &self.sockets {
            // It may never have been made.
            let _ = fs::remove_file(socket);
        }
    }
}

/// One user with every right.
fn identities(endpoint: &Endpoint) -> String {
    serde_json::json!({
        "identities": [{
            "name": "test",
            "credentials": [
                { "accessKey": endpoint.access_key, "secretKey": endpoint.secret_key }
            ],
            "actions": ["Admin", "Read", "List", "Tagging", "Write"],
        }]
    })
    .to_string()
}

/// The ports of its parts. Those for gRPC would otherwise be 10,000 more than the others,
/// which may be taken or not exist.
struct Ports {
    s3: u16,
    parts: [(&'static str, u16, u16); 4],
}

impl Ports {
    fn pick() -> Self {
        let [
            master,
            master_grpc,
            volume,
            volume_grpc,
            filer,
            filer_grpc,
            s3,
            s3_grpc,
        ] = free_ports();
        let parts = [
            ("master", master, master_grpc),
            ("volume", volume, volume_grpc),
            ("filer", filer, filer_grpc),
            ("s3", s3, s3_grpc),
        ];
        Self { s3, parts }
    }

    fn flags(&self) -> Vec<String> {
        let flags = |(part, http, grpc): &(&str, u16, u16)| {
            [
                format!("-{part}.port={http}"),
                format!("-{part}.port.grpc={grpc}"),
            ]
        };
        self.parts.iter().flat_map(flags).collect()
    }

    /// The filer's address with both ports.
    fn filer(&self) -> String {
        let filer = self.parts.iter().find(|(part, _, _)| *part == "filer");
        let (_, http, grpc) = filer.expect("the filer is one of the parts");
        format!("127.0.0.1:{http}.{grpc}")
    }

    /// Sockets that it makes outside its directory, by no choice of ours, and leaves
    /// there.
    fn sockets(&self) -> Vec<PathBuf> {
        let socket = |(part, _, grpc): &(&str, u16, u16)| {
            PathBuf::from(format!("/tmp/seaweedfs-{part}-grpc-{grpc}.sock"))
        };
        self.parts.iter().map(socket).collect()
    }
}
