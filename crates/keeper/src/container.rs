//! A container as the keeper holds it.
//!
//! ```text
//!   Starting ──exec──► Running ──exit──► Exited ──forget──► gone
//!      └──failure──► Failed ──reaped──► gone
//! ```

use crate::logs::{Log, StreamEnd};
use crate::protocol::{Failure, Process, Span};
use launch_plan::description::ContainerFiles;
use pod_model::{ContainerKey, ExitRecord};
use std::os::fd::OwnedFd;

/// Who waits for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) connection: u64,
    pub(crate) request: u64,
}

/// Between clone and exec.
pub(crate) struct Starting {
    pub(crate) asked: Asked,
    pub(crate) report: OwnedFd,
    pub(crate) terminal: Option<OwnedFd>,
    pub(crate) ready: Option<Ready>,
}

/// The child's last word before exec.
pub(crate) struct Ready {
    pub(crate) spans: Vec<Span>,
    pub(crate) at: u64,
}

pub(crate) enum Phase {
    Starting(Box<Starting>),
    /// The child reported why, or was killed; its exit is waited for.
    Failed(Box<(Asked, Failure)>),
    Running,
    Exited(ExitRecord),
}

pub(crate) struct Container {
    pub(crate) key: ContainerKey,
    pub(crate) files: ContainerFiles,
    pub(crate) process: Process,
    pub(crate) pidfd: OwnedFd,
    /// Ours to collect; not so after adoption.
    pub(crate) is_child: bool,
    pub(crate) shares_pids: bool,
    pub(crate) phase: Phase,
    pub(crate) log: Log,
    pub(crate) streams: Vec<StreamEnd>,
    /// Streams that nothing is read from until there is room for logs.
    pub(crate) is_paused: bool,
}

impl Container {
    pub(crate) fn exit(&self) -> Option<&ExitRecord> {
        match &self.phase {
            Phase::Exited(exit) => Some(exit),
            _ => None,
        }
    }
    /// The program runs.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }
    /// Its process has not been collected.
    pub(crate) fn is_live(&self) -> bool {
        !matches!(self.phase, Phase::Exited(_))
    }
}
