//! Numbered log lines, so that a reader sees at once whether one is missing or doubled.

use std::io::Write;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

static COUNT: Mutex<u64> = Mutex::new(0);

/// Prints `NUMBER SECONDS.MILLISECONDS TEXT` as one write. The number and the line leave under one lock, so they stay in order.
/// A reader that went away is none of a log line's business.
pub(crate) fn say(text: &str) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let Ok(mut count) = COUNT.lock() else { return };
    *count += 1;
    let line = format!(
        "{} {}.{:03} {text}\n",
        *count,
        now.as_secs(),
        now.subsec_millis()
    );
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
}
