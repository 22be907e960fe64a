//! What a keeper with nothing to do gives back, in two steps: soon the free pages of its heap, later those of its program.

use std::time::Duration;

const TRIM_AFTER: Duration = Duration::from_millis(500);
/// Longer: the next launch would have to touch them again.
const FORGET_AFTER: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// It has done something that may have left memory behind.
    Worked,
    Trimmed,
    Forgotten,
}

impl Rest {
    /// How long nothing has to happen before [`Self::next`]; `None`: there is no next.
    pub(crate) fn after(self) -> Option<Duration> {
        match self {
            Rest::Worked => Some(TRIM_AFTER),
            Rest::Trimmed => Some(FORGET_AFTER),
            Rest::Forgotten => None,
        }
    }

    /// Takes the next step.
    pub(crate) fn next(self) -> Self {
        match self {
            Rest::Worked => {
                linux_sys::memory::trim();
                Rest::Trimmed
            }
            Rest::Trimmed | Rest::Forgotten => {
                // without /proc they stay, and nothing is wrong
                let _ = linux_sys::memory::forget_file_pages();
                linux_sys::memory::trim();
                Rest::Forgotten
            }
        }
    }
}
