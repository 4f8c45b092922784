//! The attributes of a volume, typed. They are written into a PersistentVolume, a
//! StorageClass or a pod, where anybody may read them: nothing secret belongs there.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What Kubernetes adds by itself.
const KUBERNETES: [&str; 2] = ["csi.storage.k8s.io/", "storage.kubernetes.io/"];
const EPHEMERAL: &str = "csi.storage.k8s.io/ephemeral";
const POD_NAMESPACE: &str = "csi.storage.k8s.io/pod.namespace";
const POD_NAME: &str = "csi.storage.k8s.io/pod.name";

/// The attributes that a volume can have.
const KEYS: [&str; 16] = [
    "dataset",
    "url",
    "endpoint",
    "region",
    "pathStyle",
    "anonymous",
    "include",
    "exclude",
    "version",
    "subPath",
    "readMode",
    "openMode",
    "uid",
    "fileMode",
    "dirMode",
    "originTimeout",
];

/// A value must fit on a command line with the others.
const LONGEST: usize = 4096;

/// An attribute that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAttribute {
    /// It is not known.
    #[error("attribute {key:?} is not known; the attributes are {}. Credentials belong in a Secret that nodeStageSecretRef or nodePublishSecretRef names", KEYS.join(", "))]
    Unknown {
        /// Its name.
        key: String,
    },
    /// Its value is wrong.
    #[error("attribute {key} is {value:?}: {problem}")]
    Value {
        /// Its name.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is wrong about it, and what would be right.
        problem: &'static str,
    },
    /// Its value is wrong, and may hold a password.
    #[error("attribute {key}: {problem}")]
    Hidden {
        /// Its name.
        key: &'static str,
        /// What is wrong about it, and what would be right.
        problem: &'static str,
    },
    /// It must be there and is not.
    #[error("attribute {key} is missing")]
    Missing {
        /// Its name.
        key: &'static str,
    },
}

/// A dataset: `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DatasetName {
    /// The namespace that it belongs to.
    pub namespace: String,
    /// Its name there.
    pub name: String,
}

impl FromStr for DatasetName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((namespace, name)) if is_label(namespace) && is_label(name) => Ok(Self {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            }),
            _ => Err("expected namespace/name, each of lower-case letters, digits, `-` and `.`"),
        }
    }
}

impl DatasetName {
    /// As users write it: `namespace/name`.
    pub(crate) fn path(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for DatasetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dataset {}", self.path())
    }
}

/// A name as Kubernetes has them.
fn is_label(text: &str) -> bool {
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    (1..=253).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with(['-', '.'])
}

/// Where a dataset's objects are, as a volume says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The URL of the bucket and prefix.
    pub url: String,
    /// The address of the object store.
    pub endpoint: Option<String>,
    /// The region of the bucket.
    pub region: Option<String>,
    /// Whether the bucket is in the path.
    pub path_style: bool,
    /// Whether to send no credentials.
    pub anonymous: bool,
    /// Globs of what is shown.
    pub include: Vec<String>,
    /// Globs of what is hidden.
    pub exclude: Vec<String>,
}

/// In which order files are read, where a volume says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadMode {
    /// From their beginning to their end.
    Sequential,
    /// Here and there.
    Random,
}

impl ReadMode {
    /// Reads an attribute; `auto`, which leaves it to the mount, is `None`.
    fn read(text: &str) -> Result<Option<Self>, &'static str> {
        match text {
            "auto" => Ok(None),
            "sequential" => Ok(Some(Self::Sequential)),
            "random" => Ok(Some(Self::Random)),
            _ => Err("expected auto, sequential or random"),
        }
    }
}

/// How files look and open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// The owner of every file.
    pub uid: Option<u32>,
    /// The mode of every file, in octal.
    pub file_mode: Option<String>,
    /// The mode of every directory, in octal.
    pub dir_mode: Option<String>,
    /// In which order they are read. Left out where nothing is said: the keys of mounts
    /// that a driver without this field has made stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_mode: Option<ReadMode>,
    /// How files are opened: the value of `--open-mode`.
    pub open_mode: Option<String>,
    /// How long a read waits for the source: the value of `--origin-timeout`.
    pub origin_timeout: Option<String>,
}

/// The pod that a volume is published for, as the kubelet says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// The attributes of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeContext {
    /// The dataset.
    pub dataset: DatasetName,
    /// Where its objects are, if the volume says so itself.
    pub source: Option<Source>,
    /// The pinned version, or its first digits; `None` is the latest.
    pub version: Option<String>,
    /// The directory of the dataset that is shown; empty for all of it.
    pub sub_path: String,
    /// How files look and open.
    pub tree: Tree,
    /// Whether the volume is written in the pod itself and lives as long as it.
    pub ephemeral: bool,
    /// The pod, in a call to publish.
    pub pod: Option<Pod>,
}

impl VolumeContext {
    /// Reads the attributes of a volume.
    ///
    /// # Errors
    /// [`InvalidAttribute`], for the first that is wrong.
    pub fn parse(map: &HashMap<String, String>) -> Result<Self, InvalidAttribute> {
        for (key, value) in map {
            let theirs = KUBERNETES.iter().any(|prefix| key.starts_with(prefix));
            if !theirs && !KEYS.contains(&key.as_str()) {
                return Err(InvalidAttribute::Unknown { key: key.clone() });
            }
            // A new line would begin another value, and a NUL ends one.
            if value.len() > LONGEST || value.contains('\0') {
                return Err(InvalidAttribute::Unknown { key: key.clone() });
            }
        }
        let attributes = Attributes(map);
        let dataset = attributes
            .text("dataset")
            .ok_or(InvalidAttribute::Missing { key: "dataset" })?;
        Ok(Self {
            dataset: checked("dataset", dataset, DatasetName::from_str)?,
            source: attributes.source()?,
            version: attributes.version()?,
            sub_path: attributes.sub_path()?,
            tree: attributes.tree()?,
            ephemeral: map.get(EPHEMERAL).is_some_and(|value| value == "true"),
            pod: attributes.pod(),
        })
    }
}

struct Attributes<'a>(&'a HashMap<String, String>);

impl<'a> Attributes<'a> {
    fn text(&self, key: &str) -> Option<&'a str> {
        self.0
            .get(key)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
    }

    fn owned(&self, key: &str) -> Option<String> {
        self.text(key).map(str::to_owned)
    }

    fn switch(&self, key: &'static str) -> Result<bool, InvalidAttribute> {
        self.text(key).map_or(Ok(false), |value| {
            checked(key, value, |value| {
                value.parse().map_err(|_| "expected true or false")
            })
        })
    }

    fn lines(&self, key: &str) -> Vec<String> {
        let lines = self.text(key).unwrap_or_default().lines().map(str::trim);
        lines
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect()
    }

    fn source(&self) -> Result<Option<Source>, InvalidAttribute> {
        let Some(url) = self.text("url") else {
            return Ok(None);
        };
        Ok(Some(Source {
            url: plain_url("url", url)?,
            endpoint: self
                .text("endpoint")
                .map(|url| plain_url("endpoint", url))
                .transpose()?,
            region: self.owned("region"),
            path_style: self.switch("pathStyle")?,
            anonymous: self.switch("anonymous")?,
            include: self.lines("include"),
            exclude: self.lines("exclude"),
        }))
    }

    fn version(&self) -> Result<Option<String>, InvalidAttribute> {
        let pinned = self.text("version").filter(|version| *version != "latest");
        let pinned = pinned.map(|version| checked("version", version, hexadecimal));
        pinned.transpose()
    }

    fn sub_path(&self) -> Result<String, InvalidAttribute> {
        let path = self.text("subPath").unwrap_or_default().trim_matches('/');
        checked("subPath", path, |path| {
            let good = |part: &str| !part.is_empty() && part != "." && part != "..";
            if path.is_empty() || path.split('/').all(good) {
                Ok(path.to_owned())
            } else {
                Err("expected a path below the dataset's root, without `.`, `..` and empty parts")
            }
        })
    }

    fn tree(&self) -> Result<Tree, InvalidAttribute> {
        let number = |value: &str| value.parse().map_err(|_| "expected a number");
        let one_of = |key, check: fn(&str) -> Result<String, &'static str>| {
            self.text(key)
                .map(|value| checked(key, value, check))
                .transpose()
        };
        Ok(Tree {
            uid: self
                .text("uid")
                .map(|value| checked("uid", value, number))
                .transpose()?,
            file_mode: one_of("fileMode", octal)?,
            dir_mode: one_of("dirMode", octal)?,
            read_mode: self
                .text("readMode")
                .map_or(Ok(None), |value| checked("readMode", value, ReadMode::read))?,
            open_mode: one_of("openMode", word)?,
            origin_timeout: one_of("originTimeout", word)?,
        })
    }

    fn pod(&self) -> Option<Pod> {
        Some(Pod {
            namespace: self.owned(POD_NAMESPACE)?,
            name: self.owned(POD_NAME)?,
        })
    }
}

fn checked<T>(
    key: &'static str,
    value: &str,
    check: impl FnOnce(&str) -> Result<T, &'static str>,
) -> Result<T, InvalidAttribute> {
    check(value).map_err(|problem| InvalidAttribute::Value {
        key,
        value: value.to_owned(),
        problem,
    })
}

/// A URL without a password, and that no flag parser can take for an option.
fn plain_url(key: &'static str, value: &str) -> Result<String, InvalidAttribute> {
    let problem = match value.split_once("://") {
        None => "expected a URL, such as s3://bucket/prefix",
        Some((scheme, _)) if !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            "expected a URL, such as s3://bucket/prefix"
        }
        Some((_, rest)) if rest.split('/').next().unwrap_or_default().contains('@') => {
            "it has a user or a password in it; credentials belong in a Secret"
        }
        Some(_) => return Ok(value.to_owned()),
    };
    Err(InvalidAttribute::Hidden { key, problem })
}

fn hexadecimal(version: &str) -> Result<String, &'static str> {
    let digits = version.bytes().all(|byte| byte.is_ascii_hexdigit());
    if digits && (4..=32).contains(&version.len()) {
        return Ok(version.to_ascii_lowercase());
    }
    Err("expected `latest`, or 4 to 32 hexadecimal digits as `forebay versions` prints them")
}

fn octal(mode: &str) -> Result<String, &'static str> {
    match u16::from_str_radix(mode, 8) {
        Ok(bits) if bits <= 0o777 => Ok(mode.to_owned()),
        _ => Err("expected an octal mode from 0000 to 0777"),
    }
}

fn word(text: &str) -> Result<String, &'static str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if text.len() <= 64 && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    Err("expected one word")
}

#[cfg(test)]
mod tests;
