//! Taking a line of the CRI log format apart.

use crate::line::Stream;

pub(super) struct LogLine<'a> {
    pub(super) time: &'a [u8],
    pub(super) stream: Stream,
    /// The text goes on in the next line of the stream.
    pub(super) partial: bool,
    pub(super) text: &'a [u8],
}

impl<'a> LogLine<'a> {
    /// `record` is without its new line. `None` if it is not one of ours: a reader passes over it, as a kubelet's does.
    pub(super) fn parse(record: &'a [u8]) -> Option<Self> {
        let mut parts = record.splitn(4, |b| *b == b' ');
        let time = parts.next()?;
        let stream = match parts.next()? {
            b"stdout" => Stream::Stdout,
            b"stderr" => Stream::Stderr,
            _ => return None,
        };
        // More tags may follow after colons.
        let partial = match parts.next()?.split(|b| *b == b':').next()? {
            b"P" => true,
            b"F" => false,
            _ => return None,
        };
        Some(Self {
            time,
            stream,
            partial,
            text: parts.next()?,
        })
    }
    pub(super) fn is_of(&self, wanted: Option<Stream>) -> bool {
        wanted.is_none_or(|w| w == self.stream)
    }
}
