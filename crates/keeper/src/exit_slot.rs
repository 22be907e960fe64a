//! The exit record's place on disk: made by the agent before the launch, filled by the keeper, so that a full disk cannot lose an exit.
//!
//! One block of 512 bytes: written by a single `pwrite` over allocated blocks, read back with a checksum. Nothing is synced here: the page
//! cache outlives both processes, and the agent makes durable what it acts on.

use pod_model::{ExitCause, ExitRecord, MonoTime, WallTime};
use rustix::fs::{FallocateFlags, fallocate};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Size of the file.
pub const BYTES: usize = 512;
const MAGIC: [u8; 8] = *b"crclexit";
const VERSION: u32 = 1;
/// Magic, version, code, signal, cause, three times.
const PAYLOAD: usize = 8 + 4 + 4 + 4 + 4 + 8 + 8 + 8;

#[derive(Debug, thiserror::Error)]
pub enum ExitSlotError {
    #[error("cannot make the exit slot {path}")]
    Prepare { path: PathBuf, source: io::Error },
    #[error("cannot write the exit slot {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read the exit slot {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("exit slot {path} holds what is no exit record")]
    Corrupt { path: PathBuf },
}

/// Makes an empty slot with its blocks allocated. An existing one is emptied.
///
/// # Errors
/// When there is no room, which is to be known before the launch.
pub fn prepare(path: &Path) -> Result<(), ExitSlotError> {
    let made = || -> io::Result<()> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .custom_flags(libc_nofollow())
            .open(path)?;
        match fallocate(&file, FallocateFlags::empty(), 0, BYTES as u64) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                file.write_all_at(&[0; BYTES], 0)
            }
            Err(e) => Err(e.into()),
        }
    };
    made().map_err(|source| ExitSlotError::Prepare {
        path: path.to_owned(),
        source,
    })
}

/// Writes the record in place.
///
/// # Errors
/// When the slot is not there.
pub fn write(path: &Path, exit: &ExitRecord) -> Result<(), ExitSlotError> {
    let written = || -> io::Result<()> {
        let file = OpenOptions::new()
            .write(true)
            .custom_flags(libc_nofollow())
            .open(path)?;
        file.write_all_at(&encode(exit), 0)
    };
    written().map_err(|source| ExitSlotError::Write {
        path: path.to_owned(),
        source,
    })
}

/// The record, or `None` when the container has not ended as far as anybody knows: no slot, or an empty one.
///
/// # Errors
/// [`ExitSlotError::Corrupt`] when the bytes are damaged.
pub fn read(path: &Path) -> Result<Option<ExitRecord>, ExitSlotError> {
    let mut bytes = [0; BYTES];
    let file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other,
    };
    let got = file.and_then(|f| read_up_to(&f, &mut bytes));
    let got = got.map_err(|source| ExitSlotError::Read {
        path: path.to_owned(),
        source,
    })?;
    if bytes[..got].iter().all(|b| *b == 0) {
        return Ok(None);
    }
    decode(&bytes)
        .map(Some)
        .ok_or_else(|| ExitSlotError::Corrupt {
            path: path.to_owned(),
        })
}

fn libc_nofollow() -> i32 {
    i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0)
}

fn read_up_to(file: &File, bytes: &mut [u8]) -> io::Result<usize> {
    let mut have = 0;
    while have < bytes.len() {
        match file.read_at(&mut bytes[have..], have as u64) {
            Ok(0) => break,
            Ok(n) => have += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(have)
}

fn encode(exit: &ExitRecord) -> [u8; BYTES] {
    let cause: u32 = match exit.cause {
        ExitCause::Exited => 1,
        ExitCause::OomKilled => 2,
        ExitCause::Unknown => 3,
    };
    let mut payload = Vec::with_capacity(PAYLOAD);
    payload.extend(MAGIC);
    payload.extend(VERSION.to_le_bytes());
    payload.extend(exit.code.to_le_bytes());
    payload.extend(exit.signal.unwrap_or(0).to_le_bytes());
    payload.extend(cause.to_le_bytes());
    payload.extend(exit.started_at.0.to_le_bytes());
    payload.extend(exit.finished_at.0.to_le_bytes());
    payload.extend(exit.finished_mono.0.to_le_bytes());
    let mut bytes = [0; BYTES];
    bytes[..PAYLOAD].copy_from_slice(&payload);
    bytes[PAYLOAD..PAYLOAD + 4].copy_from_slice(&crc32fast::hash(&payload).to_le_bytes());
    bytes
}

fn decode(bytes: &[u8; BYTES]) -> Option<ExitRecord> {
    let (payload, rest) = bytes.split_at(PAYLOAD);
    let word = |at: usize| {
        payload
            .get(at..at + 4)?
            .try_into()
            .ok()
            .map(i32::from_le_bytes)
    };
    let long = |at: usize| {
        payload
            .get(at..at + 8)?
            .try_into()
            .ok()
            .map(i64::from_le_bytes)
    };
    let sum = u32::from_le_bytes(rest.get(..4)?.try_into().ok()?);
    if payload[..8] != MAGIC
        || sum != crc32fast::hash(payload)
        || word(8)?.cast_unsigned() != VERSION
    {
        return None;
    }
    Some(ExitRecord {
        code: word(12)?,
        signal: Some(word(16)?).filter(|s| *s != 0),
        cause: match word(20)? {
            1 => ExitCause::Exited,
            2 => ExitCause::OomKilled,
            3 => ExitCause::Unknown,
            _ => return None,
        },
        started_at: WallTime(long(24)?),
        finished_at: WallTime(long(32)?),
        finished_mono: MonoTime(long(40)?.cast_unsigned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(code: i32, signal: Option<i32>, cause: ExitCause) -> ExitRecord {
        ExitRecord {
            code,
            signal,
            cause,
            started_at: WallTime(-5),
            finished_at: WallTime(1_795_255_200_000_000_000),
            finished_mono: MonoTime(u64::MAX),
        }
    }

    #[test]
    fn a_record_is_read_back_as_it_was_written() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("exit");
        assert_eq!(read(&path)?, None);
        for exit in [
            record(0, None, ExitCause::Exited),
            record(137, Some(9), ExitCause::OomKilled),
            record(137, None, ExitCause::Unknown),
        ] {
            prepare(&path)?;
            assert_eq!(read(&path)?, None);
            write(&path, &exit)?;
            assert_eq!(read(&path)?, Some(exit));
            assert_eq!(std::fs::metadata(&path)?.len(), BYTES as u64);
        }
        Ok(())
    }

    #[test]
    fn a_damaged_record_is_none() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("exit");
        prepare(&path)?;
        write(&path, &record(3, None, ExitCause::Exited))?;
        let good = std::fs::read(&path)?;
        for at in 0..PAYLOAD + 4 {
            let mut bytes = good.clone();
            bytes[at] ^= 0x10;
            std::fs::write(&path, &bytes)?;
            assert!(
                matches!(read(&path), Err(ExitSlotError::Corrupt { .. })),
                "byte {at}"
            );
        }
        std::fs::write(&path, &good[..20])?;
        assert!(read(&path).is_err());
        std::fs::write(&path, b"")?;
        assert_eq!(read(&path)?, None);
        Ok(())
    }

    #[test]
    fn nothing_is_written_where_no_slot_was_made() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("exit");
        assert!(write(&path, &record(0, None, ExitCause::Exited)).is_err());
        std::os::unix::fs::symlink("/etc/passwd", &path)?;
        assert!(
            prepare(&path).is_err() && write(&path, &record(0, None, ExitCause::Exited)).is_err()
        );
        Ok(())
    }
}
