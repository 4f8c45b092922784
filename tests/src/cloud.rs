//! Servers of objects that are not S3: Google's, Azure's and WebDAV, as far as a mount
//! asks them.
//!
//! What they answer is written after the providers' own references, and not after the
//! library that reads it: <https://cloud.google.com/storage/docs/xml-api/overview>,
//! <https://learn.microsoft.com/rest/api/storageservices/list-blobs> and RFC 4918.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::http_server::{Answer, HttpServer, Question, answer};
use crate::mount::MountCommand;

mod listing;
mod objects;

use objects::Objects;

/// The account that Azure's containers belong to, and its key.
const ACCOUNT: (&str, &str) = ("acc", "aHVudGVyMi1pcy10aGUta2V5");

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `gs://`: the XML API of Google Cloud Storage.
    Google,
    /// `az://`: Azure Blob Storage, with the key of an account.
    Azure,
    /// `http://`: WebDAV.
    WebDav,
}

/// A server with one bucket, container or collection of the name [`Cloud::NAME`].
#[derive(Debug)]
pub struct Cloud {
    protocol: Protocol,
    objects: Arc<Mutex<Objects>>,
    server: HttpServer,
}

impl Cloud {
    /// The name of what has the objects.
    pub const NAME: &'static str = "data";

    /// An empty one.
    ///
    /// # Panics
    /// If the server does not start.
    pub fn start(protocol: Protocol) -> Self {
        let objects = Arc::<Mutex<Objects>>::default();
        let served = Arc::clone(&objects);
        let server =
            HttpServer::start(move |question| answer_to(protocol, &mut lock(&served), question));
        Self {
            protocol,
            objects,
            server,
        }
    }

    /// Puts an object, over one of the same key if there is one.
    pub fn put(&self, key: &str, content: impl Into<Vec<u8>>) {
        lock(&self.objects).put(key, content.into());
    }

    /// How many reads of objects it has been asked for.
    pub fn reads(&self) -> u64 {
        lock(&self.objects).reads()
    }

    /// A mount of what is called `name` there, in the directory `dir`.
    pub fn mount(&self, name: &str, dir: &Path) -> MountCommand {
        let url = self.server.url();
        match self.protocol {
            Protocol::Google => MountCommand::new(&format!("gs://{name}"), dir).args(&[
                "--endpoint",
                url,
                "--anonymous",
            ]),
            Protocol::Azure => MountCommand::new(&format!("az://{name}"), dir)
                .args(&["--endpoint", url])
                .env("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT.0)
                .env("AZURE_STORAGE_ACCOUNT_KEY", ACCOUNT.1),
            Protocol::WebDav => MountCommand::new(&format!("{url}/{name}"), dir),
        }
    }
}

fn lock(objects: &Mutex<Objects>) -> MutexGuard<'_, Objects> {
    objects.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer_to(protocol: Protocol, objects: &mut Objects, question: &Question) -> Answer {
    let is_signed = question
        .headers()
        .get("authorization")
        .is_some_and(|shown| shown.as_bytes().starts_with(b"SharedKey acc:"));
    if protocol == Protocol::Azure && !is_signed {
        return answer(403, "");
    }
    let path = listing::decoded(question.uri().path());
    let path = path.trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    if bucket != Cloud::NAME {
        return answer(404, "");
    }
    match (protocol, question.method().as_str()) {
        (Protocol::WebDav, "PROPFIND") => listing::webdav(objects, key),
        (Protocol::Google, "GET") if key.is_empty() => listing::google(objects, question),
        (Protocol::Azure, "GET") if key.is_empty() => listing::azure(objects, question),
        (_, "GET") => objects.get(key, question.headers()),
        _ => answer(405, ""),
    }
}
