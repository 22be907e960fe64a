//! Profiles as files: the `linux.seccomp` object of the OCI runtime specification, with the additions of Docker's and CRI-O's files
//! (`archMap`, `includes`, `excludes`, `name`).
//!
//! A profile file is written by the node's administrator and chosen by a tenant, so it is bounded and everything in it is either obeyed or
//! refused by name.

use super::abi::{Abi, Machine};
use super::profile::{Action, Comparison, Condition, EPERM, Profile, Rule};
use super::{KernelVersion, SeccompError};
use crate::capabilities::bit;
use serde::Deserialize;
use std::borrow::Cow;

/// No profile in use is a tenth as long.
pub const MAX_PROFILE_BYTES: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    arch_map: Vec<ArchMap>,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    listener_path: String,
    #[serde(default)]
    listener_metadata: String,
    #[serde(default)]
    syscalls: Vec<Syscall>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ArchMap {
    architecture: String,
    #[serde(default)]
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Syscall {
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    name: Option<String>,
    action: String,
    errno_ret: Option<u32>,
    /// A name of the errno, beside its number; the number counts.
    #[serde(default, rename = "errno")]
    _errno_name: Option<String>,
    #[serde(default)]
    args: Option<Vec<Argument>>,
    /// For people.
    #[serde(default, rename = "comment")]
    _comment: Option<String>,
    #[serde(default)]
    includes: Option<When>,
    #[serde(default)]
    excludes: Option<When>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct When {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
    #[serde(default)]
    min_kernel: Option<String>,
}

/// For whom a profile is read: its conditions refer to these.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    pub machine: Machine,
    pub kernel: KernelVersion,
    /// The bounding set.
    pub capabilities: u64,
}

/// Reads a profile.
///
/// # Errors
/// When it is too long, no JSON, or says something that is not known here.
pub fn parse(json: &[u8], target: &Target) -> Result<Profile, SeccompError> {
    if json.len() > MAX_PROFILE_BYTES {
        return Err(SeccompError::TooLarge {
            bytes: json.len(),
            limit: MAX_PROFILE_BYTES,
        });
    }
    let file: File = serde_json::from_slice(json).map_err(|e| SeccompError::Json(e.to_string()))?;
    if !file.listener_path.is_empty() || !file.listener_metadata.is_empty() {
        return Err(SeccompError::Unsupported {
            what: "listenerPath",
            value: file.listener_path,
        });
    }
    for flag in file.flags {
        // both change nothing here: the program is loaded by a process with one thread, and the mitigation that the other turns off is off
        // by default since Linux 5.16
        if flag != "SECCOMP_FILTER_FLAG_TSYNC" && flag != "SECCOMP_FILTER_FLAG_SPEC_ALLOW" {
            return Err(SeccompError::Unsupported {
                what: "flag",
                value: flag,
            });
        }
    }
    let mut abis: Vec<Abi> = file
        .architectures
        .iter()
        .filter_map(|a| Abi::of_oci(a))
        .collect();
    for map in &file.arch_map {
        if Abi::of_oci(&map.architecture) == Some(target.machine.native()) {
            let subs = map.sub_architectures.iter().flatten();
            abis.extend(subs.filter_map(|a| Abi::of_oci(a)));
        }
    }
    let mut rules = Vec::new();
    for call in file.syscalls {
        if applies(&call, target)? {
            rules.extend(self::rules(call)?);
        }
    }
    let default = action(&file.default_action, file.default_errno_ret)?;
    Ok(Profile {
        default,
        abis,
        other_abis: None,
        rules,
        newer_is_enosys: true,
    })
}

fn action(name: &str, errno: Option<u32>) -> Result<Action, SeccompError> {
    let data = || {
        let errno = errno.unwrap_or(u32::from(EPERM));
        // the kernel cuts at MAX_ERRNO
        u16::try_from(errno)
            .ok()
            .filter(|e| *e <= 4095)
            .ok_or(SeccompError::Unsupported {
                what: "errnoRet",
                value: errno.to_string(),
            })
    };
    Ok(match name {
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_ERRNO" => Action::Errno(data()?),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_TRAP" => Action::Trap,
        "SCMP_ACT_TRACE" => Action::Trace(data()?),
        // SCMP_ACT_NOTIFY needs a listener
        other => {
            return Err(SeccompError::Unsupported {
                what: "action",
                value: other.to_owned(),
            });
        }
    })
}

/// `includes` must hold, `excludes` must not; within one, capabilities must all be there, and one of the architectures.
fn applies(call: &Syscall, target: &Target) -> Result<bool, SeccompError> {
    let held = |name: &String| {
        bit(name)
            .map(|b| target.capabilities & b != 0)
            .ok_or(SeccompError::Unsupported {
                what: "capability",
                value: name.clone(),
            })
    };
    let here = match target.machine {
        Machine::X86_64 => "amd64",
        Machine::Aarch64 => "arm64",
    };
    if let Some(when) = &call.includes {
        for cap in &when.caps {
            if !held(cap)? {
                return Ok(false);
            }
        }
        if !when.arches.is_empty() && !when.arches.iter().any(|a| a == here) {
            return Ok(false);
        }
        if let Some(least) = &when.min_kernel
            && target.kernel < KernelVersion::parse(least)?
        {
            return Ok(false);
        }
    }
    if let Some(when) = &call.excludes {
        for cap in &when.caps {
            if held(cap)? {
                return Ok(false);
            }
        }
        if when.arches.iter().any(|a| a == here) {
            return Ok(false);
        }
        if let Some(least) = &when.min_kernel
            && target.kernel >= KernelVersion::parse(least)?
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Conditions hold together, except that conditions on one argument are alternatives: so runc reads a profile, and so they are written.
fn rules(call: Syscall) -> Result<Vec<Rule>, SeccompError> {
    let action = action(&call.action, call.errno_ret)?;
    let names: Vec<Cow<'static, str>> = call
        .names
        .into_iter()
        .chain(call.name)
        .map(Cow::Owned)
        .collect();
    let mut conditions = Vec::new();
    for argument in call.args.into_iter().flatten() {
        conditions.push(condition(&argument)?);
    }
    let one_each = conditions
        .iter()
        .enumerate()
        .all(|(n, c)| conditions[..n].iter().all(|d| d.index != c.index));
    let alternatives: Vec<Vec<Condition>> = if one_each {
        vec![conditions]
    } else {
        conditions.into_iter().map(|c| vec![c]).collect()
    };
    Ok(alternatives
        .into_iter()
        .map(|conditions| Rule {
            names: names.clone(),
            conditions,
            action,
        })
        .collect())
}

fn condition(argument: &Argument) -> Result<Condition, SeccompError> {
    if argument.index > 5 {
        return Err(SeccompError::Unsupported {
            what: "argument index",
            value: argument.index.to_string(),
        });
    }
    let comparison = match argument.op.as_str() {
        "SCMP_CMP_NE" => Comparison::NotEqual,
        "SCMP_CMP_LT" => Comparison::Less,
        "SCMP_CMP_LE" => Comparison::LessOrEqual,
        "SCMP_CMP_EQ" => Comparison::Equal,
        "SCMP_CMP_GE" => Comparison::GreaterOrEqual,
        "SCMP_CMP_GT" => Comparison::Greater,
        "SCMP_CMP_MASKED_EQ" => Comparison::MaskedEqual {
            second: argument.value_two,
        },
        other => {
            return Err(SeccompError::Unsupported {
                what: "comparison",
                value: other.to_owned(),
            });
        }
    };
    Ok(Condition {
        index: argument.index,
        comparison,
        value: argument.value,
        low_half: false,
    })
}
