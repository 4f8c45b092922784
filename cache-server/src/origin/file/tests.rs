use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileExt, symlink};

use forebay_core::chunk::CHUNK_SIZE;
use forebay_core::manifest::SkipReason;
use futures::TryStreamExt;

use super::*;
use crate::origin::conformance::{self, OBJECTS, content, every, read};
use crate::origin::{Depth, ListedObject, Unservable};

fn directory(root: &tempfile::TempDir) -> Directory {
    Directory::new(
        format!("file://{}", root.path().display()),
        root.path().to_owned(),
    )
}

async fn only(origin: &Directory) -> ListedObject {
    let mut listed = every(origin, Depth::All).await;
    assert_eq!(listed.len(), 1);
    listed.remove(0)
}

#[tokio::test]
async fn a_directory_conforms() {
    let root = tempfile::tempdir().unwrap();
    for (key, size) in OBJECTS {
        let path = root.path().join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content(size)).unwrap();
    }
    conformance::run(&directory(&root)).await;
}

#[tokio::test]
async fn a_directory_of_several_pages_is_listed_whole() {
    let root = tempfile::tempdir().unwrap();
    for file in 0..2500 {
        File::create(root.path().join(format!("{file}"))).unwrap();
    }
    let origin = directory(&root);
    let listed = every(&origin, Depth::All).await;
    let keys: std::collections::HashSet<_> = listed.iter().map(|object| &object.key).collect();
    assert_eq!((listed.len(), keys.len()), (2500, 2500));
}

#[tokio::test]
async fn names_are_bytes() {
    let root = tempfile::tempdir().unwrap();
    let name = b"not \xff utf-8\nand \\ two lines".to_vec();
    fs::write(
        root.path().join(std::ffi::OsString::from_vec(name.clone())),
        "x",
    )
    .unwrap();
    let origin = directory(&root);
    let object = only(&origin).await;
    assert_eq!(object.key, name);
    assert_eq!(
        read(&origin, &object, ByteRange::new(0, 1)).await.unwrap(),
        b"x"
    );
}

#[tokio::test]
async fn links_to_files_are_files_and_what_cannot_be_shown_is_reported() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("blob"), "bytes").unwrap();
    let root = tempfile::tempdir().unwrap();
    let link = |target: &Path, name: &str| symlink(target, root.path().join(name)).unwrap();
    link(&outside.path().join("blob"), "model");
    link(outside.path(), "directory");
    link(Path::new("nowhere"), "dangling");
    link(Path::new("loop"), "loop");
    let _socket = std::os::unix::net::UnixListener::bind(root.path().join("socket")).unwrap();
    let pipe = root.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();

    let origin = directory(&root);
    let request = PageRequest {
        prefix: b"",
        depth: Depth::One,
        after: None,
    };
    let mut page = origin.list(request).await.unwrap();
    assert_eq!(
        read(&origin, &page.objects[0], ByteRange::new(1, 5))
            .await
            .unwrap(),
        b"ytes"
    );
    page.unservable.sort_by(|a, b| a.key.cmp(&b.key));
    let reported: Vec<_> = page
        .unservable
        .iter()
        .map(|Unservable { key, reason }| (std::str::from_utf8(key).unwrap(), *reason))
        .collect();
    let wanted = [
        ("dangling", SkipReason::BrokenLink),
        ("directory", SkipReason::DirectoryLink),
        ("loop", SkipReason::BrokenLink),
        ("pipe", SkipReason::NotAFile),
        ("socket", SkipReason::NotAFile),
    ];
    assert_eq!((page.objects.len(), reported), (1, wanted.to_vec()));
}

#[tokio::test]
async fn a_file_that_is_replaced_or_written_to_is_changed() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("f");
    fs::write(&path, "before").unwrap();
    let origin = directory(&root);
    let object = only(&origin).await;
    let range = ByteRange::new(0, 6);
    assert_eq!(read(&origin, &object, range).await.unwrap(), b"before");

    // Same size, same name, same time: another inode.
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let other = root.path().join("other");
    fs::write(&other, "after!").unwrap();
    File::options()
        .write(true)
        .open(&other)
        .unwrap()
        .set_modified(modified)
        .unwrap();
    fs::rename(&other, &path).unwrap();
    let error = read(&origin, &object, range).await.unwrap_err();
    assert!(matches!(error, Error::Changed { .. }), "{error}");

    fs::remove_file(&path).unwrap();
    let error = read(&origin, &object, range).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn no_piece_of_a_file_that_changes_under_a_read_is_yielded() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("f");
    fs::write(&path, vec![1; 3 * CHUNK_SIZE as usize]).unwrap();
    let origin = directory(&root);
    let object = only(&origin).await;
    let pinned = PinnedObject {
        key: &object.key,
        size: object.size,
        etag: &object.etag,
    };
    let mut body = origin
        .read(pinned, ByteRange::new(0, object.size))
        .await
        .unwrap();
    assert_eq!(
        body.try_next().await.unwrap().unwrap()[..],
        [1; CHUNK_SIZE as usize]
    );

    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(&[2], 2 * CHUNK_SIZE).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(1))
        .unwrap();
    let rest: Result<Vec<_>, _> = body.try_collect().await;
    assert!(matches!(rest, Err(Error::Changed { .. })), "{rest:?}");
}

#[tokio::test]
async fn a_file_that_shrinks_is_changed_or_out_of_range_and_never_short() {
    let root = tempfile::tempdir().unwrap();
    let mut file = File::create(root.path().join("f")).unwrap();
    file.write_all(b"0123456789").unwrap();
    let origin = directory(&root);
    let mut object = only(&origin).await;
    // As if there were no identity to compare.
    object.etag = ETag::new("");
    file.set_len(5).unwrap();
    let error = read(&origin, &object, ByteRange::new(0, 10))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::OutOfRange { .. }), "{error}");
}

#[tokio::test]
async fn a_key_never_leads_out_of_the_directory() {
    let root = tempfile::tempdir().unwrap();
    let origin = directory(&root);
    for key in [&b"../x"[..], b"/etc/passwd", b"a/../../x", b"a\0b"] {
        let object = PinnedObject {
            key,
            size: 1,
            etag: &ETag::new(""),
        };
        let error = origin
            .read(object, ByteRange::new(0, 1))
            .await
            .err()
            .unwrap();
        assert!(matches!(error, Error::Protocol { .. }), "{error}");
    }
}
