//! Records out of one file, in bounded memory.

use flate2::read::GzDecoder;
use std::fs::File;
use std::io::{self, Read};

/// A record that is longer was not written by us; it is given in parts, which are no log lines.
const LONGEST_RECORD: usize = 64 << 10;
const STEP: usize = 32 << 10;
/// A compressed log that holds more than any limit for logs is a bomb: the rest of it is not read.
const LARGEST_COMPRESSED: u64 = 1 << 30;

pub(super) struct Input {
    source: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    start: usize,
}

impl Input {
    /// Reads `file` from where it stands.
    pub(super) fn plain(file: File) -> Self {
        Self::new(Box::new(file))
    }
    pub(super) fn compressed(file: File) -> Self {
        Self::new(Box::new(GzDecoder::new(file).take(LARGEST_COMPRESSED)))
    }
    fn new(source: Box<dyn Read + Send>) -> Self {
        Self {
            source,
            buffer: Vec::new(),
            start: 0,
        }
    }
    /// The next record without its new line; `None` at the end, where more may come later.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        let mut searched = self.start;
        loop {
            let found = memchr::memchr(b'\n', &self.buffer[searched..]).map(|at| searched + at);
            if let Some(end) = found {
                let start = std::mem::replace(&mut self.start, end + 1);
                return Ok(Some(&self.buffer[start..end]));
            }
            if self.buffer.len() - self.start > LONGEST_RECORD {
                let start = std::mem::replace(&mut self.start, self.buffer.len());
                return Ok(Some(&self.buffer[start..]));
            }
            self.buffer.drain(..self.start);
            self.start = 0;
            let filled = self.buffer.len();
            searched = filled;
            self.buffer.resize(filled + STEP, 0);
            let got = loop {
                match self.source.read(&mut self.buffer[filled..]) {
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    got => break got,
                }
            };
            self.buffer.truncate(filled + *got.as_ref().unwrap_or(&0));
            if got? == 0 {
                return Ok(None);
            }
        }
    }
}
