//! Processes as `/proc` shows them. A process is named by pid and start time, never by its name alone.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::{Path, PathBuf};

/// Whether the kernel tells the exit code of a process that somebody else reaped (`PIDFD_GET_INFO`, Linux 6.15).
pub fn kernel_remembers_exits() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut parts = release
        .split(['.', '-'])
        .map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (6, 15)
}

/// All pids of the machine.
pub fn all() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

fn file(pid: i32, name: &str) -> String {
    fs::read(format!("/proc/{pid}/{name}"))
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// The words of its command line.
pub fn command_line(pid: i32) -> Vec<String> {
    file(pid, "cmdline")
        .split('\0')
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The field after the command in `/proc/PID/stat`, counted from 3 as in proc(5).
fn stat_field(pid: i32, number: usize) -> Option<String> {
    let text = file(pid, "stat");
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_whitespace().nth(number - 3).map(str::to_owned)
}

/// Alive: there, and not a zombie.
pub fn lives(pid: i32) -> bool {
    stat_field(pid, 3).is_some_and(|state| state != "Z" && state != "X")
}

/// Clock ticks from boot to its start: with the pid, its identity.
pub fn start_time(pid: i32) -> Option<u64> {
    stat_field(pid, 22)?.parse().ok()
}

pub fn parent(pid: i32) -> Option<i32> {
    stat_field(pid, 4)?.parse().ok()
}

/// Lines of `/proc/PID/status` by name, as `NoNewPrivs` or `CapEff`.
pub fn status(pid: i32, name: &str) -> Option<String> {
    file(pid, "status")
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(|value| value.trim().to_owned())
}

/// The identity of one of its namespaces.
pub fn namespace(pid: i32, kind: &str) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok()
}

/// The cgroup paths that it is in, one for each hierarchy.
pub fn cgroups(pid: i32) -> Vec<String> {
    file(pid, "cgroup")
        .lines()
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .map(str::to_owned)
        .collect()
}

/// Bytes that it has written since its start, to whatever; 0 once it is gone.
pub fn bytes_written(pid: i32) -> u64 {
    file(pid, "io")
        .lines()
        .find_map(|line| line.strip_prefix("wchar: "))
        .and_then(|count| count.parse().ok())
        .unwrap_or(0)
}

pub fn open_files(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// SIGKILL. Whoever asks for it knows that the pid is the one it means.
pub fn kill_hard(pid: i32) {
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
}

pub fn send(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Mount points of every cgroup hierarchy, with the names of their controllers ("" for version 2).
pub fn cgroup_hierarchies() -> Vec<PathBuf> {
    fs::read_to_string("/proc/self/mountinfo")
        .unwrap_or_default()
        .lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            right.starts_with("cgroup").then_some(())?;
            left.split_whitespace().nth(4).map(PathBuf::from)
        })
        .collect()
}

/// All cgroup directories at or below `root` (as `/name`), deepest first, in every hierarchy.
pub fn cgroup_directories(root: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for hierarchy in cgroup_hierarchies() {
        collect(&hierarchy.join(root.trim_start_matches('/')), &mut found);
    }
    found
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), found);
        }
    }
    found.push(directory.to_owned());
}
