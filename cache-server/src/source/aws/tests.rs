use super::*;

const ENDPOINT: &str = "http://127.0.0.1:9000";

fn bucket() -> Bucket {
    Bucket {
        name: "b".into(),
        prefix: "p/".into(),
    }
}

fn resolve<const N: usize>(
    connection: &Connection,
    environment: [(&str, &str); N],
) -> Result<Access, Error> {
    crate::origin::install_crypto_provider();
    // No variable may lead to the files of whoever runs the tests.
    let mut variables = vec![("HOME".to_owned(), "/nonexistent".to_owned())];
    variables.extend(environment.map(|(name, value)| (name.to_owned(), value.to_owned())));
    Access::resolve(&bucket(), connection, &variables.into_iter().collect())
}

fn credentials<const N: usize>(environment: [(&str, &str); N]) -> String {
    format!(
        "{:?}",
        resolve(&Connection::default(), environment)
            .unwrap()
            .credentials
    )
}

#[test]
fn a_flag_beats_the_environment_and_the_environment_the_default() {
    let region = |connection, environment: [(&str, &str); 2]| {
        resolve(connection, environment).unwrap().region
    };
    let flags = Connection {
        region: Some("eu-west-1".into()),
        ..Connection::default()
    };
    let none = Connection::default();
    let both = [
        ("AWS_REGION", "us-west-1"),
        ("AWS_DEFAULT_REGION", "us-west-2"),
    ];
    assert_eq!(region(&flags, both), "eu-west-1");
    assert_eq!(region(&none, both), "us-west-1");
    assert_eq!(region(&none, [("AWS_REGION", ""), both[1]]), "us-west-2");
    assert_eq!(resolve(&none, []).unwrap().region, "us-east-1");
}

#[test]
fn an_endpoint_of_ones_own_is_part_of_the_identity() {
    let flags = Connection {
        endpoint: Some(ENDPOINT.into()),
        ..Connection::default()
    };
    let access = resolve(&flags, [("AWS_ENDPOINT_URL", "http://other")]).unwrap();
    assert_eq!(access.server.as_deref(), Some("127.0.0.1:9000"));
    let access = resolve(&Connection::default(), [("AWS_ENDPOINT_URL_S3", ENDPOINT)]).unwrap();
    assert_eq!(access.server.as_deref(), Some("127.0.0.1:9000"));
    assert_eq!(resolve(&Connection::default(), []).unwrap().server, None);
}

#[test]
fn a_wrong_option_is_named_and_its_secret_is_not() {
    for (endpoint, words) in [
        ("localhost:9000", "write http://host:port"),
        ("9000", "write http://host:port"),
        ("ftp://host", "write http://host:port"),
        ("http://user:hunter2@host", "it carries credentials"),
        ("http://host/?token=hunter2", "it carries credentials"),
    ] {
        let flags = Connection {
            endpoint: Some(endpoint.into()),
            ..Connection::default()
        };
        let message = resolve(&flags, []).unwrap_err().to_string();
        assert!(
            message.contains("--endpoint") && message.contains(words),
            "{message}"
        );
        assert!(!message.contains("hunter2"), "{message}");
    }
    let flags = Connection {
        region: Some("eu west".into()),
        ..Connection::default()
    };
    assert!(
        resolve(&flags, [])
            .unwrap_err()
            .to_string()
            .contains("--region eu west")
    );
}

#[test]
fn credentials_are_taken_in_the_stated_order() {
    let keys = [
        ("AWS_ACCESS_KEY_ID", "AK"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
    ];
    let web = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"),
    ];
    assert_eq!(
        credentials([keys[0], keys[1], web[0], web[1]]),
        "Provided(the environment)"
    );
    assert_eq!(credentials(web), "Provided(web identity)");
    let container = [("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/c")];
    assert_eq!(
        credentials(container),
        "Provided(the container's credential service)"
    );
    assert_eq!(credentials([]), "Provided(the instance's metadata service)");
    assert_eq!(
        credentials([("AWS_EC2_METADATA_DISABLED", "true")]),
        "Missing"
    );
    let anonymous = Connection {
        anonymous: true,
        ..Connection::default()
    };
    let access = resolve(&anonymous, keys).unwrap();
    assert_eq!(format!("{:?}", access.credentials), "Anonymous");
}

#[test]
fn the_default_profile_comes_after_web_identity_and_a_named_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("credentials");
    let keys = "aws_access_key_id = AK\naws_secret_access_key = hunter2\n";
    std::fs::write(&path, format!("[default]\n{keys}[work]\n{keys}")).unwrap();
    let file = ("AWS_SHARED_CREDENTIALS_FILE", path.to_str().unwrap());
    let web = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"),
    ];
    assert_eq!(credentials([file]), "Provided(profile \"default\")");
    assert_eq!(
        credentials([file, web[0], web[1]]),
        "Provided(web identity)"
    );
    let named = ("AWS_PROFILE", "work");
    assert_eq!(
        credentials([file, web[0], web[1], named]),
        "Provided(profile \"work\")"
    );
}

#[test]
fn an_agent_of_the_node_without_a_token_for_it_is_an_error_with_the_way_out() {
    let agent = (
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "http://169.254.170.23/v1",
    );
    let error = resolve(&Connection::default(), [agent]).unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
        "{message}"
    );
    let token = ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/token");
    assert_eq!(
        credentials([agent, token]),
        "Provided(the container's credential service)"
    );
}

#[test]
fn half_a_pair_of_keys_is_an_error_without_the_key() {
    let error = resolve(
        &Connection::default(),
        [("AWS_SECRET_ACCESS_KEY", "hunter2")],
    );
    let message = error.unwrap_err().to_string();
    assert!(message.contains("AWS_ACCESS_KEY_ID is not"), "{message}");
    assert!(!message.contains("hunter2"), "{message}");
}
