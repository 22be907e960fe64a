//! `exec`: the command runs in the container; whoever can do that says how it went.

use crate::answer::{Answer, ErrorResult, go_seconds};
use pod_model::ContainerKey;
use std::future::Future;
use std::time::Duration;

/// How a command went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ran {
    /// It ended. Of what it wrote to both outputs there is no more than [`crate::MOST_OUTPUT`].
    Ended { code: i32, output: Vec<u8> },
    /// It ran too long; nothing of it is left.
    TimedOut,
    /// It did not run, or nobody knows how it ended.
    Failed(String),
}

/// Runs commands in containers.
pub trait Exec: Send + Sync + 'static {
    /// Dropping the future kills the command, with everything that it started, as the end of `at_most` does.
    fn exec(
        &self,
        container: &ContainerKey,
        command: &[String],
        at_most: Duration,
    ) -> impl Future<Output = Ran> + Send;
}

pub(crate) fn judge(ran: Ran, command: &[String], at_most: Duration) -> Answer {
    match ran {
        Ran::Ended { code: 0, .. } => Answer::Success,
        Ran::Ended { output, .. } => Answer::Failure(String::from_utf8_lossy(&output).into_owned()),
        Ran::TimedOut => Answer::Failure(timed_out(command, at_most)),
        Ran::Failed(why) => Answer::Error(ErrorResult::Unknown, why),
    }
}

/// As `command timed out: "sleep 9" timed out after 1s`.
pub fn timed_out(command: &[String], after: Duration) -> String {
    format!(
        "command timed out: {:?} timed out after {}",
        command.join(" "),
        go_seconds(after.as_secs())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_says_by_its_code_how_the_container_is() {
        let command = ["cat".to_owned(), "/tmp/healthy".to_owned()];
        let judged = |ran| judge(ran, &command, Duration::from_secs(2));
        let ended = |code, output: &[u8]| Ran::Ended {
            code,
            output: output.to_vec(),
        };
        assert_eq!(judged(ended(0, b"ok")), Answer::Success);
        let no_file = "cat: can't open '/tmp/healthy': No such file or directory\n";
        assert_eq!(
            judged(ended(1, no_file.as_bytes())),
            Answer::Failure(no_file.to_owned())
        );
        assert_eq!(
            judged(Ran::TimedOut),
            Answer::Failure(
                "command timed out: \"cat /tmp/healthy\" timed out after 2s".to_owned()
            )
        );
        assert_eq!(
            judged(Ran::Failed("gone".into())),
            Answer::Error(ErrorResult::Unknown, "gone".into())
        );
    }
}
