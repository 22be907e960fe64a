//! What one try of a probe says.

/// In the words of a kubelet's prober, for its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Success,
    /// Counts as success, and a person should know this of it.
    Warning(String),
    Failure(String),
    /// Nothing was learned of the container. It is tried again at once, and then the try does not count.
    Error(ErrorResult, String),
}

/// The result that a kubelet names beside an error; it changes nothing but the event's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorResult {
    /// The try could not be made.
    Unknown,
    /// It was made, and broke off in the answer.
    Failure,
}

impl ErrorResult {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Failure => "failure",
        }
    }
}

/// How many times a try that ends in [`Answer::Error`] is made in a row (`maxProbeRetries`).
pub(crate) const TRIES: usize = 3;

/// Output of a command and body of a response are read up to here (`maxReadLength`, `maxRespBodyLength`).
pub const MOST_OUTPUT: usize = 10 << 10;

/// A span of whole seconds as Go prints it: `1s`, `1m30s`, `2h0m0s`.
pub(crate) fn go_seconds(seconds: u64) -> String {
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (h, m) {
        (0, 0) => format!("{s}s"),
        (0, m) => format!("{m}m{s}s"),
        (h, m) => format!("{h}h{m}m{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_printed_as_go_prints_them() {
        for (seconds, text) in [(1, "1s"), (60, "1m0s"), (90, "1m30s"), (7200, "2h0m0s")] {
            assert_eq!(go_seconds(seconds), text);
        }
    }
}
