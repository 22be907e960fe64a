//! Replacing the keeper's program without ending its process: children stay children, descriptors stay open.

use crate::container::Asked;
use crate::keeper::Keeper;
use crate::protocol::Refusal;
use crate::{KeeperConfig, KeeperError};
use launch_plan::description::FdIndex;
use std::os::fd::OwnedFd;

pub(crate) struct Pending {
    pub(crate) asked: Asked,
    pub(crate) binary: OwnedFd,
}

pub(crate) struct Handover;

pub(crate) fn inherited() -> Result<Option<Handover>, KeeperError> {
    Ok(None)
}

pub(crate) fn restore(_config: &KeeperConfig, _handover: Handover) -> Result<Keeper, KeeperError> {
    Err(KeeperError::Inherit {
        what: "not yet".into(),
    })
}

impl Keeper {
    pub(crate) fn replace(&mut self, asked: Asked, binary: FdIndex, mut fds: Vec<OwnedFd>) {
        let at = usize::try_from(binary.0).unwrap_or(usize::MAX);
        if at >= fds.len() {
            self.refuse(
                asked,
                Refusal::MissingDescriptor,
                "the binary did not come".into(),
            );
            return;
        }
        self.replacement = Some(Pending {
            asked,
            binary: fds.swap_remove(at),
        });
    }
    pub(crate) fn replace_when_quiet(&mut self) {
        if let Some(Pending { asked, binary }) = self.replacement.take() {
            drop(binary);
            self.refuse(asked, Refusal::Busy, "not yet".into());
        }
    }
}
