//! The two clocks of the project: one that decides, one that is printed.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of `CLOCK_BOOTTIME`: never set back, counts suspend, the same for every process of one boot.
pub fn boottime_nanos() -> u64 {
    let t = clock_gettime(ClockId::Boottime);
    u64::try_from(t.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(t.tv_nsec).unwrap_or(0)
}

/// Nanoseconds since 1970-01-01T00:00:00Z by `CLOCK_REALTIME`; may jump in both directions.
pub fn realtime_nanos() -> i64 {
    let t = clock_gettime(ClockId::Realtime);
    t.tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(t.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{SystemTime, UNIX_EPOCH};

    #[test]
    fn boottime_never_goes_back() {
        let first = boottime_nanos();
        let second = boottime_nanos();
        assert!(first > 0 && second >= first);
    }

    #[test]
    fn realtime_is_the_clock_of_the_system() -> Result<(), std::time::SystemTimeError> {
        let before = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        let ours = u128::try_from(realtime_nanos()).unwrap_or(0);
        let after = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        assert!(
            before <= ours && ours <= after,
            "{before} <= {ours} <= {after}"
        );
        Ok(())
    }
}
