//! Durations and sizes as the configuration files write them.

use pod_model::Quantity;
use std::fmt;
use std::time::Duration;

const UNITS: [(&str, u64); 8] = [
    // Longer spellings first: `ms` begins with `m`.
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// A duration as Go writes it: `1m30s`, `1.5h`, `300ms`, `0`. Never negative; what is finer than a nanosecond is cut off.
///
/// # Errors
/// A message for people.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is not a duration such as \"20s\", \"1m30s\" or \"300ms\"");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.is_empty() || text.len() > 64 {
        return Err(bad());
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut nanos: u64 = 0;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(bad)?;
        let (number, after) = rest.split_at(end);
        let (unit, factor) = UNITS
            .iter()
            .find(|(unit, _)| after.starts_with(unit))
            .ok_or_else(bad)?;
        rest = &after[unit.len()..];
        let part = scaled(number, *factor).ok_or_else(bad)?;
        nanos = nanos.checked_add(part).ok_or_else(bad)?;
    }
    if text == "+" {
        return Err(bad());
    }
    // Go's durations end at 292 years.
    i64::try_from(nanos).map_err(|_| bad())?;
    Ok(Duration::from_nanos(nanos))
}

/// `number` of a unit in nanoseconds.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut nanos = whole.checked_mul(factor)?;
    let mut weight = factor;
    for digit in fraction.bytes() {
        weight /= 10;
        nanos = nanos.checked_add(u64::from(digit - b'0') * weight)?;
    }
    Some(nanos)
}

/// A duration as Go writes it, so that [`parse_duration`] reads it back.
pub fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let nanos = duration.subsec_nanos();
    let mut text = String::new();
    if hours > 0 {
        text += &format!("{hours}h");
    }
    if hours > 0 || minutes > 0 {
        text += &format!("{minutes}m");
    }
    text += &(seconds % 60).to_string();
    if nanos > 0 {
        text += format!(".{nanos:09}").trim_end_matches('0');
    }
    text + "s"
}

/// A number of bytes, written as a quantity: `10Mi`, `1G`, `4096`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// # Errors
    /// A message for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bytes = Quantity::parse(text).map(Quantity::value);
        bytes
            .ok()
            .and_then(|b| u64::try_from(b).ok())
            .map(Self)
            .ok_or_else(|| format!("{text:?} is not a size such as \"10Mi\", \"1G\" or \"4096\""))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (suffix, shift) in [("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)] {
            if self.0 > 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{suffix}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}
