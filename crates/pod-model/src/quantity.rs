//! Kubernetes resource quantities (`100m`, `1.5Gi`, `2e3`) as exact integers.

use serde::{Deserialize, Serialize};
use std::fmt;

/// An amount in thousandths of its unit (millicores, milli-bytes), exact, rounded up where the text is finer. Source:
/// `k8s.io/apimachinery/pkg/api/resource`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Quantity {
    milli: i128,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a quantity: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)]
pub struct QuantityError(pub String);

impl Quantity {
    pub const fn from_milli(milli: i128) -> Self {
        Self { milli }
    }
    /// In thousandths of the unit.
    pub const fn milli(self) -> i128 {
        self.milli
    }
    /// In whole units, rounded up as the API does.
    pub fn value(self) -> i128 {
        self.milli.div_euclid(1000) + i128::from(self.milli.rem_euclid(1000) != 0)
    }

    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let bad = || QuantityError(text.to_owned());
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let end = rest
            .bytes()
            .position(|b| !b.is_ascii_digit() && b != b'.')
            .unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(bad());
        }
        // digits * 10^-scale * (2^shift | 10^exponent)
        let digits: i128 = format!("0{whole}{fraction}").parse().map_err(|_| bad())?;
        let scale = i32::try_from(fraction.len()).map_err(|_| bad())?;
        let (binary_shift, exponent) = suffix_value(suffix).ok_or_else(bad)?;
        let mut milli = digits
            .checked_mul(1i128.checked_shl(binary_shift).ok_or_else(bad)?)
            .ok_or_else(bad)?;
        let power = exponent + 3 - scale;
        if power >= 0 {
            let factor = 10i128.checked_pow(power.unsigned_abs()).ok_or_else(bad)?;
            milli = milli.checked_mul(factor).ok_or_else(bad)?;
        } else {
            milli = match 10i128.checked_pow(power.unsigned_abs()) {
                Some(divisor) => milli / divisor + i128::from(milli % divisor != 0),
                None => i128::from(milli != 0),
            };
        }
        Ok(Self {
            milli: if negative { -milli } else { milli },
        })
    }
}

/// In which family of suffixes a quantity was written; a sum is written in that of its first summand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuantityFormat {
    /// `Ki`, `Mi`, …
    Binary,
    /// `m`, `k`, `M`, …, or nothing.
    Decimal,
    /// `e3`, `E6`.
    Exponent,
}

impl QuantityFormat {
    pub fn of(text: &str) -> Self {
        let end = text.bytes().rposition(|b| b.is_ascii_digit() || b == b'.');
        let is_exponent = |b: &[u8]| matches!(b, [b'e' | b'E', rest @ ..] if !rest.is_empty());
        let start = text
            .bytes()
            .position(|b| b.is_ascii_alphabetic())
            .unwrap_or(text.len());
        if text.ends_with('i') {
            Self::Binary
        } else if end.is_some_and(|end| end > start) && is_exponent(&text.as_bytes()[start..]) {
            Self::Exponent
        } else {
            Self::Decimal
        }
    }
}

impl Quantity {
    /// As the API server writes it back: the largest suffix of its family that leaves a whole number (`1024Ki` is `1Mi`).
    pub fn canonical(self, format: QuantityFormat) -> String {
        if format == QuantityFormat::Binary && self.value().abs() >= 1024 {
            let (mut number, mut power) = (self.value(), 0);
            while number % 1024 == 0 && power + 1 < BINARY.len() {
                number /= 1024;
                power += 1;
            }
            return format!("{number}{}", BINARY[power]);
        }
        let (mut number, mut power) = (self.milli, 0);
        while number != 0 && number % 1000 == 0 && power + 1 < DECIMAL.len() {
            number /= 1000;
            power += 1;
        }
        match (number, format) {
            (0, _) => "0".to_owned(),
            (_, QuantityFormat::Exponent) if power != 1 => {
                format!("{number}e{}", 3 * (power as i32 - 1))
            }
            _ => format!("{number}{}", DECIMAL[power]),
        }
    }
}

const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const DECIMAL: [&str; 8] = ["m", "", "k", "M", "G", "T", "P", "E"];

fn suffix_value(suffix: &str) -> Option<(u32, i32)> {
    Some(match suffix {
        "" => (0, 0),
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            (0, exponent.parse::<i32>().ok().filter(|e| e.abs() <= 30)?)
        }
    })
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.milli % 1000 == 0 {
            write!(f, "{}", self.milli / 1000)
        } else {
            write!(f, "{}m", self.milli)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Quantity, QuantityFormat};

    #[test]
    fn quantities_are_written_as_the_api_server_writes_them() {
        for (text, canonical) in [
            ("0", "0"),
            ("0Mi", "0"),
            ("10Mi", "10Mi"),
            ("10240Ki", "10Mi"),
            ("0.5Gi", "512Mi"),
            ("1536Mi", "1536Mi"),
            ("100Ki", "100Ki"),
            ("0.5Ki", "512"),
            ("10485760", "10485760"),
            ("1000M", "1G"),
            ("1500m", "1500m"),
            ("0.1", "100m"),
            ("2e3", "2e3"),
            ("20E2", "2e3"),
            ("3E", "3E"),
            ("5e0", "5"),
            ("1e-3", "1e-3"),
        ] {
            let quantity = Quantity::parse(text).unwrap();
            assert_eq!(
                quantity.canonical(QuantityFormat::of(text)),
                canonical,
                "{text}"
            );
        }
    }

    #[test]
    fn quantities_mean_what_the_api_server_says_they_mean() {
        for (text, milli) in [
            ("0", 0),
            ("1", 1000),
            ("100m", 100),
            ("1.5", 1500),
            (".5", 500),
            ("5.", 5000),
            ("1Ki", 1_024_000),
            ("1.5Gi", 1_610_612_736_000),
            ("2e3", 2_000_000),
            ("1E", 1_000_000_000_000_000_000_000),
            ("1u", 1),
            ("-250m", -250),
            ("64Mi", 67_108_864_000),
        ] {
            assert_eq!(
                Quantity::parse(text).map(Quantity::milli),
                Ok(milli),
                "{text}"
            );
        }
        for text in [
            "",
            ".",
            "1.2.3",
            "abc",
            "1 Gi",
            "1gi",
            "0x10",
            "1e",
            "9".repeat(60).as_str(),
        ] {
            assert!(Quantity::parse(text).is_err(), "{text:?} is no quantity");
        }
    }
}
