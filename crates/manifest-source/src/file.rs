//! One file of the directory: whether it is a manifest, and what is in it.

use rustix::fs::{FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;
use std::os::fd::BorrowedFd;

/// No manifest is longer.
pub(crate) const MAX_BYTES: u64 = 4 << 20;

/// Whether a file of this name is a manifest: `*.yaml`, `*.yml`, `*.json`, and none of the names under which editors keep their
/// swap, backup and lock files (`.x.swp`, `x~`, `#x#`, `.#x`, `x.bak`, vim's `4913`): those that end in a manifest's suffix begin with `.`
/// or `#`.
pub(crate) fn is_manifest_name(name: &[u8]) -> bool {
    let suffix = |s: &str| name.len() > s.len() && name.ends_with(s.as_bytes());
    !name.starts_with(b".")
        && !name.starts_with(b"#")
        && (suffix(".yaml") || suffix(".yml") || suffix(".json"))
}

/// What opening and reading a file gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Text(String),
    /// There is no such entry in the directory.
    Absent,
    /// It is a directory: those are not searched, and nothing is wrong with them.
    Directory,
    /// It is there and cannot be used; the reason is for people.
    Unusable(String),
}

/// Reads the file `name` of the directory. A symbolic link to a regular file is followed, as a kubelet does.
pub(crate) fn read(directory: BorrowedFd<'_>, name: &std::ffi::OsStr) -> Content {
    // Without O_NONBLOCK, opening a FIFO would wait for a writer for ever.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = match openat(directory, name, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return absent_or_dangling(directory, name),
        Err(e) => return Content::Unusable(format!("cannot be opened: {}", reason(e))),
    };
    let stat = match fstat(&fd) {
        Ok(stat) => stat,
        Err(e) => return Content::Unusable(format!("cannot be read: {}", reason(e))),
    };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => read_text(File::from(fd)),
        FileType::Directory => Content::Directory,
        _ => Content::Unusable("is not a regular file".to_owned()),
    }
}

fn absent_or_dangling(directory: BorrowedFd<'_>, name: &std::ffi::OsStr) -> Content {
    match rustix::fs::readlinkat(directory, name, Vec::new()) {
        Ok(target) => Content::Unusable(format!(
            "is a link to {:?}, which does not exist",
            target.to_string_lossy()
        )),
        Err(_) => Content::Absent,
    }
}

fn read_text(file: File) -> Content {
    let mut bytes = Vec::new();
    match file.take(MAX_BYTES + 1).read_to_end(&mut bytes) {
        Err(e) => Content::Unusable(format!("cannot be read: {e}")),
        Ok(_) if bytes.len() as u64 > MAX_BYTES => {
            Content::Unusable(format!("is longer than {} MiB", MAX_BYTES >> 20))
        }
        Ok(_) => match String::from_utf8(bytes) {
            Ok(text) => Content::Text(text),
            Err(e) => {
                let good = &e.as_bytes()[..e.utf8_error().valid_up_to()];
                let line = good.iter().filter(|b| **b == b'\n').count() + 1;
                Content::Unusable(format!("is not UTF-8 text: line {line}"))
            }
        },
    }
}

fn reason(errno: Errno) -> String {
    std::io::Error::from(errno).to_string()
}
