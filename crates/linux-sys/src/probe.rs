//! What a seccomp program answers, asked of the kernel: for tests of programs.

use crate::seccomp;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};

/// One system call by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    pub through: Through,
    pub number: i64,
    pub arguments: [i64; 6],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Through {
    /// This machine's own interface.
    Native,
    /// The 32-bit interface of x86 (`int 0x80`); three arguments.
    I386,
}

/// Makes the calls in a child process that has loaded `program` without privileges to gain, and returns the errno of each, 0 for success. The
/// list ends where the child did: by a call that kills it.
///
/// The calls are really made if the program lets them through: ask only for what does no harm with the arguments given.
///
/// # Errors
/// When the child cannot be made, or the kernel does not take the program.
pub fn errnos_under(program: &[u8], calls: &[Call]) -> io::Result<Vec<i32>> {
    let (mut read, write) = io::pipe()?;
    let write = OwnedFd::from(write);
    // SAFETY: the child is a copy of this thread alone. It makes system calls, allocates at most what `seccomp::load` does (the C library
    // keeps its allocator usable over a fork), and leaves by `_exit`, so no destructor of the parent's runs in it.
    let child = unsafe { libc::fork() };
    if child < 0 {
        return Err(io::Error::last_os_error());
    }
    if child == 0 {
        let code = in_child(program, calls, &write);
        // SAFETY: ends this process at once.
        unsafe { libc::_exit(code) }
    }
    drop(write);
    let mut bytes = Vec::new();
    let read_all = read.read_to_end(&mut bytes);
    let mut status = 0;
    // SAFETY: `status` lives through the call; the child is ours and nobody else waits for it.
    if unsafe { libc::waitpid(child, &raw mut status, 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    read_all?;
    if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) != 0 {
        return Err(io::Error::from_raw_os_error(libc::WEXITSTATUS(status)));
    }
    Ok(bytes
        .chunks_exact(4)
        .map(|b| i32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
        .collect())
}

/// Returns the exit code: 0, or the errno of what could not be set up.
fn in_child(program: &[u8], calls: &[Call], report: &OwnedFd) -> i32 {
    let errno = |e: io::Error| e.raw_os_error().unwrap_or(libc::EIO);
    if let Err(e) = rustix::thread::set_no_new_privs(true) {
        return e.raw_os_error();
    }
    if let Err(e) = seccomp::load(program) {
        return errno(e);
    }
    for call in calls {
        let answer = match call.through {
            Through::Native => native(call),
            Through::I386 => i386(call),
        };
        let bytes = answer.to_ne_bytes();
        // SAFETY: writes four bytes of a live array to an open descriptor.
        unsafe {
            libc::write(report.as_raw_fd(), bytes.as_ptr().cast(), bytes.len());
        }
    }
    0
}

fn native(call: &Call) -> i32 {
    let [a, b, c, d, e, f] = call.arguments;
    // SAFETY: whatever the call does to this process's memory, it is a child made for this, which reads nothing afterwards but `calls`
    // and writes nothing but the report; the callers of `errnos_under` are told what they ask for.
    let done = unsafe { libc::syscall(call.number, a, b, c, d, e, f) };
    if done < 0 {
        io::Error::last_os_error().raw_os_error().unwrap_or(-1)
    } else {
        0
    }
}

#[cfg(target_arch = "x86_64")]
fn i386(call: &Call) -> i32 {
    let [a, b, c, ..] = call.arguments;
    let mut answer = call.number;
    // SAFETY: as for `native`; the first argument goes in ebx, which the compiler keeps for itself and gets back.
    unsafe {
        std::arch::asm!(
            "xchg {a}, rbx",
            "int 0x80",
            "xchg {a}, rbx",
            a = inout(reg) a => _,
            inout("rax") answer,
            in("rcx") b,
            in("rdx") c,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    // the kernel answers in eax: minus errno, or a result
    let answer = (answer & 0xffff_ffff) as u32;
    if answer >= 0xffff_f001 {
        answer.wrapping_neg().cast_signed()
    } else {
        0
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn i386(_call: &Call) -> i32 {
    libc::ENOSYS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `return ALLOW`
    fn allow_all() -> Vec<u8> {
        let mut program = Vec::new();
        program.extend(0x06u16.to_ne_bytes());
        program.extend([0, 0]);
        program.extend(0x7fff_0000u32.to_ne_bytes());
        program
    }

    #[test]
    fn the_kernels_answers_come_back() -> io::Result<()> {
        let call = |number, first| Call {
            through: Through::Native,
            number,
            arguments: [first, 0, 0, 0, 0, 0],
        };
        let answers = errnos_under(
            &allow_all(),
            &[call(libc::SYS_getpid, 0), call(libc::SYS_close, -1)],
        )?;
        assert_eq!(answers, [0, libc::EBADF]);
        assert!(errnos_under(&[0; 8], &[]).is_err(), "no program");
        Ok(())
    }
}
