//! Control files: small texts, written in one `write`, read whole.

use crate::error::{self, CgroupError};
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Writes `value` in one `write(2)`, which is what the kernel parses.
pub(crate) fn write(directory: &Path, file: &str, value: &str) -> Result<(), CgroupError> {
    let path = directory.join(file);
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|mut f| f.write_all(value.as_bytes()))
        .map_err(|source| CgroupError::Write {
            path,
            value: value.to_owned(),
            source,
        })
}

/// One write per value into one open file.
pub(crate) fn write_each(
    directory: &Path,
    file: &str,
    values: &[String],
) -> Result<(), CgroupError> {
    let path = directory.join(file);
    let failed = |value: &str, source| CgroupError::Write {
        path: path.clone(),
        value: value.to_owned(),
        source,
    };
    let mut open = fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .map_err(|e| failed("", e))?;
    for value in values {
        open.write_all(value.as_bytes())
            .map_err(|e| failed(value, e))?;
    }
    Ok(())
}

/// The whole file, at most 1 MiB of it.
pub(crate) fn read(directory: &Path, file: &str) -> Result<String, CgroupError> {
    let path = directory.join(file);
    let mut text = String::new();
    fs::File::open(&path)
        .and_then(|f| f.take(1 << 20).read_to_string(&mut text))
        .map_err(|source| CgroupError::Read { path, source })?;
    Ok(text)
}

/// A file that holds one number; `max` and v1's "as much as fits" are `None`.
pub(crate) fn read_number(directory: &Path, file: &str) -> Result<Option<u64>, CgroupError> {
    let text = read(directory, file)?;
    let text = text.trim();
    if text == "max" || text == "-1" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| CgroupError::Parse {
        path: directory.join(file),
        text: text.to_owned(),
    })
}

/// The value of a key in a file of `key value` lines.
pub(crate) fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines()
        .filter_map(|l| l.split_once(' '))
        .find(|(k, _)| *k == key)
        .and_then(|(_, v)| v.trim().parse().ok())
}

/// The process ids in a cgroup itself, not in its children.
pub(crate) fn processes(directory: &Path) -> Result<Vec<u32>, CgroupError> {
    match read(directory, "cgroup.procs") {
        Ok(text) => Ok(text.lines().filter_map(|l| l.trim().parse().ok()).collect()),
        Err(e) if e.is_gone() => Ok(Vec::new()),
        // a threaded v2 cgroup tells its threads only
        Err(CgroupError::Read { source, .. })
            if source.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error()) =>
        {
            let text = read(directory, "cgroup.threads")?;
            Ok(text.lines().filter_map(|l| l.trim().parse().ok()).collect())
        }
        Err(e) => Err(e),
    }
}

/// The child cgroups, in no order. None, if the directory is gone.
pub(crate) fn children(directory: &Path) -> Result<Vec<PathBuf>, CgroupError> {
    let failed = |source| CgroupError::Read {
        path: directory.to_owned(),
        source,
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if error::is_gone(&e) => return Ok(Vec::new()),
        Err(e) => return Err(failed(e)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(e) if error::is_gone(&e) => break,
            Err(e) => return Err(failed(e)),
        };
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// The cgroup and everything below it, deepest first.
pub(crate) fn deepest_first(directory: &Path) -> Result<Vec<PathBuf>, CgroupError> {
    let mut all = vec![directory.to_owned()];
    let mut next = 0;
    while next < all.len() {
        let below = children(&all[next])?;
        all.extend(below);
        next += 1;
    }
    all.reverse();
    Ok(all)
}

/// Makes one cgroup. `true` if it was not there.
pub(crate) fn make(directory: &Path) -> Result<bool, CgroupError> {
    match fs::create_dir(directory) {
        Ok(()) => Ok(true),
        Err(e) if error::exists(&e) => Ok(false),
        Err(source) => Err(CgroupError::Create {
            path: directory.to_owned(),
            source,
        }),
    }
}

/// Removes a cgroup in which nothing is. `false`: there is something in it, or it is not there.
pub(crate) fn remove_empty(directory: &Path) -> bool {
    fs::remove_dir(directory).is_ok()
}

pub(crate) fn is_missing_parent(error: &CgroupError) -> bool {
    matches!(error, CgroupError::Create { source, .. } if source.kind() == io::ErrorKind::NotFound)
}
