use proptest::prelude::*;

use super::*;

fn parse(pairs: &[(&str, &str)]) -> Result<VolumeContext, InvalidAttribute> {
    let mut map: HashMap<_, _> = [("dataset".to_owned(), "team/images".to_owned())].into();
    let owned = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    map.extend(owned);
    VolumeContext::parse(&map)
}

#[test]
fn a_volume_needs_a_dataset_and_little_else() {
    let context = parse(&[("url", "s3://bucket/prefix")]).unwrap();
    assert_eq!(context.dataset.to_string(), "dataset team/images");
    assert_eq!(context.source.unwrap().url, "s3://bucket/prefix");
    assert_eq!((context.version, context.sub_path.as_str()), (None, ""));
    let missing = VolumeContext::parse(&HashMap::new()).unwrap_err();
    assert_eq!(missing.to_string(), "attribute dataset is missing");
}

#[test]
fn every_attribute_is_read() {
    let context = parse(&[
        ("url", "s3://bucket"),
        ("endpoint", "http://store:9000"),
        ("region", "eu"),
        ("pathStyle", "true"),
        ("anonymous", "true"),
        ("include", "a/**\nb/**\n"),
        ("exclude", "*.tmp"),
        ("version", "ABCD12"),
        ("subPath", "/train/x/"),
        ("readMode", "random"),
        ("openMode", "no-open"),
        ("uid", "7"),
        ("fileMode", "0440"),
        ("dirMode", "0550"),
        ("originTimeout", "5s"),
        (EPHEMERAL, "true"),
        (POD_NAMESPACE, "team"),
        (POD_NAME, "pod"),
        ("storage.kubernetes.io/csiProvisionerIdentity", "x"),
    ])
    .unwrap();
    let source = context.source.unwrap();
    assert_eq!(source.include, ["a/**", "b/**"]);
    assert!(source.path_style && source.anonymous && context.ephemeral);
    assert_eq!(context.version.as_deref(), Some("abcd12"));
    assert_eq!(context.sub_path, "train/x");
    assert_eq!(context.tree.uid, Some(7));
    assert_eq!(context.tree.read_mode, Some(ReadMode::Random));
    assert_eq!(context.pod.unwrap().namespace, "team");
}

#[test]
fn a_credential_among_the_attributes_is_refused_by_name() {
    let error = parse(&[("secretAccessKey", "hunter2")])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("secretAccessKey") && error.contains("Secret"),
        "{error}"
    );
    assert!(!error.contains("hunter2"), "{error}");
    let error = parse(&[("url", "s3://key:hunter2@bucket")])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("Secret") && !error.contains("hunter2"),
        "{error}"
    );
}

#[test]
fn a_wrong_value_names_the_attribute_and_what_would_be_right() {
    for (key, value) in [
        ("dataset", "images"),
        ("dataset", "Team/images"),
        ("dataset", "a/b/c"),
        ("version", "newest"),
        ("subPath", "a/../b"),
        ("subPath", "a//b"),
        ("uid", "root"),
        ("fileMode", "999"),
        ("readMode", "backwards"),
        ("openMode", "a b"),
        ("url", "bucket"),
        ("url", "--config=x://y"),
    ] {
        let error = parse(&[("url", "s3://b"), (key, value)])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(key) && error.contains("expected"),
            "{key}={value}: {error}"
        );
    }
    assert!(parse(&[("url", "s3://b"), ("anonymous", "yes")]).is_err());
}

proptest! {
    #[test]
    fn no_sub_path_leads_out_of_the_dataset(path in "[a-c./]{0,12}") {
        if let Ok(context) = parse(&[("subPath", &path)]) {
            prop_assert!(!context.sub_path.starts_with('/'));
            prop_assert!(context.sub_path.split('/').all(|part| part != ".." && part != "."));
        }
    }
}
