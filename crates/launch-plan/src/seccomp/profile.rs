//! What a profile says, whatever it was written in.

use super::abi::Abi;
use std::borrow::Cow;

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    Allow,
    Errno(u16),
    KillProcess,
    KillThread,
    /// Allow and write it to the audit log.
    Log,
    /// SIGSYS.
    Trap,
    /// Ask the tracer; `ENOSYS` without one.
    Trace(u16),
}

impl Action {
    /// `SECCOMP_RET_*`
    pub(super) fn code(self) -> u32 {
        match self {
            Action::Allow => 0x7fff_0000,
            Action::Log => 0x7ffc_0000,
            Action::Trace(data) => 0x7ff0_0000 | u32::from(data),
            Action::Errno(errno) => 0x0005_0000 | u32::from(errno),
            Action::Trap => 0x0003_0000,
            Action::KillThread => 0,
            Action::KillProcess => 0x8000_0000,
        }
    }
    /// The call is made.
    pub(super) fn lets_through(self) -> bool {
        matches!(self, Action::Allow | Action::Log)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    NotEqual,
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
    /// `argument & value == second`
    MaskedEqual {
        second: u64,
    },
}

/// One argument against one value, both unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Condition {
    /// 0..=5
    pub index: u8,
    pub comparison: Comparison,
    pub value: u64,
    /// Compare the low half only: for an argument that the kernel takes as an `int`. With all 64 bits a caller could set a bit that the kernel
    /// does not see and slip past.
    pub low_half: bool,
}

/// If the call is one of these and all conditions hold, this.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    pub names: Vec<Cow<'static, str>>,
    pub conditions: Vec<Condition>,
    pub action: Action,
}

/// For one call the first rule that fits decides; if none does, the default.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Profile {
    pub default: Action,
    /// Interfaces that are filtered; a process that uses another is killed. The native one always belongs to it.
    pub abis: Vec<Abi>,
    /// What an interface that the machine has and the profile leaves out gets, if not killed.
    pub other_abis: Option<Action>,
    pub rules: Vec<Rule>,
    /// A call with a number above all that the profile names is one that its author did not know: `ENOSYS` makes programs fall back, where
    /// the default `EPERM` makes them fail. As runc does.
    pub newer_is_enosys: bool,
}

pub(super) const ENOSYS: u16 = 38;
pub(super) const EPERM: u16 = 1;
