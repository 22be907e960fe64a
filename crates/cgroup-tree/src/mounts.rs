//! Which cgroup hierarchies the machine has, from `/proc/self/mountinfo`.

use std::path::{Path, PathBuf};

/// The controllers that this agent uses on v1. A hierarchy with none of them is left alone: every hierarchy costs a directory to make and
/// remove per container and a write to enter. `freezer` is there for killing whole and for freezing, `devices` for the allow-list.
pub(crate) const V1_CONTROLLERS: [&str; 6] =
    ["memory", "cpu", "cpuacct", "pids", "devices", "freezer"];

/// The controllers that v2 hands down to pods and containers. Devices are an eBPF program there, the freezer is part of every cgroup.
pub(crate) const V2_CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// One mounted cgroup filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CgroupMount {
    pub(crate) point: PathBuf,
    /// `None` is cgroup2.
    pub(crate) v1_controllers: Option<Vec<String>>,
}

/// The cgroup mounts of a mount table in `proc_pid_mountinfo(5)` form. Of two mounts of one hierarchy the first counts; a mount that shows
/// only a part of its hierarchy (a bind mount) still is where this process can reach it.
pub(crate) fn parse(mountinfo: &str) -> Vec<CgroupMount> {
    let mut found: Vec<CgroupMount> = Vec::new();
    for line in mountinfo.lines() {
        let Some((before, after)) = line.split_once(" - ") else {
            continue;
        };
        let Some(point) = before.split(' ').nth(4) else {
            continue;
        };
        let mut after = after.split(' ');
        let (Some(kind), _, Some(options)) = (after.next(), after.next(), after.next()) else {
            continue;
        };
        let v1_controllers = match kind {
            "cgroup2" => None,
            "cgroup" => Some(
                options
                    .split(',')
                    .filter(|o| {
                        V1_CONTROLLERS.contains(o)
                            || matches!(
                                *o,
                                "blkio"
                                    | "cpuset"
                                    | "hugetlb"
                                    | "net_cls"
                                    | "net_prio"
                                    | "perf_event"
                            )
                    })
                    .map(str::to_owned)
                    .collect::<Vec<_>>(),
            ),
            _ => continue,
        };
        if !found.iter().any(|m| m.v1_controllers == v1_controllers) {
            found.push(CgroupMount {
                point: unescape(point),
                v1_controllers,
            });
        }
    }
    found
}

/// Octal escapes of the mount table: space, tab, newline, backslash.
fn unescape(text: &str) -> PathBuf {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4);
        match code.and_then(|c| u8::from_str_radix(c, 8).ok()) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = &rest[at + 4..];
            }
            None => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    PathBuf::from(out)
}

/// Joins a cgroup path (absolute, as `--cgroup-root`) to a mount point.
pub(crate) fn below(point: &Path, cgroup: &str) -> PathBuf {
    let relative = cgroup.trim_matches('/');
    if relative.is_empty() {
        point.to_owned()
    } else {
        point.join(relative)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/uni\\040fied rw,relatime - cgroup2 cgroup2 rw
99 31 0:32 /docker/x /mnt/again rw,relatime - cgroup cgroup rw,memory
";

    #[test]
    fn every_hierarchy_is_found_once_with_its_controllers() {
        let names = |c: &[&str]| Some(c.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        let found: Vec<_> = parse(HYBRID)
            .into_iter()
            .map(|m| (m.point.to_string_lossy().into_owned(), m.v1_controllers))
            .collect();
        assert_eq!(
            found,
            [
                (
                    "/sys/fs/cgroup/cpu,cpuacct".to_owned(),
                    names(&["cpu", "cpuacct"])
                ),
                ("/sys/fs/cgroup/memory".to_owned(), names(&["memory"])),
                ("/sys/fs/cgroup/systemd".to_owned(), names(&[])),
                ("/sys/fs/cgroup/uni fied".to_owned(), None),
            ]
        );
    }

    #[test]
    fn nonsense_lines_are_no_mounts() {
        assert_eq!(
            parse("\n - \n1 2 3\n1 2 0:1 / /x rw - ext4 /dev/vda rw\n"),
            []
        );
    }
}
