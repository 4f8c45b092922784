//! What is beside the manifests of a directory, and who has them open.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::time::SystemTime;

use super::*;

#[test]
fn a_version_that_is_published_again_stays_the_file_that_others_have_open() {
    let objects = [Object::new("a", 1)];
    let built = Built::whole_tree(&objects);
    let path = built.path();
    let long_ago = SystemTime::UNIX_EPOCH;
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    let inode = |path: &Path| std::fs::metadata(path).unwrap().ino();
    let before = inode(&path);
    let again = built.again(&objects);
    assert_eq!((again, inode(&path)), (built.version, before));
    // It was listed last, and says so.
    assert!(std::fs::metadata(&path).unwrap().modified().unwrap() > long_ago);
    // A damaged one is no reason to keep it.
    std::fs::write(&path, b"damage").unwrap();
    built.again(&objects);
    assert_eq!(Manifest::open(&path).unwrap().version(), built.version);
}

#[test]
fn what_a_killed_writer_left_is_removed_and_what_another_writes_is_not() {
    let objects = [Object::new("a", 1)];
    let built = Built::whole_tree(&objects);
    let draft = |name: &str, content: &str| {
        let path = built.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let left = draft("manifest-left.partial", "half of it");
    let at_work = draft("manifest-at-work.partial", "half of it");
    let begun = draft("manifest-begun.partial", "");
    let foreign = draft("notes.partial", "of somebody");
    let lock = File::open(&at_work).unwrap();
    lock.try_lock().unwrap();
    built.again(&objects);
    assert!(!left.exists());
    assert!(at_work.exists() && begun.exists() && foreign.exists());
}

#[test]
fn a_manifest_is_open_until_the_last_who_has_it_lets_it_go() {
    let built = Built::whole_tree(&[Object::new("a", 1)]);
    let path = built.path();
    let other = Manifest::open(&path).unwrap();
    assert!(Manifest::is_open(&path));
    drop(built.manifest);
    assert!(Manifest::is_open(&path));
    drop(other);
    assert!(!Manifest::is_open(&path));
}
