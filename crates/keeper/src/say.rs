//! The keeper's few words for people, on standard error: one line each, with the time. Never waits long, never fails.

use std::collections::BTreeSet;

/// Says one line.
pub(crate) fn say(line: &str) {
    let line: String = line
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let seconds = linux_sys::clock::realtime_nanos() / 1_000_000_000;
    let text = format!("{seconds} keeper: {line}\n");
    // nobody may read it any more; then it is lost
    let _ = rustix::io::write(std::io::stderr(), text.as_bytes());
}

/// An error and what caused it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(e) = source {
        text = format!("{text}: {e}");
        source = e.source();
    }
    text
}

/// Lines that are said once in a keeper's life.
#[derive(Debug, Default)]
pub(crate) struct Once {
    said: BTreeSet<String>,
}

impl Once {
    pub(crate) fn say(&mut self, line: &str) {
        // bounded: what varies without end is not said through this
        if self.said.len() < 64 && self.said.insert(line.to_owned()) {
            say(line);
        }
    }
}
