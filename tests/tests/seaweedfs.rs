//! A mount of a bucket on SeaweedFS: listed, read, kept, and never mixed.

use std::fs;
use std::os::unix::fs::FileExt;

use forebay_tests::{
    Dataset, MountCommand, S3Client, Scratch, SeaweedFs, Shape, Sizes, errno, open_random,
};
use rustix::io::Errno;

const BUCKET: &str = "weed";
const MIB: usize = 1 << 20;

#[test]
fn a_bucket_on_seaweedfs_is_read_right_and_an_overwritten_object_is_stale() {
    let server = SeaweedFs::start(200 << 20);
    let client = S3Client::new(server.endpoint());
    client.create_bucket(BUCKET);
    let dataset = Dataset::new(&Shape {
        files: 60,
        directories: 5,
        sizes: Sizes::Skewed(1, 3 << 20),
        seed: 3,
    });
    dataset.upload(&client, BUCKET, "set/");
    let (old, new) = (vec![1; 8 * MIB], vec![2; 8 * MIB]);
    client.put(BUCKET, "set/large", &old);
    let scratch = Scratch::new("weed", 200 << 20);
    let command = MountCommand::new(&format!("s3://{BUCKET}/set"), scratch.path());
    let command = command.endpoint(server.endpoint());
    let mount = command.clone().start();
    assert_eq!(mount.status()["files"], 61);
    assert_eq!(mount.status()["skipped"]["total"], 0);
    dataset.assert_at(&mount.path());
    mount.unmount();

    let mount = command.start();
    dataset.assert_at(&mount.path());
    assert_eq!(mount.status()["origin"]["bytes"], 0);
    mount.assert_quiet();
    let large = open_random(&mount.path().join("large")).unwrap();
    let mut buffer = vec![0; MIB];
    large.read_exact_at(&mut buffer, 0).unwrap();
    assert!(buffer == old[..MIB]);
    client.put(BUCKET, "set/large", &new);
    let stale = large.read_at(&mut buffer, 5 << 20);
    assert_eq!(errno(&stale), Some(Errno::STALE), "{stale:?}");
    let refreshed = mount.ask("refresh", &[]);
    assert_eq!(refreshed["drift"]["changed"], 1, "{refreshed:#}");
    assert!(fs::read(mount.path().join("large")).unwrap() == new);
    assert_eq!(
        errno(&large.read_at(&mut buffer, 5 << 20)),
        Some(Errno::STALE)
    );
    drop(large);
    mount.unmount();
}
