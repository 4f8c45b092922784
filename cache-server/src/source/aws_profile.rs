//! The profile files of AWS: `~/.aws/credentials` and `~/.aws/config`.
//!
//! Only what a mount needs is read: static keys, region and endpoint. A profile that
//! gets its credentials another way (SSO, a role, a process) is refused with words that
//! say so, and not half understood. The format is that of the AWS SDKs reference guide:
//! sections, `key = value`, comments from `#` or `;`, and indented lines that belong to
//! the line above.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use object_store::aws::AwsCredential;

use super::Error;
use super::environment::Environment;

/// The profile that is meant when none is named.
const DEFAULT: &str = "default";

/// Keys that say that the credentials come from elsewhere, and from where.
const ELSEWHERE: [(&str, &str); 7] = [
    ("sso_session", "single sign-on"),
    ("sso_start_url", "single sign-on"),
    ("login_session", "a login session"),
    ("credential_process", "another program"),
    ("role_arn", "a role"),
    ("credential_source", "a role"),
    ("web_identity_token_file", "a token file"),
];

type Properties = BTreeMap<String, String>;

/// One profile, of both files together; the credentials file wins.
pub(super) struct Profile {
    /// Its name.
    pub(super) name: String,
    properties: Properties,
    path: PathBuf,
}

impl Profile {
    /// The profile that `AWS_PROFILE` names, or the default one. `None` if that does
    /// not exist and was not named.
    pub(super) fn load(environment: &Environment) -> Result<Option<Self>, Error> {
        let file = |variable, default| match environment.get(variable) {
            Some(path) => PathBuf::from(path),
            None => environment.home_file(default),
        };
        let credentials = file("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials");
        let config = file("AWS_CONFIG_FILE", ".aws/config");
        let named = environment.get("AWS_PROFILE");
        let name = named.unwrap_or(DEFAULT);
        let in_config = section(&config, |header| header_of_config(header) == Some(name))?;
        let in_credentials = section(&credentials, |header| header == name)?;
        let path = if in_credentials.is_some() {
            &credentials
        } else {
            &config
        }
        .clone();
        match (in_config, in_credentials) {
            (None, None) if named.is_none() => Ok(None),
            (None, None) => Err(Error::UnknownProfile {
                profile: name.to_owned(),
                credentials,
                config,
            }),
            (in_config, in_credentials) => {
                let mut properties = in_config.unwrap_or_default();
                properties.extend(in_credentials.unwrap_or_default());
                Ok(Some(Self {
                    name: name.to_owned(),
                    properties,
                    path,
                }))
            }
        }
    }

    /// A property that is no secret.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.properties
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// The static keys; `None` if the profile says nothing about credentials.
    pub(super) fn credential(&self) -> Result<Option<AwsCredential>, Error> {
        let unusable = |reason: String| Error::UnusableProfile {
            profile: self.name.clone(),
            path: self.path.clone(),
            reason,
        };
        match (
            self.get("aws_access_key_id"),
            self.get("aws_secret_access_key"),
        ) {
            (Some(key_id), Some(secret_key)) => Ok(Some(AwsCredential {
                key_id: key_id.to_owned(),
                secret_key: secret_key.to_owned(),
                token: self.get("aws_session_token").map(str::to_owned),
            })),
            (Some(_), None) => Err(unusable("it has no aws_secret_access_key".to_owned())),
            (None, Some(_)) => Err(unusable("it has no aws_access_key_id".to_owned())),
            (None, None) => match ELSEWHERE.iter().find(|(key, _)| self.get(key).is_some()) {
                None => Ok(None),
                Some((key, source)) => Err(unusable(format!(
                    "its credentials come from {source} ({key}), which is not supported; \
                     put keys into the environment, for example with \
                     `eval \"$(aws configure export-credentials --format env)\"`"
                ))),
            },
        }
    }
}

/// `[profile name]` of a config file, where only the default goes without the word.
fn header_of_config(header: &str) -> Option<&str> {
    match header.strip_prefix("profile") {
        Some(name) if name.starts_with([' ', '\t']) => Some(name.trim_start()),
        _ => (header == DEFAULT).then_some(header),
    }
}

/// The properties of the sections of a file whose header is `wanted`; `None` if there
/// is no such section, or no file.
fn section(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<Option<Properties>, Error> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(Error::ProfileFile {
                path: path.into(),
                reason: error.to_string(),
            });
        }
    };
    parse(&text, wanted).map_err(|reason| Error::ProfileFile {
        path: path.to_owned(),
        reason,
    })
}

fn parse(text: &str, wanted: impl Fn(&str) -> bool) -> Result<Option<Properties>, String> {
    let mut found: Option<Properties> = None;
    let mut inside = false;
    for (number, line) in text.lines().enumerate() {
        // An indented line belongs to the property above, which is none of ours.
        if line.starts_with([' ', '\t']) || line.trim().is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            // The line itself may hold a secret that was misplaced: only its number.
            let Some((header, _)) = rest.split_once(']') else {
                return Err(format!("line {}: a section without its \"]\"", number + 1));
            };
            inside = wanted(header.trim());
            if inside {
                found.get_or_insert_default();
            }
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            return Err(format!(
                "line {}: neither a section nor key = value",
                number + 1
            ));
        };
        if let (true, Some(properties)) = (inside, &mut found) {
            let value = without_comment(value).trim().to_owned();
            properties.insert(key.trim().to_ascii_lowercase(), value);
        }
    }
    Ok(found)
}

/// A comment behind a value starts with a blank: keys contain `#` now and then.
fn without_comment(value: &str) -> &str {
    let comment = [" #", " ;", "\t#", "\t;"]
        .iter()
        .filter_map(|start| value.find(start))
        .min();
    &value[..comment.unwrap_or(value.len())]
}

#[cfg(test)]
mod tests;
