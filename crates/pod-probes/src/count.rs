//! Thresholds: when a row of equal answers becomes a change.
//!
//! ```text
//!   answers     s s F F s F F F s …          failureThreshold 3, successThreshold 1
//!   told        ●             ●  ● (readiness; liveness and startup are on hold after a failure: the container is restarted)
//! ```

/// Counts the answers of one probe of one attempt.
#[derive(Debug, Clone)]
pub(crate) struct Counter {
    successes: u32,
    failures: u32,
    /// A failure that counts is the end of the attempt: nothing is counted after it.
    ends_at_failure: bool,
    /// The last answer and how many times in a row it came.
    row: (bool, u32),
    /// What was told last.
    told: Option<bool>,
}

impl Counter {
    /// `told` is what the pod's record holds already, from an agent of before.
    pub(crate) fn new(
        successes: u32,
        failures: u32,
        ends_at_failure: bool,
        told: Option<bool>,
    ) -> Self {
        Self {
            successes,
            failures,
            ends_at_failure,
            row: (false, 0),
            told,
        }
    }

    /// Takes one answer in. What it changes, if it changes something, is to be told.
    pub(crate) fn count(&mut self, healthy: bool) -> Option<bool> {
        if self.is_over() {
            return None;
        }
        let (last, times) = self.row;
        let times = if last == healthy {
            times.saturating_add(1)
        } else {
            1
        };
        self.row = (healthy, times);
        let enough = if healthy {
            self.successes
        } else {
            self.failures
        };
        if times < enough || self.told == Some(healthy) {
            return None;
        }
        self.told = Some(healthy);
        self.told
    }

    /// Whether the attempt is to be probed no more.
    pub(crate) fn is_over(&self) -> bool {
        self.ends_at_failure && self.told == Some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `s` and `F` are answers; `+` and `-` stand for what each one tells, `.` for nothing.
    fn check(mut counter: Counter, answers: &str, told: &str) {
        let said: String = answers
            .chars()
            .map(|answer| match counter.count(answer == 's') {
                None => '.',
                Some(true) => '+',
                Some(false) => '-',
            })
            .collect();
        assert_eq!(said, told, "for {answers}");
    }

    #[test]
    fn a_change_is_told_once_its_threshold_is_reached() {
        let readiness = |s, f| Counter::new(s, f, false, None);
        check(readiness(1, 3), "ssss", "+...");
        check(readiness(1, 3), "sFFsFFFF", "+.....-.");
        check(readiness(1, 3), "FFFs", "..-+");
        check(readiness(1, 1), "FsFs", "-+-+");
        check(readiness(3, 1), "ssFsss", "..-..+");
        check(readiness(2, 2), "sFsFss", ".....+");
    }

    #[test]
    fn after_a_liveness_failure_nothing_is_counted() {
        let liveness = |f| Counter::new(1, f, true, None);
        check(liveness(1), "Fsss", "-...");
        check(liveness(3), "sFFsFFFsss", "+.....-...");
    }

    #[test]
    fn what_an_earlier_agent_told_is_not_told_again() {
        check(Counter::new(1, 3, false, Some(true)), "sFFFs", "...-+");
        check(Counter::new(1, 3, false, Some(false)), "FFFFs", "....+");
    }
}
