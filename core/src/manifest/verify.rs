//! Telling a whole manifest from any other file.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use super::format::{self, FORMAT, HEADER_LEN, Header, HeaderFault};
use super::{Error, Result, VersionId};

/// How much is read at once.
const READ_BUFFER: usize = 256 << 10;

/// Opens the manifest at `path` and reads it once, from start to end, to compare it with
/// its version.
///
/// It reads through a buffer of its own and not through a mapping, which would make the
/// whole file resident.
pub(super) fn open(path: &Path) -> Result<(File, Header)> {
    let reading = |source| Error::Read {
        path: path.to_owned(),
        source,
    };
    let damaged = |part| Error::Damaged {
        path: path.to_owned(),
        part,
    };
    let mut file = File::open(path).map_err(reading)?;
    let actual = file.metadata().map_err(reading)?.len();

    let header = read_header(&mut file, path)?;
    let expected = header.file_len();
    if actual < expected {
        return Err(Error::Truncated {
            path: path.to_owned(),
            expected,
            actual,
        });
    }
    if actual > expected {
        return Err(damaged("length"));
    }
    if body_version(&mut file, &header).map_err(reading)? != header.version {
        return Err(damaged("content checksum"));
    }
    Ok((file, header))
}

fn read_header(file: &mut File, path: &Path) -> Result<Header> {
    let mut bytes = Vec::with_capacity(HEADER_LEN);
    file.take(HEADER_LEN as u64)
        .read_to_end(&mut bytes)
        .map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
    let Some(whole) = bytes.first_chunk() else {
        return Err(match format::is_magic(&bytes) {
            true => Error::Truncated {
                path: path.to_owned(),
                expected: HEADER_LEN as u64,
                actual: bytes.len() as u64,
            },
            false => Error::Foreign {
                path: path.to_owned(),
            },
        });
    };
    Header::decode(whole).map_err(|fault| match fault {
        HeaderFault::Foreign => Error::Foreign {
            path: path.to_owned(),
        },
        HeaderFault::Format(found) => Error::UnsupportedFormat {
            path: path.to_owned(),
            found,
            supported: FORMAT,
        },
        HeaderFault::Damaged(part) => Error::Damaged {
            path: path.to_owned(),
            part,
        },
    })
}

/// The version that the rest of the file has.
fn body_version(file: &mut File, header: &Header) -> io::Result<VersionId> {
    let mut hash = Xxh3::new();
    hash.update(&format::encode_lengths(&header.lengths));
    let mut buffer = vec![0; READ_BUFFER];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => hash.update(&buffer[..len]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(VersionId::from_bytes(hash.digest128().to_le_bytes()))
}
