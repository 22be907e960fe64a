//! Capability names, default sets, add and drop.

use crate::error::PlanError;
use k8s_openapi::api::core::v1::Capabilities;

/// By number (`linux/capability.h`).
pub const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// containerd's fourteen.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// CRI-O's nine.
const HARDENED: [&str; 9] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "KILL",
];

/// The bit of a capability, named with or without `CAP_`, in any case.
pub fn bit(name: &str) -> Option<u64> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    NAMES.iter().position(|n| *n == bare).map(|n| 1 << n)
}

/// Every capability that a kernel with this greatest number has.
pub fn all(last: u32) -> u64 {
    match last {
        0..63 => (1 << (last + 1)) - 1,
        _ => u64::MAX,
    }
}

/// The default set with the pod's changes, as containerd applies them: `ALL` first, then the single names, dropping last.
pub(crate) fn effective(
    wanted: Option<&Capabilities>,
    hardened: bool,
    all: u64,
) -> Result<u64, PlanError> {
    let default: &[&str] = if hardened { &HARDENED } else { &DEFAULT };
    let mut set = default.iter().filter_map(|n| bit(n)).fold(0, |a, b| a | b);
    let add = bits(wanted.and_then(|w| w.add.as_deref()), "add")?;
    let drop = bits(wanted.and_then(|w| w.drop.as_deref()), "drop")?;
    if add.all {
        set = all;
    }
    if drop.all {
        set = 0;
    }
    // a capability that this kernel does not know cannot be had
    Ok(((set | add.named) & !drop.named) & all)
}

struct Named {
    all: bool,
    named: u64,
}

fn bits(names: Option<&[String]>, list: &'static str) -> Result<Named, PlanError> {
    let mut out = Named {
        all: false,
        named: 0,
    };
    for name in names.unwrap_or_default() {
        if name.eq_ignore_ascii_case("ALL") {
            out.all = true;
        } else {
            out.named |= bit(name).ok_or_else(|| PlanError::UnknownCapability {
                name: name.clone(),
                list,
            })?;
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(add: &[&str], drop: &[&str]) -> Result<Vec<&'static str>, PlanError> {
        let strings = |l: &[&str]| Some(l.iter().map(|s| (*s).to_owned()).collect());
        let wanted = Capabilities {
            add: strings(add),
            drop: strings(drop),
        };
        effective(Some(&wanted), false, all(40)).map(|set| {
            NAMES
                .into_iter()
                .enumerate()
                .filter(|(n, _)| set & (1 << n) != 0)
                .map(|(_, name)| name)
                .collect()
        })
    }

    #[test]
    fn the_default_is_containerds_and_the_hardened_one_is_cri_os() {
        assert_eq!(
            effective(None, false, all(40)),
            Ok(0xa80425fb),
            "as CapBnd of any container of containerd"
        );
        assert_eq!(effective(None, true, all(40)), Ok(0x5fb));
    }

    #[test]
    fn add_and_drop_follow_containerd() {
        assert_eq!(set(&["NET_ADMIN"], &["ALL"]), Ok(vec!["NET_ADMIN"]));
        assert_eq!(set(&["cap_sys_time"], &["all"]), Ok(vec!["SYS_TIME"]));
        assert_eq!(set(&["ALL"], &["ALL"]), Ok(vec![]));
        assert_eq!(
            set(&["CHOWN"], &["CHOWN"]).map(|s| s.contains(&"CHOWN")),
            Ok(false)
        );
        let all_but = set(&["ALL"], &["SYS_ADMIN"]).map(|s| (s.len(), s.contains(&"SYS_ADMIN")));
        assert_eq!(all_but, Ok((40, false)));
    }

    #[test]
    fn an_unknown_capability_is_named() {
        assert_eq!(
            set(&["CAP_CAP_CHOWN"], &[]),
            Err(PlanError::UnknownCapability {
                name: "CAP_CAP_CHOWN".to_owned(),
                list: "add"
            })
        );
    }
}
