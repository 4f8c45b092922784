//! The rules for odd keys again, as plainly as they can be said, with everything in memory.

use super::super::key_rules::{self, EMPTY_NAME};
use super::*;

/// What a manifest of some objects must show.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) files: Files,
    pub(super) directories: Vec<Vec<u8>>,
    pub(super) skipped: BTreeMap<SkipReason, u64>,
    /// Objects that only make a directory.
    pub(super) markers: u64,
}

/// A part of a key: its name, and whether it is made up.
type Name = (Vec<u8>, bool);

#[derive(Default)]
struct Directory {
    directories: BTreeMap<Name, Directory>,
    files: BTreeMap<Name, Object>,
    markers: u64,
}

/// The answer of the model for sources with these names.
pub(super) fn expected(sources: &[&str], objects: &[Object]) -> Expected {
    let mut expected = Expected::default();
    let mut states: BTreeMap<(u16, Vec<u8>), Object> = BTreeMap::new();
    for object in objects {
        let Object {
            source,
            key,
            size,
            modified,
            etag,
        } = object;
        let listed = Listed {
            key,
            size: *size,
            modified: *modified,
            etag,
        };
        if let Err(reason) = key_rules::check(&listed) {
            *expected.skipped.entry(reason).or_default() += 1;
            continue;
        }
        let rank = |o: &Object| (o.modified, o.etag.clone(), o.size);
        states
            .entry((*source, key.clone()))
            .and_modify(|shown| {
                *expected.skipped.entry(SkipReason::Duplicate).or_default() += 1;
                if rank(object) > rank(shown) {
                    *shown = object.clone();
                }
            })
            .or_insert_with(|| object.clone());
    }
    let mut root = Directory::default();
    for name in sources.iter().filter(|name| !name.is_empty()) {
        root.directories
            .entry((name.as_bytes().to_vec(), false))
            .or_default();
    }
    for object in states.into_values() {
        let source = sources[usize::from(object.source)];
        let mut dir = &mut root;
        if !source.is_empty() {
            dir = dir
                .directories
                .entry((source.as_bytes().to_vec(), false))
                .or_default();
        }
        dir.insert(object);
    }
    root.show(&[], &mut expected);
    expected.directories.sort();
    expected
}

impl Directory {
    fn insert(&mut self, object: Object) {
        let mut names: Vec<Name> = object
            .key
            .split(|&byte| byte == b'/')
            .map(|part| match part {
                [] => (EMPTY_NAME.to_vec(), true),
                part => (part.to_vec(), false),
            })
            .collect();
        let last = names.pop().unwrap();
        let mut dir = self;
        for name in names {
            dir = dir.directories.entry(name).or_default();
        }
        if last.1 && object.size == 0 {
            dir.markers += 1;
        } else {
            dir.files.insert(last, object);
        }
    }

    fn show(self, path: &[u8], expected: &mut Expected) {
        expected.directories.push(path.to_vec());
        expected.markers += self.markers;
        let Self {
            mut directories,
            mut files,
            ..
        } = self;
        let made_up = (EMPTY_NAME.to_vec(), true);
        let real_empty = (EMPTY_NAME.to_vec(), false);
        if directories.contains_key(&real_empty) || files.contains_key(&real_empty) {
            let lost = directories.remove(&made_up).map_or(0, Directory::objects)
                + u64::from(files.remove(&made_up).is_some());
            expected.skip(SkipReason::NameTaken, lost);
        }
        let is_real =
            |name: &Name| !name.1 && (directories.contains_key(name) || files.contains_key(name));
        let mut shown = Vec::new();
        for (name, object) in &files {
            if !directories.contains_key(name) {
                shown.push((name.0.clone(), object.clone()));
                continue;
            }
            let renamed = [&name.0[..], b".forebay-object"].concat();
            if renamed.len() > 255 {
                expected.skip(SkipReason::NameTooLong, 1);
            } else if is_real(&(renamed.clone(), false)) {
                expected.skip(SkipReason::NameTaken, 1);
            } else {
                shown.push((renamed, object.clone()));
            }
        }
        for (name, object) in shown {
            let clash = expected.files.insert(join(path, &name), object);
            assert_eq!(clash, None);
        }
        for (name, directory) in directories {
            directory.show(&join(path, &name.0), expected);
        }
    }

    /// The objects in and below it.
    fn objects(self) -> u64 {
        let below: u64 = self.directories.into_values().map(Self::objects).sum();
        below + self.files.len() as u64 + self.markers
    }
}

impl Expected {
    fn skip(&mut self, reason: SkipReason, count: u64) {
        if count > 0 {
            *self.skipped.entry(reason).or_default() += count;
        }
    }
}

fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    match path {
        [] => name.to_vec(),
        path => [path, name].join(&b'/'),
    }
}
