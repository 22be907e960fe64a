//! The encoder.

use super::Description;
use std::fmt::Write;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Kubernetes' promise about a metric, written before its help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stability {
    Alpha,
    Beta,
    Stable,
    /// No promise is written: the metrics of the process.
    None,
}

/// A scrape being written.
#[derive(Debug, Default)]
pub struct Text {
    out: String,
}

impl Text {
    /// The content type of the text.
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    pub fn new() -> Self {
        Self::default()
    }
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }
    pub(super) fn truncate(&mut self, len: usize) {
        self.out.truncate(len);
    }
    pub fn finish(self) -> String {
        self.out
    }

    /// Help and type; its samples come next.
    pub fn begin(&mut self, description: &Description, kind: Kind) {
        let stability = match description.stability {
            Stability::Alpha => "[ALPHA] ",
            Stability::Beta => "[BETA] ",
            Stability::Stable => "[STABLE] ",
            Stability::None => "",
        };
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let Description { name, help, .. } = description;
        self.add(format_args!("# HELP {name} {stability}"));
        for c in help.chars() {
            match c {
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                c => self.out.push(c),
            }
        }
        self.add(format_args!("\n# TYPE {name} {kind}\n"));
    }

    /// One line: `name{labels} value [milliseconds]`.
    pub fn sample(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        value: f64,
        timestamp_ms: Option<i64>,
    ) {
        self.sample_with(name, "", labels, None, value, timestamp_ms);
    }

    /// As [`Self::sample`]; `suffix` goes on the name, `last` is a label after the others.
    pub(super) fn sample_with(
        &mut self,
        name: &str,
        suffix: &str,
        labels: &[(&str, &str)],
        last: Option<(&str, &str)>,
        value: f64,
        timestamp_ms: Option<i64>,
    ) {
        self.out.push_str(name);
        self.out.push_str(suffix);
        let mut open = '{';
        for (label, text) in labels.iter().copied().chain(last) {
            self.out.push(open);
            open = ',';
            self.out.push_str(label);
            self.out.push_str("=\"");
            for c in text.chars() {
                match c {
                    '\\' => self.out.push_str("\\\\"),
                    '\n' => self.out.push_str("\\n"),
                    '"' => self.out.push_str("\\\""),
                    c => self.out.push(c),
                }
            }
            self.out.push('"');
        }
        if open == ',' {
            self.out.push('}');
        }
        self.out.push(' ');
        self.number(value);
        if let Some(at) = timestamp_ms {
            self.add(format_args!(" {at}"));
        }
        self.out.push('\n');
    }

    /// As Go's `FormatFloat(value, 'g', -1, 64)`.
    pub(super) fn number(&mut self, value: f64) {
        if value.is_nan() {
            self.out.push_str("NaN");
        } else if value.is_infinite() {
            self.out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
        } else {
            let magnitude = value.abs();
            // Shortest digits; the exponent form from 1e21 up and below 1e-4, as Go chooses for shortest digits.
            if magnitude != 0.0 && !(1e-4..1e21).contains(&magnitude) {
                let text = format!("{value:e}");
                let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
                let (sign, exponent) = match exponent.strip_prefix('-') {
                    Some(rest) => ('-', rest),
                    None => ('+', exponent),
                };
                self.add(format_args!("{digits}e{sign}{exponent:0>2}"));
            } else {
                self.add(format_args!("{value}"));
            }
        }
    }

    fn add(&mut self, arguments: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.out.write_fmt(arguments);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_reads_and_writes_them() {
        for (value, want) in [
            (0.0, "0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.0025, "0.0025"),
            (0.00001, "1e-05"),
            (12_345_678.0, "12345678"),
            (1e21, "1e+21"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            let mut text = Text::new();
            text.number(value);
            assert_eq!(text.finish(), want);
        }
    }

    #[test]
    fn what_would_break_the_format_is_escaped() {
        let mut text = Text::new();
        text.begin(&Description::alpha("m", "a \\ and\na line"), Kind::Gauge);
        text.sample("m", &[("l", "say \"hi\"\n\\")], 1.0, Some(-5));
        assert_eq!(
            text.finish(),
            "# HELP m [ALPHA] a \\\\ and\\na line\n# TYPE m gauge\nm{l=\"say \\\"hi\\\"\\n\\\\\"} 1 -5\n"
        );
    }
}
