//! What makes a pid number an identity: the time at which its process started.

use std::fs;
use std::io;

/// Start time of a process in clock ticks after boot: field 22 of `/proc/PID/stat` (proc_pid_stat(5)). A pid number together with
/// this value names one process for the whole boot.
///
/// # Errors
/// `NotFound` when there is no such process; `InvalidData` when the kernel's text is not understood.
pub fn start_ticks(pid: u32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_start_ticks(&stat).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, stat))
}

/// The command name (field 2) is in parentheses and may hold anything, also `)` and spaces: fields are counted from the last `)`.
fn parse_start_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Threads of this process. One `stat`: the link count of `/proc/self/task` is two more than the number of threads.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn thread_count() -> io::Result<u64> {
    let stat = rustix::fs::stat("/proc/self/task")?;
    #[allow(clippy::useless_conversion)] // the width differs between architectures
    let links = u64::from(stat.st_nlink);
    Ok(links.saturating_sub(2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_command_name_may_hold_spaces_and_parentheses() {
        let stat = "7 (a) b) (c) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        assert_eq!(parse_start_ticks(stat), Some(4711));
        assert_eq!(parse_start_ticks("7 (a"), None);
    }

    #[test]
    fn a_later_process_has_no_earlier_start_time() -> io::Result<()> {
        let mine = start_ticks(std::process::id())?;
        let mut child = std::process::Command::new("sleep").arg("60").spawn()?;
        let its = start_ticks(child.id());
        child.kill()?;
        child.wait()?;
        assert!(its? >= mine);
        Ok(())
    }

    #[test]
    fn threads_are_counted() -> io::Result<()> {
        let before = thread_count()?;
        assert!(before >= 1);
        // Other tests start and end threads at the same time: these eight alone are certain to be there.
        let (stop, wait) = mpsc::channel::<()>();
        let wait = std::sync::Arc::new(std::sync::Mutex::new(wait));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let wait = wait.clone();
                std::thread::spawn(move || drop(wait.lock().map(|w| w.recv())))
            })
            .collect();
        let with = thread_count()?;
        drop(stop);
        for thread in threads {
            assert!(thread.join().is_ok());
        }
        assert!(with >= 9, "{with} threads counted");
        Ok(())
    }
}
