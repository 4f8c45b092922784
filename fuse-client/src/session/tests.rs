//! What a kernel before 6.16 needs, tried on this one.

use std::fs;

use crate::mounted::Mounted;

#[test]
fn names_forgotten_one_by_one_lead_to_the_new_version_as_well() {
    let mounted = Mounted::new(&[("changed", b"old"), ("dir/inner", b"old"), ("gone", b"x")]);
    for path in ["changed", "dir/inner", "gone"] {
        fs::read(mounted.path(path)).unwrap();
    }
    fs::metadata(mounted.path("added")).unwrap_err();
    let next = mounted.fixture.version(&[
        ("added", b"added"),
        ("changed", b"new bytes"),
        ("dir/inner", b"new inner"),
    ]);
    let mount = &mounted.mount;
    let change = mount.fs().refresh(next).expect("another version");
    mount.kernel_cache.forget_root().unwrap();
    mount.kernel_cache.forget_root_names(&change).unwrap();
    for (path, bytes) in [
        ("added", &b"added"[..]),
        ("changed", b"new bytes"),
        ("dir/inner", b"new inner"),
    ] {
        assert_eq!(fs::read(mounted.path(path)).unwrap(), bytes, "{path}");
    }
    fs::metadata(mounted.path("gone")).unwrap_err();
    assert_eq!(fs::read_dir(mount.mountpoint()).unwrap().count(), 3);
}
