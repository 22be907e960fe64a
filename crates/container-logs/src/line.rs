//! One line of the CRI log format: `2026-11-21T10:00:00.123456789Z stdout F text`.
//!
//! The tag is `F` where the text ended with a new line, `P` where it goes on in the next line of the same stream. A piece is
//! formatted by itself: whether the one before it was partial plays no part, so a writer keeps no state per container.

use std::fmt;

/// Longest text of one log line, as containerd splits.
pub(crate) const LONGEST_TEXT: usize = 16 << 10;

/// Time, stream and tag with the spaces after them.
pub(crate) const HEADER: usize = TIME + 1 + 6 + 1 + 1 + 1;
const TIME: usize = 30;

/// Which output of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    pub fn as_str(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The first piece of `text`: how many bytes it takes from `text` and how many of them are shown.
pub(crate) struct Piece {
    pub(crate) taken: usize,
    pub(crate) shown: usize,
}

impl Piece {
    /// Cuts the first line off `text`, which is not empty, or `longest` bytes of it.
    pub(crate) fn first_of(text: &[u8], longest: usize) -> Self {
        let window = &text[..text.len().min(longest + 1)];
        match memchr::memchr(b'\n', window) {
            Some(at) => Self {
                taken: at + 1,
                shown: at,
            },
            None => {
                let shown = text.len().min(longest);
                Self {
                    taken: shown,
                    shown,
                }
            }
        }
    }
    pub(crate) fn is_whole(&self) -> bool {
        self.taken > self.shown
    }
    /// Bytes of the formatted line.
    pub(crate) fn formatted(&self) -> usize {
        HEADER + self.shown + 1
    }
}

/// Everything before the text, ready to be copied.
pub(crate) struct Header {
    whole: [u8; HEADER],
}

impl Header {
    /// `at` is nanoseconds since 1970-01-01T00:00:00Z.
    pub(crate) fn new(at: i64, stream: Stream) -> Self {
        let mut whole = [b' '; HEADER];
        whole[..TIME].copy_from_slice(&time(at));
        whole[TIME + 1..TIME + 7].copy_from_slice(stream.as_str().as_bytes());
        whole[HEADER - 2] = b'F';
        Self { whole }
    }
    /// Appends the line for `piece`, the beginning of `text`.
    pub(crate) fn write(&self, out: &mut Vec<u8>, text: &[u8], piece: &Piece) {
        let start = out.len();
        out.extend_from_slice(&self.whole);
        if !piece.is_whole() {
            out[start + HEADER - 2] = b'P';
        }
        out.extend_from_slice(&text[..piece.shown]);
        out.push(b'\n');
    }
}

struct Civil {
    year: i64,
    month: i64,
    day: i64,
    seconds: i64,
}

/// The calendar date by Howard Hinnant's `civil_from_days`; years are kept within four digits.
fn civil(at: i64) -> Civil {
    let total = at
        .div_euclid(1_000_000_000)
        .clamp(-62_135_596_800, 253_402_300_799);
    let z = total.div_euclid(86_400) + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let m = (5 * day_of_year + 2) / 153;
    let month = if m < 10 { m + 3 } else { m - 9 };
    Civil {
        year: year_of_era + era * 400 + i64::from(month <= 2),
        month,
        day: day_of_year - (153 * m + 2) / 5 + 1,
        seconds: total.rem_euclid(86_400),
    }
}

fn digits(out: &mut [u8], mut value: i64) {
    for place in out.iter_mut().rev() {
        *place = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
    }
}

/// RFC 3339 in UTC with nine digits of a second.
pub(crate) fn time(at: i64) -> [u8; TIME] {
    let c = civil(at);
    let mut out = *b"0000-00-00T00:00:00.000000000Z";
    digits(&mut out[0..4], c.year);
    digits(&mut out[5..7], c.month);
    digits(&mut out[8..10], c.day);
    digits(&mut out[11..13], c.seconds / 3600);
    digits(&mut out[14..16], c.seconds / 60 % 60);
    digits(&mut out[17..19], c.seconds % 60);
    digits(&mut out[20..29], at.rem_euclid(1_000_000_000));
    out
}

/// `20261121-100000`: the second, as the kubelet names a rotated log after it.
pub(crate) fn rotation_stamp(at: i64) -> [u8; 15] {
    let c = civil(at);
    let mut out = *b"00000000-000000";
    digits(&mut out[0..4], c.year);
    digits(&mut out[4..6], c.month);
    digits(&mut out[6..8], c.day);
    digits(&mut out[9..11], c.seconds / 3600);
    digits(&mut out[11..13], c.seconds / 60 % 60);
    digits(&mut out[13..15], c.seconds % 60);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formatted(text: &[u8], longest: usize) -> String {
        let header = Header::new(1_795_255_200_123_456_789, Stream::Stdout);
        let (mut out, mut rest) = (Vec::new(), text);
        while !rest.is_empty() {
            let piece = Piece::first_of(rest, longest);
            let before = out.len();
            header.write(&mut out, rest, &piece);
            assert_eq!(out.len() - before, piece.formatted());
            rest = &rest[piece.taken..];
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_has_time_stream_tag_and_text() {
        let t = "2026-11-21T10:00:00.123456789Z stdout";
        for (text, longest, want) in [
            ("hello\n", 100, format!("{t} F hello\n")),
            ("a\nb\n", 100, format!("{t} F a\n{t} F b\n")),
            ("\n", 100, format!("{t} F \n")),
            ("no end", 100, format!("{t} P no end\n")),
            ("a\nno end", 100, format!("{t} F a\n{t} P no end\n")),
            ("12345", 4, format!("{t} P 1234\n{t} P 5\n")),
            ("1234\n", 4, format!("{t} F 1234\n")),
            ("12345\n", 4, format!("{t} P 1234\n{t} F 5\n")),
        ] {
            assert_eq!(formatted(text.as_bytes(), longest), want);
        }
    }

    #[test]
    fn times_are_written_as_the_calendar_has_them() {
        for (at, want) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
            (951_782_400_000_000_001, "2000-02-29T00:00:00.000000001Z"),
            (1_709_251_199_999_999_999, "2024-02-29T23:59:59.999999999Z"),
            (1_735_689_599_000_000_000, "2024-12-31T23:59:59.000000000Z"),
            (i64::MAX, "2262-04-11T23:47:16.854775807Z"),
            (i64::MIN, "1677-09-21T00:12:43.145224192Z"),
        ] {
            assert_eq!(std::str::from_utf8(&time(at)).unwrap(), want);
        }
        assert_eq!(
            &rotation_stamp(1_795_255_200_123_456_789),
            b"20261121-100000"
        );
    }
}
