//! Where the last so many lines begin: from the end backwards, through as many files as it takes.
//!
//! A line is counted at its end, the record with tag `F`; an open line at the very end counts too. A compressed file cannot be read
//! backwards: it is counted through once, and then its first lines are passed over.

use super::ReadError;
use super::files::{Files, Open, Start};
use super::log_line::LogLine;
use crate::line::Stream;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

/// Read at once; larger than a longest record.
const BLOCK: u64 = 64 << 10;

struct Count {
    wanted: u64,
    seen: u64,
    stream: Option<Stream>,
    /// No record was looked at yet.
    at_end: bool,
}

impl Count {
    /// Takes the record before the ones looked at so far; true if it is the end of a line that is not wanted any more.
    fn is_beyond(&mut self, record: &[u8]) -> bool {
        let Some(line) = LogLine::parse(record).filter(|l| l.is_of(self.stream)) else {
            return false;
        };
        let is_counted = !line.partial || self.at_end;
        self.at_end = false;
        self.seen += u64::from(is_counted);
        self.seen > self.wanted
    }
}

pub(super) fn find(
    files: &mut Files,
    wanted: u64,
    stream: Option<Stream>,
) -> Result<Start, ReadError> {
    let mut count = Count {
        wanted,
        seen: 0,
        stream,
        at_end: true,
    };
    // Listed first: a rotation in between makes the tail longer, never shorter.
    let older = files.list()?;
    let mut first = None;
    if let Some((mut file, stat)) = files.open_current()? {
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let start = search(&file, size, &mut count).map_err(|e| files.error(e))?;
        file.seek(SeekFrom::Start(start.unwrap_or(0)))
            .map_err(|e| files.error(e))?;
        let open = Files::opened(file, &stat, None);
        if start.is_some() {
            return Ok(Start {
                open: Some(open),
                skip: 0,
            });
        }
        first = Some(open);
    }
    for rotated in older.iter().rev() {
        if !rotated.compressed
            && let Some((mut file, stat)) = files.open_plain(rotated)?
        {
            let size = u64::try_from(stat.st_size).unwrap_or(0);
            let start = search(&file, size, &mut count).map_err(|e| files.error(e))?;
            file.seek(SeekFrom::Start(start.unwrap_or(0)))
                .map_err(|e| files.error(e))?;
            let open = Files::opened(file, &stat, Some(rotated.clone()));
            if start.is_some() {
                return Ok(Start {
                    open: Some(open),
                    skip: 0,
                });
            }
            first = Some(open);
            continue;
        }
        let Some(open) = files.open_rotated(rotated)? else {
            // Dropped meanwhile, and so are all before it.
            break;
        };
        let lines = count_lines(open, stream).map_err(|e| files.error(e))?;
        let room = count.wanted - count.seen;
        first = files.open_rotated(rotated)?;
        if lines > room {
            return Ok(Start {
                open: first,
                skip: lines - room,
            });
        }
        count.seen += lines;
        count.at_end = false;
    }
    Ok(Start {
        open: first,
        skip: 0,
    })
}

/// The offset in `file` behind the first record that is beyond the count; `None` if the whole file is wanted.
fn search(file: &File, size: u64, count: &mut Count) -> io::Result<Option<u64>> {
    let mut block = Vec::new();
    // What is after the last new line is being written.
    let mut end = size;
    let mut is_first = true;
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        block.resize(usize::try_from(end - start).map_err(io::Error::other)?, 0);
        file.read_exact_at(&mut block, start)?;
        if is_first {
            let whole = memchr::memrchr(b'\n', &block).map_or(0, |at| at + 1);
            block.truncate(whole);
            is_first = false;
        }
        let mut record_end = block.len();
        while record_end > 0 {
            // The new line that ends the record is not the one that ends the record before it.
            let before = memchr::memrchr(b'\n', &block[..record_end - 1]);
            if before.is_none() && start > 0 && record_end < block.len() {
                break;
            }
            let record_start = before.map_or(0, |at| at + 1);
            if count.is_beyond(&block[record_start..record_end - 1]) {
                return Ok(Some(start + record_end as u64));
            }
            record_end = record_start;
        }
        end = start + record_end as u64;
    }
    Ok(None)
}

fn count_lines(mut open: Open, stream: Option<Stream>) -> io::Result<u64> {
    let mut lines = 0;
    while let Some(record) = open.input.next()? {
        let is_end = LogLine::parse(record).is_some_and(|l| l.is_of(stream) && !l.partial);
        lines += u64::from(is_end);
    }
    Ok(lines)
}
