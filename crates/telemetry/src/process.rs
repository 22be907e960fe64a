//! What the kernel knows of this process, under the names that every Prometheus client library uses.

use crate::metrics::{Description, Kind, Stability, Text};
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

const fn plain(name: &'static str, help: &'static str) -> Description {
    Description {
        name,
        help,
        stability: Stability::None,
    }
}

const CPU: Description = plain(
    "process_cpu_seconds_total",
    "Total user and system CPU time spent in seconds.",
);
const MAX_FDS: Description = plain(
    "process_max_fds",
    "Maximum number of open file descriptors.",
);
const OPEN_FDS: Description = plain("process_open_fds", "Number of open file descriptors.");
const RESIDENT: Description = plain(
    "process_resident_memory_bytes",
    "Resident memory size in bytes.",
);
const START: Description = plain(
    "process_start_time_seconds",
    "Start time of the process since unix epoch in seconds.",
);
const VIRTUAL: Description = plain(
    "process_virtual_memory_bytes",
    "Virtual memory size in bytes.",
);
/// A thread of this process is what a goroutine is to dashboards: something that runs.
const THREADS: Description = plain("process_threads", "Number of threads of the process.");

/// Read from `/proc/self` by each scrape.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProcessMetrics {
    pub cpu_seconds: f64,
    pub max_fds: Option<u64>,
    pub open_fds: u64,
    pub resident_bytes: u64,
    pub virtual_bytes: u64,
    pub start_time_seconds: f64,
    pub threads: u64,
}

impl ProcessMetrics {
    /// `None` when `/proc` does not tell.
    pub fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The command's name may hold anything, also parentheses.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        // proc_pid_stat(5) counts from 1, and the state is number 3.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let page = rustix::param::page_size() as u64;
        let boot = boot_time()?;
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) as f64 / ticks,
            max_fds: limit.current,
            // One is the directory that is read.
            open_fds: (fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1),
            resident_bytes: field(24)? * page,
            virtual_bytes: field(23)?,
            start_time_seconds: boot + field(22)? as f64 / ticks,
            threads: field(20)?,
        })
    }
    pub fn write(&self, out: &mut Text) {
        let mut one = |description: &Description, kind, value: f64| {
            out.begin(description, kind);
            out.sample(description.name, &[], value, None);
        };
        one(&CPU, Kind::Counter, self.cpu_seconds);
        if let Some(max) = self.max_fds {
            one(&MAX_FDS, Kind::Gauge, max as f64);
        }
        one(&OPEN_FDS, Kind::Gauge, self.open_fds as f64);
        one(&RESIDENT, Kind::Gauge, self.resident_bytes as f64);
        one(&START, Kind::Gauge, self.start_time_seconds);
        one(&THREADS, Kind::Gauge, self.threads as f64);
        one(&VIRTUAL, Kind::Gauge, self.virtual_bytes as f64);
    }
}

/// Seconds since 1970 at which the machine was booted, by the clocks of now.
fn boot_time() -> Option<f64> {
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let up: f64 = uptime.split_ascii_whitespace().next()?.parse().ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(now.as_secs_f64() - up)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_of_this_process() {
        let read = ProcessMetrics::read().unwrap();
        assert!(read.resident_bytes > 100_000 && read.resident_bytes < read.virtual_bytes);
        assert!(read.open_fds >= 3 && read.threads >= 1);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let age = now.as_secs_f64() - read.start_time_seconds;
        assert!((-1.0..86_400.0).contains(&age), "{age}");
        let mut text = Text::new();
        read.write(&mut text);
        assert_eq!(text.finish().matches("# TYPE").count(), 7);
    }
}
