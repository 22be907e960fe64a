//! Texts as Go prints them, because people and dashboards match on them.

use std::time::Duration;

/// `time.Duration` as Go's `String` writes it: `10s`, `2m40s`, `5m0s`, `1.5s`, `850ms`; cut to milliseconds.
pub(crate) fn duration_ms(duration: Duration) -> String {
    let total = duration.as_millis();
    if total == 0 {
        return "0s".to_owned();
    }
    if total < 1000 {
        return format!("{total}ms");
    }
    let (seconds, millis) = (total / 1000, total % 1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = if millis == 0 {
        String::new()
    } else {
        format!(".{millis:03}").trim_end_matches('0').to_owned()
    };
    match (hours, minutes) {
        (0, 0) => format!("{seconds}{fraction}s"),
        (0, _) => format!("{minutes}m{seconds}{fraction}s"),
        _ => format!("{hours}h{minutes}m{seconds}{fraction}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::duration_ms;
    use std::time::Duration;

    #[test]
    fn durations_read_as_go_writes_them() {
        for (millis, text) in [
            (0, "0s"),
            (7, "7ms"),
            (850, "850ms"),
            (1_000, "1s"),
            (1_200, "1.2s"),
            (10_000, "10s"),
            (61_050, "1m1.05s"),
            (160_000, "2m40s"),
            (300_000, "5m0s"),
            (3_600_000, "1h0m0s"),
        ] {
            assert_eq!(duration_ms(Duration::from_millis(millis)), text);
        }
    }
}
