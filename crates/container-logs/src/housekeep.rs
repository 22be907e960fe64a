//! What happens to rotated logs: all but the newest are compressed, and no more than a number are kept.
//!
//! It runs beside the writer, which drops the oldest by itself when it rotates; either may find that the other was faster.

use crate::place::{self, Found};
use crate::rotated::{self, Rotated};
use flate2::read::GzDecoder;
use flate2::{Compression, GzBuilder};
use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum HousekeepError {
    #[error("cannot list log directory {path}")]
    List { path: PathBuf, source: io::Error },
    #[error("cannot compress rotated log {path}")]
    Compress { path: PathBuf, source: io::Error },
    #[error("cannot remove rotated log {path}")]
    Remove { path: PathBuf, source: io::Error },
}

/// Tidies the rotated files of `<attempt>.log` in `directory`: at most `max_files` stay, the current one counted, and all rotated
/// ones but the newest are compressed. Blocks; meant for a thread of low priority, every ten seconds or so.
pub fn housekeep(directory: &Path, attempt: u32, max_files: u32) -> Result<(), HousekeepError> {
    let log = OsString::from(format!("{attempt}.log"));
    let list_error = |e: rustix::io::Errno| HousekeepError::List {
        path: directory.to_owned(),
        source: e.into(),
    };
    let opened = place::open_directory(directory).map_err(list_error)?;
    let left = drop_oldest(&opened, &log, max_files.saturating_sub(1) as usize).map_err(|e| {
        HousekeepError::Remove {
            path: directory.join(&log),
            source: e.into(),
        }
    })?;
    let Some((_, older)) = left.split_last() else {
        return Ok(());
    };
    for rotated in older.iter().filter(|r| !r.compressed) {
        compress(&opened, &log, rotated).map_err(|source| HousekeepError::Compress {
            path: directory.join(rotated.name(&log)),
            source,
        })?;
    }
    Ok(())
}

/// Removes the oldest until `keep` rotated files are left, and says which.
pub(crate) fn drop_oldest(
    directory: impl AsFd,
    log: &OsStr,
    keep: usize,
) -> rustix::io::Result<Vec<Rotated>> {
    let directory = directory.as_fd();
    let mut left = rotated::list(directory, log)?;
    let surplus = left.len().saturating_sub(keep);
    for old in left.drain(..surplus) {
        for compressed in [false, true] {
            remove(directory, &old.with_compressed(compressed).name(log))?;
        }
    }
    Ok(left)
}

fn remove(directory: impl AsFd, name: &OsStr) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(e) => Err(e),
    }
}

fn compress(directory: &OwnedFd, log: &OsStr, rotated: &Rotated) -> io::Result<()> {
    let name = rotated.name(log);
    let mut source = match place::open_log(directory, &name, OFlags::RDONLY, Mode::empty()) {
        Ok(Found::Log(file, _)) => file,
        // Not ours: it stays until it is dropped by its age.
        Ok(Found::Foreign(_)) | Err(rustix::io::Errno::NOENT) => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    let compressed = rotated.with_compressed(true).name(log);
    let mut temporary = compressed.clone();
    temporary.push(".tmp");
    // Left by a crash.
    remove(directory, &temporary)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o640);
    let target = File::from(rustix::fs::openat(directory, &temporary, flags, mode)?);
    let written = (|| {
        let stat = rustix::fs::fstat(&source)?;
        let mut encoder = GzBuilder::new()
            .extra(inode_field(stat.st_ino))
            .write(&target, Compression::fast());
        io::copy(&mut source, &mut encoder)?;
        encoder.finish()?;
        let modified = Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: i64::try_from(stat.st_mtime_nsec).map_err(io::Error::other)?,
        };
        let times = Timestamps {
            last_access: modified,
            last_modification: modified,
        };
        rustix::fs::futimens(&target, &times)?;
        rustix::fs::renameat(directory, &temporary, directory, &compressed)?;
        io::Result::Ok(())
    })();
    if written.is_err() {
        remove(directory, &temporary)?;
        return written;
    }
    Ok(remove(directory, &name)?)
}

/// An extra field of RFC 1952: the original's inode, by which a reader that has it open knows it again.
fn inode_field(inode: u64) -> Vec<u8> {
    let mut field = INODE_FIELD.to_vec();
    field.extend_from_slice(&inode.to_le_bytes());
    field
}

/// Subfield id and length.
const INODE_FIELD: [u8; 4] = [b'c', b'i', 8, 0];

/// The inode of the file that was compressed to `file`.
pub(crate) fn original_inode(file: File) -> Option<u64> {
    let decoder = GzDecoder::new(file);
    let inode = decoder.header()?.extra()?.strip_prefix(&INODE_FIELD)?;
    Some(u64::from_le_bytes(inode.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Read;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn old_logs_are_compressed_and_the_oldest_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        for name in [
            "0.log",
            "1.log",
            "1.log.20261121-100000",
            "0.log.20261121-100009.gz.tmp",
        ] {
            fs::write(directory.join(name), name).unwrap();
        }
        for second in 0..10 {
            let name = format!("0.log.20261121-10000{second}");
            fs::write(directory.join(&name), &name).unwrap();
        }
        housekeep(directory, 0, 5).unwrap();
        let expected = [
            "0.log",
            "0.log.20261121-100006.gz",
            "0.log.20261121-100007.gz",
            "0.log.20261121-100008.gz",
            "0.log.20261121-100009",
            "0.log.20261121-100009.gz.tmp",
            "1.log",
            "1.log.20261121-100000",
        ];
        assert_eq!(names(directory), expected);
        let mut text = String::new();
        GzDecoder::new(File::open(directory.join(expected[1])).unwrap())
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "0.log.20261121-100006");
        // Nothing to do is nothing done; the next rotation replaces what a crash left.
        housekeep(directory, 0, 5).unwrap();
        assert_eq!(names(directory), expected);
        fs::write(directory.join("0.log.20261121-100010"), "").unwrap();
        housekeep(directory, 0, 5).unwrap();
        assert_eq!(names(directory)[4], "0.log.20261121-100010");
        assert_eq!(names(directory).len(), 7);
    }

    #[test]
    fn a_link_among_the_rotated_logs_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        fs::write(directory.join("shadow"), "secret").unwrap();
        std::os::unix::fs::symlink(
            directory.join("shadow"),
            directory.join("0.log.20261121-100000"),
        )
        .unwrap();
        fs::write(directory.join("0.log.20261121-100001"), "").unwrap();
        housekeep(directory, 0, 5).unwrap();
        assert!(!directory.join("0.log.20261121-100000.gz").exists());
        housekeep(directory, 0, 2).unwrap();
        assert_eq!(names(directory), ["0.log.20261121-100001", "shadow"]);
    }
}
