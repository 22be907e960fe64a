//! The names of rotated logs: `0.log.20261121-100000`, `0.log.20261121-100000.0001`, each also with `.gz`.

use rustix::fs::Dir;
use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// One rotated file. Sorts by age, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rotated {
    stamp: [u8; 15],
    number: u32,
    pub(crate) compressed: bool,
}

impl Rotated {
    pub(crate) fn new(stamp: [u8; 15], number: u32) -> Self {
        Self {
            stamp,
            number,
            compressed: false,
        }
    }
    /// The file's name, `log` being that of the current one.
    pub(crate) fn name(&self, log: &OsStr) -> OsString {
        let mut name = log.as_bytes().to_vec();
        name.push(b'.');
        name.extend_from_slice(&self.stamp);
        if self.number > 0 {
            name.extend_from_slice(format!(".{:04}", self.number).as_bytes());
        }
        if self.compressed {
            name.extend_from_slice(b".gz");
        }
        OsString::from_vec(name)
    }
    pub(crate) fn with_compressed(&self, compressed: bool) -> Self {
        Self {
            compressed,
            ..self.clone()
        }
    }
    pub(crate) fn is_same_log(&self, other: &Self) -> bool {
        self.stamp == other.stamp && self.number == other.number
    }
    /// Reads back what [`Self::name`] wrote.
    pub(crate) fn parse(log: &OsStr, name: &[u8]) -> Option<Self> {
        let rest = name.strip_prefix(log.as_bytes())?.strip_prefix(b".")?;
        let (rest, compressed) = match rest.strip_suffix(b".gz") {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let (stamp, rest) = rest.split_first_chunk::<15>()?;
        let is_stamp = stamp.iter().enumerate().all(|(at, b)| match at {
            8 => *b == b'-',
            _ => b.is_ascii_digit(),
        });
        let number = match rest {
            [] => 0,
            [b'.', digits @ ..] if digits.len() >= 4 && digits.iter().all(u8::is_ascii_digit) => {
                str::from_utf8(digits)
                    .ok()?
                    .parse()
                    .ok()
                    .filter(|n| *n > 0)?
            }
            _ => return None,
        };
        is_stamp.then_some(Self {
            stamp: *stamp,
            number,
            compressed,
        })
    }
}

/// The rotated files of `log` in `directory`, oldest first; one that is there twice (compressed a moment ago) counts once.
///
/// A large directory is not read at one moment: of a file that is compressed meanwhile, the old name may be gone and the new one not
/// yet there where the reading stands. That happens to a file once, so that a second reading has what the first one missed.
pub(crate) fn list(directory: impl AsFd, log: &OsStr) -> rustix::io::Result<Vec<Rotated>> {
    let mut found = Vec::new();
    for _ in 0..2 {
        for entry in Dir::read_from(&directory)? {
            found.extend(Rotated::parse(log, entry?.file_name().to_bytes()));
        }
    }
    found.sort_unstable();
    found.dedup_by(|b, a| a.is_same_log(b));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn names_are_read_back_and_sort_by_age() {
        let log = OsStr::new("0.log");
        let names = [
            "0.log.20261121-095959.0001.gz",
            "0.log.20261121-100000",
            "0.log.20261121-100000.0001",
            "0.log.20261121-100000.9999",
            "0.log.20261121-100000.10000",
            "0.log.20261121-100001.gz",
        ];
        let read: Vec<_> = names
            .iter()
            .map(|n| Rotated::parse(log, n.as_bytes()).unwrap())
            .collect();
        assert!(read.is_sorted());
        for (rotated, name) in read.iter().zip(names) {
            assert_eq!(rotated.name(log), name);
        }
    }

    #[test]
    fn other_names_are_not_ours() {
        for name in [
            "0.log",
            "0.log.",
            "0.log.gz",
            "1.log.20261121-100000",
            "0.log.20261121_100000",
            "0.log.20261121-100000.gz.tmp",
            "0.log.20261121-100000.1",
            "0.log.20261121-100000.0000",
            "0.log.20261121-10000a",
            "0.log.20261121-100000.99999999999",
        ] {
            assert_eq!(
                Rotated::parse(OsStr::new("0.log"), name.as_bytes()),
                None,
                "{name}"
            );
        }
    }

    #[test]
    fn no_file_is_missed_while_files_are_compressed() {
        const FILES: u32 = 1_500;
        let directory = tempfile::tempdir().unwrap();
        let log = OsStr::new("0.log");
        let files: Vec<_> = (0..FILES)
            .map(|number| Rotated::new(*b"20261121-100000", number))
            .collect();
        let path = |file: &Rotated| directory.path().join(file.name(log));
        for file in &files {
            fs::write(path(file), "").unwrap();
        }
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for file in &files {
                    fs::write(path(&file.with_compressed(true)), "").unwrap();
                    fs::remove_file(path(file)).unwrap();
                }
                done.store(true, Ordering::SeqCst);
            });
            let opened = fs::File::open(directory.path()).unwrap();
            while !done.load(Ordering::SeqCst) {
                assert_eq!(list(&opened, log).unwrap().len(), files.len());
            }
        });
    }
}
