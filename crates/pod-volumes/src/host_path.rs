//! `hostPath`: a path of the machine, checked by type. Symbolic links in it are the machine's and are followed.

use crate::error::VolumeError;
use crate::kinds::Check;
use std::fs::{self, DirBuilder, FileType, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Checks the path, and makes it where its type says so.
pub(crate) fn prepare(path: &Path, check: Check) -> Result<(), VolumeError> {
    let fail = |what, source| VolumeError::HostPath {
        what,
        path: path.to_owned(),
        source,
    };
    let found = match fs::metadata(path) {
        Ok(metadata) => Some(metadata.file_type()),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound) => None,
        Err(e) => return Err(fail("examine", e)),
    };
    match (check, found) {
        (Check::Unset, Some(_)) => Ok(()),
        (Check::Unset | Check::DirectoryOrCreate, None) => {
            make_dir(path).map_err(|e| fail("make the directory at", e))
        }
        (Check::FileOrCreate, None) => make_file(path).map_err(|e| fail("make the file at", e)),
        (_, found) => expect(path, check, found),
    }
}

fn expect(path: &Path, check: Check, found: Option<FileType>) -> Result<(), VolumeError> {
    let (wanted, is_it): (_, fn(&FileType) -> bool) = match check {
        Check::Unset => return Ok(()),
        Check::DirectoryOrCreate | Check::Directory => ("directory", FileType::is_dir),
        Check::FileOrCreate | Check::File => ("file", FileType::is_file),
        Check::Socket => ("socket file", FileTypeExt::is_socket),
        Check::CharDevice => ("character device", FileTypeExt::is_char_device),
        Check::BlockDevice => ("block device", FileTypeExt::is_block_device),
    };
    if found.as_ref().is_some_and(is_it) {
        return Ok(());
    }
    Err(VolumeError::HostPathType {
        path: path.to_owned(),
        wanted,
        found: found.map_or("it does not exist".to_owned(), |found| {
            format!("it's a {}", name(&found))
        }),
    })
}

/// In the words of `hostPath.type`.
fn name(found: &FileType) -> &'static str {
    match found {
        f if f.is_dir() => "Directory",
        f if f.is_file() => "File",
        f if f.is_socket() => "Socket",
        f if f.is_char_device() => "CharDevice",
        f if f.is_block_device() => "BlockDevice",
        _ => "fifo",
    }
}

/// `0755` whatever the umask says, with every parent that is missing.
fn make_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

/// `0644`, empty; the parent must be there.
fn make_file(path: &Path) -> io::Result<()> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path);
    match made {
        Ok(file) => file.set_permissions(fs::Permissions::from_mode(0o644)),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
}
