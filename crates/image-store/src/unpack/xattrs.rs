//! Extended attributes of entries: which are set, which are dropped, which refuse the archive.

use super::error::{UnpackError, printable};
use super::tar_stream::Entry;
use rustix::fs::XattrFlags;
use rustix::io::Errno;
use std::os::fd::BorrowedFd;

/// What to do with an extended attribute of an archive.
enum XattrPolicy {
    Set,
    Drop,
    Refuse,
}

fn policy(name: &[u8]) -> XattrPolicy {
    if name == b"security.capability"
        || name == b"security.ima"
        || name.starts_with(b"system.posix_acl_")
        || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
    {
        XattrPolicy::Set
    } else if name.starts_with(b"security.") {
        XattrPolicy::Drop
    } else {
        XattrPolicy::Refuse
    }
}

/// Whether any attribute is to be set; refuses those that must not come from an archive.
pub(super) fn has_settable_xattrs(entry: &Entry) -> Result<bool, UnpackError> {
    let mut any = false;
    for (name, _) in &entry.xattrs {
        match policy(name) {
            XattrPolicy::Set => any = true,
            XattrPolicy::Drop => {}
            XattrPolicy::Refuse => {
                return Err(UnpackError::Entry {
                    entry: printable(&entry.path),
                    what: "has an extended attribute that an image may not set",
                });
            }
        }
    }
    Ok(any)
}

pub(super) fn set_xattrs(fd: BorrowedFd<'_>, entry: &Entry) -> Result<(), UnpackError> {
    if entry.xattrs.is_empty() || !has_settable_xattrs(entry)? {
        return Ok(());
    }
    for (name, value) in &entry.xattrs {
        if !matches!(policy(name), XattrPolicy::Set) {
            continue;
        }
        match rustix::fs::fsetxattr(fd, name.as_slice(), value, XattrFlags::empty()) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::RANGE | Errno::TOOBIG) => {
                return Err(UnpackError::Entry {
                    entry: printable(&entry.path),
                    what: "has an extended attribute with a bad value",
                });
            }
            // A file system without user attributes or ACLs runs the program all the same; one without capabilities would not.
            Err(Errno::OPNOTSUPP) if name != b"security.capability" => {}
            Err(errno) => {
                return Err(UnpackError::Io {
                    what: "set an extended attribute of",
                    entry: printable(&entry.path),
                    source: std::sync::Arc::new(errno.into()),
                });
            }
        }
    }
    Ok(())
}
