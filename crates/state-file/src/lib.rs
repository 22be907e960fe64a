//! One small file per object: the only way in which this node writes state.
//!
//! A file is a header (magic, version, length, CRC-32 of the payload) and the payload. It is written under a temporary name in the
//! same directory and renamed, so a reader sees the old object or the new one, never half of one, and a full disk leaves the old
//! one. [`Durability`] says whether it must outlive the machine ([`Durability::Disk`]: fsync of file and directory) or only every
//! process ([`Durability::Cache`]: page cache; nothing waits for the disk).
//!
//! A file that cannot be read is moved aside by [`quarantine`], never deleted and never fatal.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"coracle\x01";
const HEADER: usize = 8 + 4 + 4 + 4;
/// No object of ours is larger; a longer file is not one of ours.
const MAX_PAYLOAD: usize = 16 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Survives the death of every process, not of the machine.
    Cache,
    /// Survives a power cut.
    Disk,
}

#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("cannot write state file {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("state file {path} would hold {size} bytes, more than the {MAX_PAYLOAD} allowed")]
    TooLarge { path: PathBuf, size: usize },
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("cannot read state file {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("state file {path} is corrupt: {what}")]
    Corrupt { path: PathBuf, what: &'static str },
}

/// What a file held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub version: u32,
    pub payload: Vec<u8>,
}

/// Replaces `path` by an object of `version`. Mode 0600.
pub fn write(
    path: &Path,
    version: u32,
    payload: &[u8],
    durability: Durability,
) -> Result<(), WriteError> {
    let staged = Staged::write(path, version, payload)?;
    match durability {
        Durability::Cache => staged.rename(),
        Durability::Disk => {
            staged.sync()?.rename()?;
            sync_directory(path)
        }
    }
}

/// One object of [`write_durably`].
#[derive(Debug, Clone, Copy)]
pub struct Object<'a> {
    pub path: &'a Path,
    pub version: u32,
    pub payload: &'a [u8],
}

/// Replaces many objects as [`write()`] does with [`Durability::Disk`]. The disk is waited for about twice for all of them, not twice for
/// each: what a file system has to write for the first of many files, it writes for those that were changed with it.
///
/// Gives a result for each, in their order; one that cannot be written is in no other's way.
pub fn write_durably(objects: &[Object<'_>]) -> Vec<Result<(), WriteError>> {
    objects.chunks(MOST_OPEN).flat_map(write_chunk).collect()
}

/// Files that [`write_durably`] has open at once.
const MOST_OPEN: usize = 64;

fn write_chunk(objects: &[Object<'_>]) -> Vec<Result<(), WriteError>> {
    // each step for all before the next one for any
    let staged: Vec<_> = objects
        .iter()
        .map(|object| Staged::write(object.path, object.version, object.payload))
        .collect();
    let synced: Vec<_> = staged
        .into_iter()
        .map(|s| s.and_then(Staged::sync))
        .collect();
    let renamed: Vec<_> = synced
        .into_iter()
        .map(|s| s.and_then(Staged::rename))
        .collect();
    let both = objects.iter().zip(renamed);
    both.map(|(object, renamed)| renamed.and_then(|()| sync_directory(object.path)))
        .collect()
}

/// A new object beside the old one.
struct Staged<'a> {
    path: &'a Path,
    temporary: PathBuf,
    file: File,
}

impl<'a> Staged<'a> {
    fn write(path: &'a Path, version: u32, payload: &[u8]) -> Result<Self, WriteError> {
        let bytes = encode(version, payload).ok_or_else(|| WriteError::TooLarge {
            path: path.to_owned(),
            size: payload.len(),
        })?;
        let temporary = beside(path, "tmp");
        let written = || -> io::Result<File> {
            let mut file = File::options()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&temporary)?;
            file.write_all(&bytes)?;
            Ok(file)
        };
        match written() {
            Ok(file) => Ok(Self {
                path,
                temporary,
                file,
            }),
            Err(source) => Err(given_up(path, &temporary, source)),
        }
    }
    fn sync(self) -> Result<Self, WriteError> {
        match self.file.sync_all() {
            Ok(()) => Ok(self),
            Err(source) => Err(given_up(self.path, &self.temporary, source)),
        }
    }
    fn rename(self) -> Result<(), WriteError> {
        drop(self.file);
        fs::rename(&self.temporary, self.path)
            .map_err(|source| given_up(self.path, &self.temporary, source))
    }
}

fn given_up(path: &Path, temporary: &Path, source: io::Error) -> WriteError {
    let _ = fs::remove_file(temporary);
    WriteError::Write {
        path: path.to_owned(),
        source,
    }
}

fn sync_directory(path: &Path) -> Result<(), WriteError> {
    File::open(parent(path))
        .and_then(|directory| directory.sync_all())
        .map_err(|source| WriteError::Write {
            path: path.to_owned(),
            source,
        })
}

/// `None`: it is too large.
fn encode(version: u32, payload: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(payload.len())
        .ok()
        .filter(|_| payload.len() <= MAX_PAYLOAD)?;
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&version.to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    bytes.extend_from_slice(payload);
    Some(bytes)
}

/// Makes an object that was written with [`Durability::Cache`] durable.
pub fn sync(path: &Path) -> Result<(), WriteError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|source| WriteError::Write {
            path: path.to_owned(),
            source,
        })?;
    sync_directory(path)
}

/// Reads an object. `Ok(None)`: there is none.
pub fn read(path: &Path) -> Result<Option<Stored>, ReadError> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => {
            file.take((MAX_PAYLOAD + HEADER + 1) as u64)
                .read_to_end(&mut bytes)
                .map_err(|source| ReadError::Read {
                    path: path.to_owned(),
                    source,
                })?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(ReadError::Read {
                path: path.to_owned(),
                source,
            });
        }
    }
    decode(&bytes).map(Some).map_err(|what| ReadError::Corrupt {
        path: path.to_owned(),
        what,
    })
}

fn decode(bytes: &[u8]) -> Result<Stored, &'static str> {
    let (header, payload) = bytes
        .split_at_checked(HEADER)
        .ok_or("it is shorter than its header")?;
    let word = |at: usize| {
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    if &header[..8] != MAGIC {
        return Err("it does not begin with the mark of a state file");
    }
    if word(12) as usize != payload.len() {
        return Err("its length is not the one it states");
    }
    if word(16) != crc32fast::hash(payload) {
        return Err("its checksum does not match");
    }
    Ok(Stored {
        version: word(8),
        payload: payload.to_vec(),
    })
}

/// Moves an unreadable file aside, to `<name>.corrupt`, so that it is said once and can be looked at.
pub fn quarantine(path: &Path) -> io::Result<PathBuf> {
    let aside = beside(path, "corrupt");
    fs::rename(path, &aside)?;
    Ok(aside)
}

fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(extension);
    path.with_file_name(name)
}

fn parent(path: &Path) -> &Path {
    path.parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests;
