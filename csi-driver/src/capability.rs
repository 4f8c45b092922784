//! How a volume may be used: always as a file system, always read-only.

use forebay_proto::csi::v1::VolumeCapability;
use forebay_proto::csi::v1::volume_capability::access_mode::Mode;
use forebay_proto::csi::v1::volume_capability::{AccessType, MountVolume};

use crate::bind::Restrictions;
use crate::error::{Error, Result};

/// What a caller wants of a mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The group of every file.
    pub(crate) gid: Option<u32>,
    /// What is not done through it.
    pub(crate) restrictions: Restrictions,
}

/// Mount flags that change nothing here: every mount is read-only, and times are fixed.
const HARMLESS: [&str; 6] = ["ro", "noatime", "nodiratime", "relatime", "nodev", "nosuid"];

/// Reads a capability that is required.
pub(crate) fn required(capability: Option<&VolumeCapability>) -> Result<Wanted> {
    read(capability.ok_or_else(|| Error::missing("volume_capability"))?)
}

/// Reads a capability.
///
/// # Errors
/// If a volume cannot be used like that. Writers are accepted and given a read-only
/// mount: claims of training jobs often ask for ReadWriteMany and never write.
pub(crate) fn read(capability: &VolumeCapability) -> Result<Wanted> {
    let mode = capability.access_mode.as_ref().map(|mode| mode.mode());
    if mode.is_none_or(|mode| mode == Mode::Unknown) {
        return Err(Error::missing("volume_capability.access_mode"));
    }
    match &capability.access_type {
        Some(AccessType::Mount(mount)) => of_mount(mount),
        Some(AccessType::Block(_)) => {
            Err(Error::invalid("a dataset cannot be used as a block device")
                .next("set volumeMode: Filesystem"))
        }
        None => Err(Error::missing("volume_capability.access_type")),
    }
}

fn of_mount(mount: &MountVolume) -> Result<Wanted> {
    if !matches!(mount.fs_type.as_str(), "" | "fuse" | "fuse.forebay") {
        let what = format!(
            "fs_type is {:?}; a dataset is of type fuse.forebay",
            mount.fs_type
        );
        return Err(Error::invalid(what).next("leave fsType out"));
    }
    let mut wanted = Wanted::default();
    for flag in mount.mount_flags.iter().flat_map(|flags| flags.split(',')) {
        match flag {
            "noexec" => wanted.restrictions.no_exec = true,
            flag if HARMLESS.contains(&flag) => {}
            // Not repeated: a flag can carry a secret.
            _ => {
                return Err(Error::invalid("mount_flags has a flag that is not known")
                    .next(format!("use only noexec, {}", HARMLESS.join(", "))));
            }
        }
    }
    if !mount.volume_mount_group.is_empty() {
        let gid = mount.volume_mount_group.parse().map_err(|_| {
            Error::invalid(format!(
                "volume_mount_group is {:?}, no number",
                mount.volume_mount_group
            ))
        })?;
        wanted.gid = Some(gid);
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use forebay_proto::csi::v1::volume_capability::{AccessMode, BlockVolume};

    use super::*;

    fn mount(flags: &[&str], group: &str, fs_type: &str) -> VolumeCapability {
        VolumeCapability {
            access_mode: Some(AccessMode {
                mode: Mode::MultiNodeMultiWriter.into(),
            }),
            access_type: Some(AccessType::Mount(MountVolume {
                fs_type: fs_type.into(),
                mount_flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
                volume_mount_group: group.into(),
            })),
        }
    }

    #[test]
    fn writers_and_harmless_flags_are_accepted() {
        let wanted = read(&mount(&["ro,noatime", "noexec"], "2000", "")).unwrap();
        assert_eq!(wanted.gid, Some(2000));
        assert!(wanted.restrictions.no_exec);
    }

    #[test]
    fn what_a_dataset_cannot_be_is_refused_in_words() {
        let mut block = mount(&[], "", "");
        block.access_type = Some(AccessType::Block(BlockVolume {}));
        let mut nothing = mount(&[], "", "");
        nothing.access_type = None;
        let mut no_mode = mount(&[], "", "");
        no_mode.access_mode = None;
        for (wrong, word) in [
            (block, "Filesystem"),
            (nothing, "access_type"),
            (no_mode, "access_mode"),
            (mount(&["rw"], "", ""), "noexec"),
            (mount(&[], "staff", ""), "staff"),
            (mount(&[], "", "ext4"), "ext4"),
        ] {
            let error = read(&wrong).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        let secret = read(&mount(&["password=hunter2"], "", ""))
            .unwrap_err()
            .to_string();
        assert!(!secret.contains("hunter2"), "{secret}");
    }
}
