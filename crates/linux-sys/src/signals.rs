//! Signals as a new program expects them: nothing blocked, nothing ignored.

use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use std::io;

/// Signals that this process ignores, `SIGPIPE` by Rust's runtime for one: `exec` sets handled signals back to their default action, and
/// leaves ignored ones ignored.
///
/// # Errors
/// Of `rt_sigaction`.
pub fn ignored_signals() -> io::Result<Vec<i32>> {
    let mut ignored = Vec::new();
    for signal in (1..=64).filter(|s| ![libc::SIGKILL, libc::SIGSTOP].contains(s)) {
        let mut action = KernelAction::default();
        rt_sigaction(signal, None, Some(&mut action))?;
        if action[0] == libc::SIG_IGN as u64 {
            ignored.push(signal);
        }
    }
    Ok(ignored)
}

/// Sets `ignored` back to their default action and unblocks all signals: what is left of a process's ways before it executes a program.
///
/// # Errors
/// Of `rt_sigaction` and `sigprocmask`.
pub fn reset_signals(ignored: &[i32]) -> io::Result<()> {
    for signal in ignored {
        rt_sigaction(*signal, Some(&KernelAction::default()), None)?;
    }
    Ok(sigprocmask(
        SigmaskHow::SIG_SETMASK,
        Some(&SigSet::empty()),
        None,
    )?)
}

/// The kernel's `struct sigaction`, which begins with the action; all zeros is the default action on every architecture.
type KernelAction = [u64; 4];

/// Asks the kernel: the C library refuses to touch the signals that it keeps to itself, and somebody may have ignored those too.
fn rt_sigaction(
    signal: i32,
    new: Option<&KernelAction>,
    old: Option<&mut KernelAction>,
) -> io::Result<()> {
    let new = new.map_or(std::ptr::null(), |action| action.as_ptr());
    let old = old.map_or(std::ptr::null_mut(), |action| action.as_mut_ptr());
    // SAFETY: the kernel reads and writes at most these 32 bytes; no caller sets a handler, so no code of this program is run by it.
    let done = unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, new, old, 8) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a child that executes itself as a filter: dispositions belong to the whole process, other tests must keep theirs.
    #[test]
    fn after_a_reset_nothing_is_ignored_or_blocked() -> io::Result<()> {
        if std::env::var_os("SIGNALS_CHILD").is_some() {
            let ignored = ignored_signals()?;
            assert!(ignored.contains(&libc::SIGPIPE), "{ignored:?}");
            reset_signals(&ignored)?;
            let status = std::fs::read_to_string("/proc/thread-self/status")?;
            let of = |name: &str| {
                status
                    .lines()
                    .find_map(|l| l.strip_prefix(name))
                    .map(str::trim)
                    .map(str::to_owned)
            };
            let nothing = Some("0".repeat(16));
            assert_eq!(of("SigIgn:"), nothing);
            assert_eq!(of("SigBlk:"), nothing);
            return Ok(());
        }
        let done = std::process::Command::new(std::env::current_exe()?)
            .args([
                "--exact",
                "signals::tests::after_a_reset_nothing_is_ignored_or_blocked",
            ])
            .env("SIGNALS_CHILD", "1")
            .output()?;
        assert!(done.status.success(), "{done:?}");
        assert!(String::from_utf8_lossy(&done.stdout).contains("1 passed"));
        Ok(())
    }
}
