//! What a node may leave behind, counted: before and after a test the counts are the same, or the difference is named.

use crate::node::Node;
use crate::process;
use crate::wait::seconds;
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::time::Instant;

/// Everything that exists because of a node, by kind. Names, not numbers: a difference can be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Belongings {
    pub mounts: BTreeSet<String>,
    pub cgroups: BTreeSet<String>,
    pub links: BTreeSet<String>,
    pub routes: BTreeSet<String>,
    pub rules: BTreeSet<String>,
    pub processes: BTreeSet<String>,
    pub files: BTreeSet<String>,
    pub agent_files: usize,
}

impl Belongings {
    /// Without the pool: slots that wait for a pod come and go under any name, so pods' links and pins are counted apart.
    pub fn of(node: &Node) -> Self {
        let mounts = node
            .sandbox
            .enter(|| std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default());
        let here = node.temp().to_string_lossy().into_owned();
        Self {
            mounts: mounts
                .lines()
                .filter_map(|line| line.split_whitespace().nth(4))
                .filter(|point| point.starts_with(&here))
                .map(str::to_owned)
                .collect(),
            cgroups: process::cgroup_directories(&node.cgroup_root)
                .iter()
                .map(|path| path.to_string_lossy().into_owned())
                .collect(),
            links: lines(&node.sandbox.say("ip", &["-o", "link", "show"]), 1),
            routes: node
                .sandbox
                // the node has IPv4 alone; what the kernel does by itself for IPv6 comes when it comes
                .say("ip", &["-4", "route", "show", "table", "all"])
                .lines()
                .map(|line| line.trim().to_owned())
                .collect(),
            rules: node
                .sandbox
                .say("nft", &["list", "ruleset"])
                .lines()
                .map(|line| line.trim().to_owned())
                .filter(|line| line.len() > 1)
                .collect(),
            processes: node
                .processes()
                .into_iter()
                .map(|pid| format!("{pid} {}", process::command_line(pid).join(" ")))
                .collect(),
            files: [node.root(), node.run_dir(), node.dir("log")]
                .iter()
                .flat_map(|dir| files(dir))
                .collect(),
            agent_files: node.agent_pid().map_or(0, process::open_files),
        }
    }

    /// What `after` has that this has not, as lines; names that carry `ignore` left out.
    pub fn new_in(&self, after: &Self, ignore: &dyn Fn(&str) -> bool) -> Vec<String> {
        let mut found = Vec::new();
        let kinds = [
            ("mount", &self.mounts, &after.mounts),
            ("cgroup", &self.cgroups, &after.cgroups),
            ("link", &self.links, &after.links),
            ("route", &self.routes, &after.routes),
            ("nft rule", &self.rules, &after.rules),
            ("process", &self.processes, &after.processes),
            ("file", &self.files, &after.files),
        ];
        for (kind, before, after) in kinds {
            for name in after.difference(before).filter(|name| !ignore(name)) {
                found.push(format!("{kind} {name}"));
            }
        }
        found
    }

    /// How many there are of each kind.
    pub fn counts(&self) -> Counts {
        Counts {
            mounts: self.mounts.len(),
            cgroups: self.cgroups.len(),
            links: self.links.len(),
            routes: self.routes.len(),
            rules: self.rules.len(),
            processes: self.processes.len(),
            agent_files: self.agent_files,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub mounts: usize,
    pub cgroups: usize,
    pub links: usize,
    pub routes: usize,
    pub rules: usize,
    pub processes: usize,
    pub agent_files: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Waits until the node has as much of everything as `before`. Slots of the pool have new names each time, so numbers are compared.
#[track_caller]
pub fn wait_back_to(node: &Node, before: &Belongings) {
    let begin = Instant::now();
    loop {
        let now = Belongings::of(node);
        if now.counts() == before.counts() {
            return;
        }
        assert!(
            begin.elapsed() < seconds(15),
            "something was left behind:\n  before {}\n  now    {}\n  {}",
            before.counts(),
            now.counts(),
            before.new_in(&now, &|_| false).join("\n  ")
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// Nothing at all but files of `keep` is left of a node that was taken down.
#[track_caller]
pub fn assert_nothing_left(node: &Node) {
    let begin = Instant::now();
    loop {
        let now = Belongings::of(node);
        let lines = what_remains(&now);
        if lines.is_empty() {
            return;
        }
        assert!(
            begin.elapsed() < seconds(15),
            "left behind after the end:\n  {}",
            lines.join("\n  ")
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

fn what_remains(now: &Belongings) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(now.mounts.iter().map(|name| format!("mount {name}")));
    lines.extend(now.processes.iter().map(|name| format!("process {name}")));
    lines.extend(now.rules.iter().map(|name| format!("nft rule {name}")));
    lines.extend(
        now.links
            .iter()
            .filter(|name| !name.starts_with("lo:") && !name.starts_with("uplink"))
            .map(|name| format!("link {name}")),
    );
    lines.extend(
        now.routes
            .iter()
            .filter(|route| route.starts_with("unreachable") || route.contains("proto static"))
            .map(|name| format!("route {name}")),
    );
    lines.extend(
        now.cgroups
            .iter()
            .filter(|path| path.contains("/pod"))
            .map(|name| format!("cgroup {name}")),
    );
    lines.extend(
        now.files
            .iter()
            .filter(|path| path.contains("/pods/") || path.contains("/containers/"))
            .map(|name| format!("file {name}")),
    );
    lines
}

fn lines(text: &str, column: usize) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.split_whitespace().nth(column))
        .map(str::to_owned)
        .collect()
}

/// All paths below `dir`, without following links.
pub fn files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut queue = vec![dir.to_owned()];
    while let Some(dir) = queue.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else {
            continue;
        };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                queue.push(entry.path());
            }
            found.push(entry.path().to_string_lossy().into_owned());
        }
    }
    found
}
