//! What one image may still cost: shared by its layers, taken from before anything is written.

use super::error::UnpackError;
use crate::config::Limits;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) limits: Limits,
    bytes_left: AtomicU64,
    entries_left: AtomicU64,
}

impl Budget {
    pub(crate) fn new(limits: Limits) -> Budget {
        Budget {
            limits,
            bytes_left: AtomicU64::new(limits.unpacked_bytes),
            entries_left: AtomicU64::new(limits.entries),
        }
    }
    pub(crate) fn take_bytes(&self, bytes: u64) -> Result<(), UnpackError> {
        take(&self.bytes_left, bytes).map_err(|()| {
            UnpackError::Budget(format!(
                "the image unpacks to more than the {} bytes allowed",
                self.limits.unpacked_bytes
            ))
        })
    }
    pub(crate) fn take_entry(&self) -> Result<(), UnpackError> {
        take(&self.entries_left, 1).map_err(|()| {
            UnpackError::Budget(format!(
                "the image has more than the {} files and directories allowed",
                self.limits.entries
            ))
        })
    }
    /// Refuses a stream that grows out of all proportion.
    pub(crate) fn check_expansion(
        &self,
        compressed: u64,
        unpacked: u64,
    ) -> Result<(), UnpackError> {
        let limits = &self.limits;
        if unpacked > limits.expansion_checked_from
            && unpacked / limits.expansion.max(1) > compressed
        {
            return Err(UnpackError::Budget(format!(
                "{compressed} compressed bytes became {unpacked}, more than {} times as many: a decompression bomb",
                limits.expansion
            )));
        }
        Ok(())
    }
}

fn take(left: &AtomicU64, amount: u64) -> Result<(), ()> {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
        left.checked_sub(amount)
    })
    .map(drop)
    .map_err(drop)
}
