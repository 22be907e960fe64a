//! The life of a process that is PID 1 of a namespace and does nothing else.

use std::io;

/// Closes every descriptor of this process and collects orphans for ever. For a child that was cloned for it: nothing that the closed
/// descriptors belonged to is used again, because this never returns.
pub fn reap_forever() -> ! {
    // SAFETY: close_range(2) takes plain numbers. Owners of the closed descriptors exist in this process but never run again.
    unsafe { libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0) };
    loop {
        // SAFETY: a null pointer is allowed for the status, which nobody wants.
        let collected = unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) };
        if collected < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ECHILD) {
            wait_for_a_child();
        }
    }
}

/// Without children `waitpid` does not wait: sleep until SIGCHLD. It is blocked, so one that comes before the wait is kept for it.
fn wait_for_a_child() {
    // SAFETY: plain integers; `sigemptyset` makes the set valid before it is used; null pointers are allowed where they are passed.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        // One may have ended before the signal was blocked the first time: look again once before sleeping.
        let mut none: libc::siginfo_t = std::mem::zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        if libc::waitid(libc::P_ALL, 0, &raw mut none, flags) == 0 {
            return; // there are children now
        }
        let second = libc::timespec {
            tv_sec: 3600,
            tv_nsec: 0,
        };
        libc::sigtimedwait(&raw const set, std::ptr::null_mut(), &raw const second);
    }
}
