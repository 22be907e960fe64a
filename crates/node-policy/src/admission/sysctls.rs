//! Which settings of the kernel a pod may have of its own.
//!
//! Source: `pkg/kubelet/sysctl`, `k8s.io/component-helpers/node/util/sysctl`. A kubelet leaves out safe ones that an old kernel does not
//! keep apart by namespace; every kernel that this node runs on (5.7 and later) does.

use std::fmt;

/// Kept apart by namespace, and of no influence on any other pod.
const SAFE: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];
const IPC: [&str; 10] = [
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
    "kernel.shm",
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.msg",
];

/// Which namespace holds a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SysctlNamespace {
    Ipc,
    Net,
}

impl fmt::Display for SysctlNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SysctlNamespace::Ipc => "IPC",
            SysctlNamespace::Net => "Net",
        })
    }
}

/// The namespace of a setting; `None`: it is the whole machine's. `name` with dots.
pub fn namespace(name: &str) -> Option<SysctlNamespace> {
    if IPC.contains(&name) || name.starts_with("fs.mqueue.") {
        Some(SysctlNamespace::Ipc)
    } else if name.starts_with("net.") {
        Some(SysctlNamespace::Net)
    } else {
        None
    }
}

/// A name that may be written with slashes, as the kernel's file has it, in the form with dots. What stands first decides which it is.
pub fn dotted(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(at) if name.as_bytes()[at] == b'/' => name
            .chars()
            .map(|c| match c {
                '/' => '.',
                '.' => '/',
                other => other,
            })
            .collect(),
        _ => name.to_owned(),
    }
}

/// Why a pod may not have a setting, or a pattern allows none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SysctlError {
    NotAllowListed(String),
    /// The pod shares this namespace with the host.
    OfTheHost(String, SysctlNamespace),
    /// Of a pattern.
    Malformed(String),
    /// Of a pattern.
    NotNamespaced(String),
}

impl fmt::Display for SysctlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllowListed(name) => write!(f, "{name:?} not allowlisted"),
            Self::OfTheHost(name, namespace) => {
                write!(f, "{name:?} not allowed with host {namespace} enabled")
            }
            Self::Malformed(pattern) => write!(
                f,
                "sysctl {pattern:?} must have at most 253 characters and match regex {PATTERN}"
            ),
            Self::NotNamespaced(name) => {
                write!(f, "the sysctls {name:?} are not known to be namespaced")
            }
        }
    }
}

impl std::error::Error for SysctlError {}

const PATTERN: &str = "([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*([a-z0-9][-_a-z0-9]*)?[a-z0-9*]";

/// The settings that pods may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysctlAllowList {
    names: Vec<(String, SysctlNamespace)>,
    prefixes: Vec<(String, SysctlNamespace)>,
}

impl Default for SysctlAllowList {
    /// The safe ones.
    fn default() -> Self {
        let safe = SAFE
            .iter()
            .filter_map(|name| Some((name, namespace(name)?)));
        Self {
            names: safe.map(|(name, ns)| ((*name).to_owned(), ns)).collect(),
            prefixes: Vec::new(),
        }
    }
}

impl SysctlAllowList {
    /// The safe ones, and those of a kubelet's `allowedUnsafeSysctls`: names, or patterns that end in `*`.
    ///
    /// # Errors
    /// The first pattern that is none, or allows what no namespace keeps apart.
    pub fn with<S: AsRef<str>>(patterns: &[S]) -> Result<Self, SysctlError> {
        let mut list = Self::default();
        for pattern in patterns {
            list.allow(pattern.as_ref())?;
        }
        Ok(list)
    }

    fn allow(&mut self, pattern: &str) -> Result<(), SysctlError> {
        if !is_pattern(pattern) {
            return Err(SysctlError::Malformed(pattern.to_owned()));
        }
        let name = dotted(pattern);
        let (name, is_prefix) = match name.strip_suffix('*') {
            Some(prefix) => (prefix.to_owned(), true),
            None => (name, false),
        };
        let Some(namespace) = namespace(&name) else {
            return Err(SysctlError::NotNamespaced(name));
        };
        let list = if is_prefix {
            &mut self.prefixes
        } else {
            &mut self.names
        };
        list.push((name, namespace));
        Ok(())
    }

    /// Whether a pod may have this setting.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, name: &str, host_network: bool, host_ipc: bool) -> Result<(), SysctlError> {
        let name = dotted(name);
        let named = self.names.iter().find(|(known, _)| *known == name);
        let found = named.or_else(|| {
            let mut prefixes = self.prefixes.iter();
            prefixes.find(|(prefix, _)| name.starts_with(prefix.as_str()))
        });
        match found {
            None => Err(SysctlError::NotAllowListed(name)),
            Some((_, SysctlNamespace::Net)) if host_network => {
                Err(SysctlError::OfTheHost(name, SysctlNamespace::Net))
            }
            Some((_, SysctlNamespace::Ipc)) if host_ipc => {
                Err(SysctlError::OfTheHost(name, SysctlNamespace::Ipc))
            }
            Some(_) => Ok(()),
        }
    }
}

fn is_alnum(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

/// A name, whose last segment may be or end in `*`.
fn is_pattern(text: &str) -> bool {
    let inner = |b: u8| is_alnum(b) || b == b'-' || b == b'_';
    let segments: Vec<&[u8]> = text.as_bytes().split(|b| b"./".contains(b)).collect();
    let Some((last, before)) = segments.split_last() else {
        return false;
    };
    let is_segment = |segment: &[u8]| {
        segment.iter().all(|b| inner(*b))
            && segment.first().is_some_and(|b| is_alnum(*b))
            && segment.last().is_some_and(|b| is_alnum(*b))
    };
    let is_last = match last.strip_suffix(b"*") {
        Some(start) => {
            start.first().is_none_or(|b| is_alnum(*b)) && start.iter().all(|b| inner(*b))
        }
        None => is_segment(last),
    };
    text.len() <= 253 && before.iter().all(|s| is_segment(s)) && is_last
}
