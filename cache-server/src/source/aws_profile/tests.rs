use super::*;

/// A directory with both files, and the environment that points there.
struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new(credentials: &str, config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(".aws")).unwrap();
        std::fs::write(dir.path().join(".aws/credentials"), credentials).unwrap();
        std::fs::write(dir.path().join(".aws/config"), config).unwrap();
        Self { dir }
    }

    fn profile(&self, name: &str) -> Result<Option<Profile>, Error> {
        let home = self.dir.path().to_str().unwrap();
        Profile::load(&Environment::from([("HOME", home), ("AWS_PROFILE", name)]))
    }
}

const CREDENTIALS: &str = "\
# made by hand
[default]
aws_access_key_id = AKDEFAULT
aws_secret_access_key = se#cret= ; a comment

[ work ]
AWS_ACCESS_KEY_ID=AKWORK
aws_secret_access_key=hunter2
aws_session_token=t0ken
region = eu-west-1
[half]
aws_access_key_id = AKHALF
";

const CONFIG: &str = "\
[default]
region = us-west-2
[profile work]
region = ap-south-1
endpoint_url = http://127.0.0.1:9000
s3 =
  endpoint_url = http://nested
  max_concurrent_requests = 20
[profile sso]
sso_session = corp
region = us-east-2
[profile bare]
output = json
[sso-session corp]
sso_start_url = https://example
";

fn home() -> Home {
    Home::new(CREDENTIALS, CONFIG)
}

#[test]
fn the_default_profile_is_read_when_none_is_named() {
    let profile = home().profile("").unwrap().unwrap();
    let credential = profile.credential().unwrap().unwrap();
    assert_eq!(credential.key_id, "AKDEFAULT");
    assert_eq!(credential.secret_key, "se#cret=");
    assert_eq!(credential.token, None);
    assert_eq!(profile.get("region"), Some("us-west-2"));
}

#[test]
fn both_files_make_one_profile_and_the_credentials_file_wins() {
    let profile = home().profile("work").unwrap().unwrap();
    let credential = profile.credential().unwrap().unwrap();
    assert_eq!(
        (&*credential.key_id, &*credential.secret_key),
        ("AKWORK", "hunter2")
    );
    assert_eq!(credential.token.as_deref(), Some("t0ken"));
    assert_eq!(profile.get("region"), Some("eu-west-1"));
    assert_eq!(profile.get("endpoint_url"), Some("http://127.0.0.1:9000"));
}

#[test]
fn a_profile_that_no_file_has_is_named_with_both_files() {
    let home = home();
    // A config section without the word "profile" is not a profile.
    for name in ["nobody", "corp", "sso-session corp"] {
        let message = home.profile(name).err().unwrap().to_string();
        assert!(message.contains(name), "{message}");
        assert!(message.contains(".aws/credentials") && message.contains(".aws/config"));
    }
}

#[test]
fn without_files_there_is_no_default_profile() {
    let dir = tempfile::tempdir().unwrap();
    let environment = Environment::from([("HOME", dir.path().to_str().unwrap())]);
    assert!(Profile::load(&environment).unwrap().is_none());
}

#[test]
fn credentials_from_elsewhere_are_refused_by_name() {
    let message = home()
        .profile("sso")
        .unwrap()
        .unwrap()
        .credential()
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("\"sso\"") && message.contains("single sign-on"),
        "{message}"
    );
    assert!(message.contains("export-credentials"), "{message}");
    let message = home()
        .profile("half")
        .unwrap()
        .unwrap()
        .credential()
        .unwrap_err()
        .to_string();
    assert!(message.contains("no aws_secret_access_key"), "{message}");
    assert!(
        home()
            .profile("bare")
            .unwrap()
            .unwrap()
            .credential()
            .unwrap()
            .is_none()
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_not_quoted() {
    let home = Home::new("[default]\nhunter2\n", "");
    let message = home.profile("").err().unwrap().to_string();
    assert!(message.contains(".aws/credentials: line 2"), "{message}");
    assert!(!message.contains("hunter2"), "{message}");
}
