//! Waiting: a predicate, asked again until it holds or the deadline passes. A deadline says "never", it asserts no speed.

use std::time::{Duration, Instant};

/// `n` seconds, stretched by `CORACLE_TEST_SLOWNESS` where the machine is an emulated one.
pub fn seconds(n: u64) -> Duration {
    let factor = std::env::var("CORACLE_TEST_SLOWNESS")
        .ok()
        .and_then(|text| text.parse::<f64>().ok())
        .filter(|factor| *factor >= 1.0)
        .unwrap_or(1.0);
    Duration::from_secs(n).mul_f64(factor)
}

/// Asks `look` until it gives a value. Panics with what was waited for when `deadline` passes.
#[track_caller]
pub fn wait_for<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(
            begin.elapsed() < deadline,
            "waited {deadline:?} in vain for {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Asks `holds` until it does.
#[track_caller]
pub fn wait_until(what: &str, deadline: Duration, mut holds: impl FnMut() -> bool) {
    wait_for(what, deadline, || holds().then_some(()));
}
