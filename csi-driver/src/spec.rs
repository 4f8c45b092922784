//! What is mounted on a node: everything that decides what a reader of it sees.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::secrets::Secrets;
use crate::volume_context::{DatasetName, Source, Tree};

/// Who brings the bytes of a dataset to a mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Supply {
    /// The mount itself fetches them, into a cache of its own.
    Source(Source),
    /// The cache server of the node, which knows the dataset by its name.
    Server {
        /// Its socket.
        socket: PathBuf,
    },
}

/// A dataset version as it is to be mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountSpec {
    /// The dataset.
    pub dataset: DatasetName,
    /// Who brings its bytes.
    pub supply: Supply,
    /// The pinned version, or its first digits; `None` is the latest when it is mounted.
    pub version: Option<String>,
    /// How files look and open.
    pub tree: Tree,
    /// The group of every file.
    pub gid: Option<u32>,
    /// Whether the credentials of the node are used, for want of others.
    pub node_credentials: bool,
}

/// Names a shared mount: the same for volumes that may share one, and for no others.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MountKey(String);

/// A text that is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 32 hexadecimal digits")]
pub struct InvalidKey;

impl MountKey {
    /// The key of `spec` with these credentials. Who has other credentials gets another
    /// mount: nobody reads with what somebody else brought.
    pub(crate) fn of(spec: &MountSpec, secrets: &Secrets, salt: &[u8]) -> Self {
        let mut hash = Xxh3::new();
        let spec = serde_json::to_vec(spec).expect("a spec is plain data");
        hash.update(&spec);
        hash.update(&secrets.fingerprint(salt));
        Self(format!("{:032x}", hash.digest128()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for MountKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 32 && text.bytes().all(digit) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidKey)
        }
    }
}

#[cfg(test)]
pub(crate) fn example() -> MountSpec {
    MountSpec {
        dataset: "team/images".parse().expect("a name"),
        supply: Supply::Source(Source {
            url: "s3://bucket".into(),
            endpoint: None,
            region: None,
            path_style: false,
            anonymous: false,
            include: Vec::new(),
            exclude: Vec::new(),
        }),
        version: None,
        tree: Tree::default(),
        gid: None,
        node_credentials: false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn secrets(value: &str) -> Secrets {
        Secrets::parse(&HashMap::from([("accessKeyId".into(), value.into())])).unwrap()
    }

    #[test]
    fn volumes_share_a_mount_only_if_everything_is_the_same() {
        let key = |spec: &MountSpec, secret| MountKey::of(spec, &secrets(secret), b"salt");
        let spec = example();
        assert_eq!(key(&spec, "a"), key(&spec.clone(), "a"));
        assert_ne!(key(&spec, "a"), key(&spec, "b"));
        let pinned = MountSpec {
            version: Some("abcd".into()),
            ..example()
        };
        let group = MountSpec {
            gid: Some(1),
            ..example()
        };
        assert_ne!(key(&spec, "a"), key(&pinned, "a"));
        assert_ne!(key(&spec, "a"), key(&group, "a"));
    }

    #[test]
    fn the_next_driver_gives_the_same_key() {
        // Else it would mount anew what the one before it has mounted.
        let key = MountKey::of(&example(), &Secrets::default(), b"salt");
        assert_eq!(key.as_str(), "80913cd24718e32be240b2de9d1c78a1");
    }

    #[test]
    fn a_key_is_read_back_and_nothing_else_is_one() {
        let key = MountKey::of(&example(), &Secrets::default(), b"");
        assert_eq!(key.as_str().parse(), Ok(key.clone()));
        for wrong in ["", "../../etc", "ABCDEF0123456789ABCDEF0123456789"] {
            assert_eq!(wrong.parse::<MountKey>(), Err(InvalidKey));
        }
    }
}
