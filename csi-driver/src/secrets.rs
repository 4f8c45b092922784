//! Credentials of a volume. They come with a call, go into the environment of the
//! process that serves the mount and into a file on tmpfs, and are printed nowhere.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use ring::hmac;
use serde::{Deserialize, Serialize};

/// Keys of a Secret and the variable that each becomes. A key may also be the variable.
const KEYS: [(&str, &str); 8] = [
    ("accessKeyId", "AWS_ACCESS_KEY_ID"),
    ("secretAccessKey", "AWS_SECRET_ACCESS_KEY"),
    ("sessionToken", "AWS_SESSION_TOKEN"),
    ("serviceAccountKey", "GOOGLE_SERVICE_ACCOUNT_KEY"),
    ("accountName", "AZURE_STORAGE_ACCOUNT_NAME"),
    ("accountKey", "AZURE_STORAGE_ACCOUNT_KEY"),
    ("sasToken", "AZURE_STORAGE_SAS_TOKEN"),
    ("token", "AZURE_STORAGE_TOKEN"),
];

/// A key of a Secret that is no credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the Secret has the key {key:?}, which is no credential of an object store; the keys are {}",
    known()
)]
pub struct UnknownKey {
    key: String,
}

/// The credentials of a volume, by the variables of the environment that carry them.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secrets(BTreeMap<String, String>);

impl Secrets {
    /// Reads them from the map of a call.
    ///
    /// # Errors
    /// [`UnknownKey`]: what is passed on is chosen here, and not by who writes the Secret.
    pub fn parse(map: &HashMap<String, String>) -> Result<Self, UnknownKey> {
        let variable = |key: &str| {
            let known = KEYS
                .iter()
                .find(|(name, variable)| key == *name || key == *variable);
            known.map(|(_, variable)| (*variable).to_owned())
        };
        let pairs = map.iter().map(|(key, value)| match variable(key) {
            Some(variable) => Ok((variable, value.clone())),
            None => Err(UnknownKey { key: key.clone() }),
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The variables for the process that serves the mount.
    pub fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Tells these from others without telling what they are: nobody who does not know
    /// `salt` can try guesses against it.
    pub(crate) fn fingerprint(&self, salt: &[u8]) -> [u8; 16] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, salt);
        let mut context = hmac::Context::with_key(&key);
        for (name, value) in &self.0 {
            for part in [name, value] {
                context.update(&(part.len() as u64).to_le_bytes());
                context.update(part.as_bytes());
            }
        }
        let mut short = [0; 16];
        short.copy_from_slice(&context.sign().as_ref()[..16]);
        short
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

fn known() -> String {
    KEYS.map(|(name, _)| name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        let owned = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        owned.collect()
    }

    #[test]
    fn both_spellings_of_a_key_are_one_variable() {
        let short = Secrets::parse(&map(&[("accessKeyId", "a"), ("secretAccessKey", "b")]));
        let long = map(&[("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")]);
        assert_eq!(short, Secrets::parse(&long));
    }

    #[test]
    fn a_secret_cannot_set_any_variable_it_likes() {
        let error = Secrets::parse(&map(&[("LD_PRELOAD", "/tmp/evil.so")])).unwrap_err();
        assert!(error.to_string().contains("LD_PRELOAD"), "{error}");
        assert!(!error.to_string().contains("evil"), "{error}");
    }

    #[test]
    fn debug_shows_names_and_no_values() {
        let secrets = Secrets::parse(&map(&[("secretAccessKey", "hunter2")])).unwrap();
        let shown = format!("{secrets:?}");
        assert!(shown.contains("AWS_SECRET_ACCESS_KEY"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_fingerprint_tells_secrets_apart_and_needs_the_salt() {
        let one = Secrets::parse(&map(&[("accessKeyId", "a"), ("secretAccessKey", "bc")])).unwrap();
        let two = Secrets::parse(&map(&[("accessKeyId", "ab"), ("secretAccessKey", "c")])).unwrap();
        assert_ne!(one.fingerprint(b"salt"), two.fingerprint(b"salt"));
        assert_eq!(one.fingerprint(b"salt"), one.clone().fingerprint(b"salt"));
        assert_ne!(one.fingerprint(b"salt"), one.fingerprint(b"pepper"));
    }
}
