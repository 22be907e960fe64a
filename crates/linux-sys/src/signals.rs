//! Signals as a new program expects them: nothing blocked, nothing ignored.

use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use std::io;

/// Sets every signal to its default action and unblocks all. Rust's runtime ignores SIGPIPE, and ignoring is inherited by `exec`.
///
/// # Errors
/// Of `sigprocmask`.
pub fn reset_signals() -> io::Result<()> {
    // The C library refuses to touch the signals that it keeps to itself, and somebody may have ignored those too: ask the kernel.
    // All zeros is its `struct sigaction` of the default action on every architecture.
    let default = [0_u64; 4];
    for signal in (1..=64).filter(|s| ![libc::SIGKILL, libc::SIGSTOP].contains(s)) {
        // SAFETY: the kernel reads at most these 32 bytes; the default action runs no code of this program.
        let done = unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null_mut::<u64>(),
                8,
            )
        };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(sigprocmask(
        SigmaskHow::SIG_SETMASK,
        Some(&SigSet::empty()),
        None,
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a child that executes itself as a filter: dispositions belong to the whole process, other tests must keep theirs.
    #[test]
    fn after_a_reset_nothing_is_ignored_or_blocked() -> io::Result<()> {
        if std::env::var_os("SIGNALS_CHILD").is_some() {
            reset_signals()?;
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
