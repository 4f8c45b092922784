//! Many entries in one directory.

use std::collections::HashSet;
use std::fs;

use crate::memory_cache::Fixture;
use crate::mounted::{Mounted, options};

const ENTRIES: usize = 100_000;

#[test]
fn a_directory_of_100_000_entries_is_listed_whole_cold_and_cached() {
    let names: Vec<String> = (0..ENTRIES).map(|n| format!("shard-{n:08}.tar")).collect();
    let fixture = Fixture::new();
    let manifest = fixture.manifest(names.iter().map(|name| (name.as_bytes(), &b"12345"[..])));
    let mounted = Mounted::with(fixture, manifest, &options());
    let expected: HashSet<&str> = names.iter().map(String::as_str).collect();
    for _ in 0..2 {
        let mut listed = HashSet::with_capacity(ENTRIES);
        for entry in fs::read_dir(mounted.mount.mountpoint()).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(expected.contains(&*name), "{name} is not in the manifest");
            assert!(listed.insert(name), "listed twice");
        }
        assert_eq!(listed.len(), ENTRIES);
    }
    for name in ["shard-00000000.tar", "shard-00099999.tar"] {
        assert_eq!(fs::metadata(mounted.path(name)).unwrap().len(), 5);
    }
}
