//! Directories that cannot be used: a clear error each, and no harm done.

use std::os::unix::fs::symlink;

use forebay_core::ErrorKind;

use super::*;

#[test]
fn a_second_store_on_a_directory_is_told_who_holds_it() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    Sample::new(1, 10).put(&store);
    let error = Store::open(config(dir.path())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    let (text, pid) = (error.to_string(), std::process::id());
    assert!(
        text.contains(&format!("in use by process {pid} (")),
        "{text}"
    );
    assert!(text.contains(&dir.path().display().to_string()), "{text}");
    assert!(text.contains("--cache-dir"), "{text}");
    store.close();
    let next = Store::open(config(dir.path())).unwrap();
    assert_eq!(
        Sample::new(1, 10).present(&Sample::new(1, 10).lease(&next)),
        [0]
    );
}

#[test]
fn dropping_the_last_handle_gives_the_directory_back() {
    let dir = scratch();
    let store = Store::open(config(dir.path())).unwrap();
    let lease = Sample::new(1, 10).lease(&store);
    drop(store);
    assert!(Store::open(config(dir.path())).is_err());
    drop(lease);
    Store::open(config(dir.path())).unwrap();
}

#[test]
fn a_directory_with_foreign_files_is_refused_and_not_touched() {
    for (name, is_dir) in [("photo.jpg", false), ("objects", true), ("journal", false)] {
        let dir = scratch();
        match is_dir {
            true => fs::create_dir(dir.path().join(name)).unwrap(),
            false => fs::write(dir.path().join(name), "mine").unwrap(),
        }
        let error = Store::open(config(dir.path())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("is no cache"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

#[test]
fn a_fresh_file_system_s_lost_and_found_is_not_in_the_way() {
    let dir = scratch();
    fs::create_dir(dir.path().join("lost+found")).unwrap();
    Store::open(config(dir.path())).unwrap();
}

#[test]
fn a_first_start_that_was_cut_short_is_completed() {
    for leftovers in [&["LOCK"][..], &["LOCK", "FORMAT.new"]] {
        let dir = scratch();
        for name in leftovers {
            fs::write(dir.path().join(name), "").unwrap();
        }
        Store::open(config(dir.path())).unwrap();
    }
}

#[test]
fn another_layout_is_refused_by_name() {
    let dir = scratch();
    drop(Store::open(config(dir.path())).unwrap());
    fs::write(dir.path().join("FORMAT"), "forebay cache 7\n").unwrap();
    let error = Store::open(config(dir.path())).unwrap_err();
    assert!(error.to_string().contains("\"forebay cache 7\""), "{error}");
}

#[test]
fn a_file_in_the_place_of_the_directory_is_refused() {
    let dir = scratch();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [&file, &file.join("below")] {
        let error = Store::open(config(path)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("is not a directory"), "{error}");
    }
}

#[test]
fn a_link_to_a_directory_is_followed_and_missing_ones_are_made() {
    let dir = scratch();
    let (target, link) = (dir.path().join("target"), dir.path().join("link"));
    fs::create_dir(&target).unwrap();
    symlink(&target, &link).unwrap();
    let store = Store::open(config(&link.join("a/b"))).unwrap();
    Sample::new(1, CHUNK_SIZE).put(&store);
    assert_eq!(data_files(&target.join("a/b")).len(), 1);
}

#[test]
fn contradictory_configurations_are_refused() {
    let dir = scratch();
    let refused = |change: fn(&mut StoreConfig)| {
        let mut config = config(dir.path());
        change(&mut config);
        assert_eq!(
            Store::open(config).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
    };
    refused(|config| config.tiers.clear());
    refused(|config| config.tiers[0].quota = 0);
    refused(|config| config.tiers[0].low = 0.0);
    refused(|config| config.tiers[0].high = 1.1);
    refused(|config| config.tiers[0].high = f64::NAN);
    refused(|config| config.tiers[0].low = 0.99);
    refused(|config| config.pack_below = CHUNK_SIZE + 1);
}
