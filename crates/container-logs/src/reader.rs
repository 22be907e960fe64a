//! Reading a log back: what `coracle logs` and `/containerLogs` show.
//!
//! ```text
//!   rotated, oldest ──► … ──► rotated, newest ──► current ──caught up──► (wait) ──► current, or what it was rotated to, and on
//! ```
//!
//! A [`Reader`] never waits: [`Reader::read`] gives what there is and says [`Progress::CaughtUp`]; whoever follows waits on a
//! [`LogWatch`] and reads again. It blocks on the disk, so it belongs on a thread that may. Unlike a kubelet it starts with the oldest
//! file that is still there, not with the current one: a rotation hides nothing.

mod files;
mod input;
mod log_line;
mod tail;
mod watch;

#[cfg(test)]
mod tests;

pub use watch::LogWatch;

use crate::line::{self, Stream};
use files::{Files, Open};
use log_line::LogLine;
use std::io;
use std::path::{Path, PathBuf};

/// Bytes that [`Reader::read`] gives at once, about.
const ENOUGH: usize = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("log {path} is not there")]
    Missing { path: PathBuf },
    #[error("cannot read log {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("log {path} is refused: {what}")]
    Foreign { path: PathBuf, what: &'static str },
}

/// What of a log is wanted; the default is everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// Only so many lines at the end.
    pub tail_lines: Option<u64>,
    /// Only lines of this time and later: nanoseconds since 1970.
    pub since: Option<i64>,
    /// End after so many bytes of output, even in the middle of a line.
    pub limit_bytes: Option<u64>,
    /// Put the time and a space before each line.
    pub timestamps: bool,
    /// Only this output of the container.
    pub stream: Option<Stream>,
}

/// How far a [`Reader`] has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There is more; read again.
    More,
    /// That is all there is now.
    CaughtUp,
    /// `limit_bytes` were given; there will never be more.
    LimitReached,
}

/// Goes through the files of one log, oldest to newest.
pub struct Reader {
    files: Files,
    options: ReadOptions,
    /// The written form of `options.since`: times of one length and zone compare as text.
    since: Option<[u8; 30]>,
    /// What `limit_bytes` leaves.
    left: Option<u64>,
    open: Option<Open>,
    /// Lines to pass over, for the tail.
    skip: u64,
    /// What was given last was the end of a line.
    at_line_start: bool,
}

impl Reader {
    /// Finds where to begin in the log at `path`, the current file of one attempt.
    ///
    /// # Errors
    /// [`ReadError::Missing`] when there is neither this file nor a rotated one.
    pub fn open(path: &Path, options: ReadOptions) -> Result<Self, ReadError> {
        let mut files = Files::of(path)?;
        let start = match options.tail_lines {
            Some(lines) => tail::find(&mut files, lines, options.stream)?,
            None => files.oldest(options.since)?,
        };
        Ok(Self {
            files,
            since: options.since.map(line::time),
            left: options.limit_bytes,
            options,
            open: start.open,
            skip: start.skip,
            at_line_start: true,
        })
    }

    /// Appends what comes next to `out`.
    pub fn read(&mut self, out: &mut Vec<u8>) -> Result<Progress, ReadError> {
        let start = out.len();
        if self.left == Some(0) {
            return Ok(Progress::LimitReached);
        }
        let progress = self.fill(out)?;
        if let Some(left) = &mut self.left {
            let given = (out.len() - start) as u64;
            if given >= *left {
                out.truncate(start + usize::try_from(*left).unwrap_or(usize::MAX));
                *left = 0;
                return Ok(Progress::LimitReached);
            }
            *left -= given;
        }
        Ok(progress)
    }

    fn fill(&mut self, out: &mut Vec<u8>) -> Result<Progress, ReadError> {
        let start = out.len();
        while out.len() - start < ENOUGH {
            let Some(open) = &mut self.open else {
                self.open = self.files.open_next()?;
                if self.open.is_none() {
                    return Ok(Progress::CaughtUp);
                }
                continue;
            };
            match open.input.next().map_err(|e| self.files.error(e))? {
                Some(record) => {
                    if let Some(line) = LogLine::parse(record) {
                        if self.skip > 0 {
                            let is_end = line.is_of(self.options.stream) && !line.partial;
                            self.skip -= u64::from(is_end);
                        } else if is_wanted(&line, &self.options, self.since.as_ref()) {
                            give(&line, self.options.timestamps && self.at_line_start, out);
                            self.at_line_start = !line.partial;
                        }
                    }
                }
                // A current file that was renamed since may have grown before that: it is read to its end once more.
                None if open.rotated.is_none() => {
                    open.rotated = self.files.became(open)?;
                    if open.rotated.is_none() {
                        return Ok(Progress::CaughtUp);
                    }
                }
                None => {
                    self.files.finished(open);
                    self.open = None;
                }
            }
        }
        Ok(Progress::More)
    }
}

fn is_wanted(line: &LogLine<'_>, options: &ReadOptions, since: Option<&[u8; 30]>) -> bool {
    let is_old = since.is_some_and(|s| line.time.len() == s.len() && line.time < s.as_slice());
    line.is_of(options.stream) && !is_old
}

fn give(line: &LogLine<'_>, with_time: bool, out: &mut Vec<u8>) {
    if with_time {
        out.extend_from_slice(line.time);
        out.push(b' ');
    }
    out.extend_from_slice(line.text);
    if !line.partial {
        out.push(b'\n');
    }
}
