//! How a container ended: what `state.terminated` of its status says.

use pod_model::{Attempt, ExitCause, ExitRecord, MonoTime, Now, WallTime};
use serde::{Deserialize, Serialize};

/// A kubelet's words for a container that is gone and left no exit code.
pub(crate) const LOST: &str = "The container could not be located when the pod was terminated";
const LONGEST_MESSAGE: usize = 2048;
/// A kubelet's `MaxContainerTerminationMessageLength`.
const LONGEST_LAST_WORDS: usize = 4096;

/// The `reason` of a terminated container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EndReason {
    Completed,
    Error,
    #[serde(rename = "OOMKilled")]
    OomKilled,
    /// Made, but its program could not be executed.
    StartError,
    /// Nobody saw how it ended.
    ContainerStatusUnknown,
}

impl EndReason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "Completed",
            Self::Error => "Error",
            Self::OomKilled => "OOMKilled",
            Self::StartError => "StartError",
            Self::ContainerStatusUnknown => "ContainerStatusUnknown",
        }
    }
}

/// The end of one attempt. Never changed once written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    pub attempt: Attempt,
    pub code: i32,
    pub signal: Option<i32>,
    pub reason: EndReason,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// `None`: nobody knows.
    pub started_at: Option<WallTime>,
    pub finished_at: Option<WallTime>,
    /// What the crash back-off is counted from.
    pub finished_mono: MonoTime,
}

impl Ending {
    /// A message of the runtime comes before the program's own, as with a kubelet.
    pub(crate) fn from_exit(attempt: Attempt, exit: &ExitRecord, last_words: Option<&str>) -> Self {
        let (code, reason, message) = match exit.cause {
            ExitCause::Exited if exit.code == 0 => (0, EndReason::Completed, None),
            ExitCause::Exited => (exit.code, EndReason::Error, None),
            ExitCause::OomKilled => (exit.code, EndReason::OomKilled, None),
            // whatever the number says, it is not a success
            ExitCause::Unknown => (
                137,
                EndReason::ContainerStatusUnknown,
                Some(LOST.to_owned()),
            ),
        };
        let words = last_words
            .filter(|words| !words.is_empty())
            .map(|words| cut(words, LONGEST_LAST_WORDS));
        let message: Option<String> = match (message, words) {
            (Some(message), Some(words)) => Some(format!("{message}: {words}")),
            (message, words) => message.or(words.map(str::to_owned)),
        };
        Self {
            attempt,
            code,
            signal: exit.signal,
            reason,
            message,
            started_at: Some(exit.started_at),
            finished_at: Some(exit.finished_at),
            finished_mono: exit.finished_mono,
        }
    }
    /// It is gone, and how is not known.
    pub(crate) fn lost(attempt: Attempt, started_at: Option<WallTime>, now: Now) -> Self {
        Self {
            attempt,
            code: 137,
            signal: None,
            reason: EndReason::ContainerStatusUnknown,
            message: Some(LOST.to_owned()),
            started_at,
            finished_at: Some(now.wall),
            finished_mono: now.mono,
        }
    }
    /// Its program could not be executed: exit code 128, with the kernel's word.
    pub(crate) fn start_error(attempt: Attempt, message: &str, at: Now) -> Self {
        Self {
            attempt,
            code: 128,
            signal: None,
            reason: EndReason::StartError,
            message: Some(bounded(message)),
            started_at: Some(at.wall),
            finished_at: Some(at.wall),
            finished_mono: at.mono,
        }
    }
    /// An init container that must have succeeded, as main containers of its pod run. A kubelet's words.
    pub(crate) fn inferred_success(attempt: Attempt, now: Now) -> Self {
        Self {
            attempt,
            code: 0,
            signal: None,
            reason: EndReason::Completed,
            message: Some(
                "Unable to get init container status from container runtime and pod has been initialized, treat it as exited normally"
                    .to_owned(),
            ),
            started_at: None,
            finished_at: None,
            finished_mono: now.mono,
        }
    }
}

/// Texts from outside are kept in the record: bounded, so that a record is.
pub(crate) fn bounded(text: &str) -> String {
    cut(text, LONGEST_MESSAGE).to_owned()
}

/// At most so many bytes of the beginning, whole characters only.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}
