//! Which device nodes a container may open.

/// Decided by the pod's `privileged`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DevicePolicy {
    /// Nothing but [`DEFAULT_ALLOWED`].
    Default,
    /// Privileged: everything the pod's cgroup may.
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceType {
    Char,
    Block,
}

/// May: read (open for reading), write, mknod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRule {
    pub kind: DeviceType,
    /// `None` is every number.
    pub major: Option<u32>,
    pub minor: Option<u32>,
    pub read_write: bool,
    pub mknod: bool,
}

const fn node(major: u32, minor: Option<u32>) -> DeviceRule {
    DeviceRule {
        kind: DeviceType::Char,
        major: Some(major),
        minor,
        read_write: true,
        mknod: true,
    }
}

const fn mknod_any(kind: DeviceType) -> DeviceRule {
    DeviceRule {
        kind,
        major: None,
        minor: None,
        read_write: false,
        mknod: true,
    }
}

/// As runc and containerd: a node may be made of any number (archives hold such), but only these may be opened.
pub const DEFAULT_ALLOWED: [DeviceRule; 11] = [
    mknod_any(DeviceType::Char),
    mknod_any(DeviceType::Block),
    node(1, Some(3)), // null
    node(1, Some(5)), // zero
    node(1, Some(7)), // full
    node(1, Some(8)), // random
    node(1, Some(9)), // urandom
    node(5, Some(0)), // tty
    node(5, Some(1)), // console
    node(5, Some(2)), // ptmx
    node(136, None),  // pts
];

/// The list as `devices.allow` of cgroup v1 takes it.
pub(crate) fn v1_lines() -> Vec<String> {
    DEFAULT_ALLOWED
        .iter()
        .map(|rule| {
            let number = |n: Option<u32>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
            format!(
                "{} {}:{} {}{}",
                match rule.kind {
                    DeviceType::Char => 'c',
                    DeviceType::Block => 'b',
                },
                number(rule.major),
                number(rule.minor),
                if rule.read_write { "rw" } else { "" },
                if rule.mknod { "m" } else { "" },
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::v1_lines;

    #[test]
    fn the_allow_list_is_containerds() {
        assert_eq!(
            v1_lines(),
            [
                "c *:* m",
                "b *:* m",
                "c 1:3 rwm",
                "c 1:5 rwm",
                "c 1:7 rwm",
                "c 1:8 rwm",
                "c 1:9 rwm",
                "c 5:0 rwm",
                "c 5:1 rwm",
                "c 5:2 rwm",
                "c 136:* rwm"
            ]
        );
    }
}
