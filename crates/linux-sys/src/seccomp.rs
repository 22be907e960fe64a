//! Loading a finished seccomp program.

use std::io;

/// One instruction: `struct sock_filter` of `linux/filter.h`.
const INSTRUCTION: usize = 8;
/// `BPF_MAXINSNS`.
const MOST_INSTRUCTIONS: usize = 4096;

/// Filters this thread's system calls from now on, through every `exec`. `program` is an array of `struct sock_filter` in this
/// machine's byte order. Needs `no_new_privs` or `CAP_SYS_ADMIN`.
///
/// # Errors
/// `EINVAL` when the kernel does not accept the program, `EACCES` when the caller may not.
pub fn load(program: &[u8]) -> io::Result<()> {
    let length = program.len() / INSTRUCTION;
    if !program.len().is_multiple_of(INSTRUCTION) || length == 0 || length > MOST_INSTRUCTIONS {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let filter: Vec<libc::sock_filter> = program
        .chunks_exact(INSTRUCTION)
        .map(|bytes| libc::sock_filter {
            code: u16::from_ne_bytes([bytes[0], bytes[1]]),
            jt: bytes[2],
            jf: bytes[3],
            k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        })
        .collect();
    let description = libc::sock_fprog {
        len: u16::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel reads `len` instructions of `filter`, which lives through the call, and writes nothing.
    let done = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const description,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_filters_the_thread_that_loads_it() {
        let filtered = std::thread::spawn(|| -> io::Result<(Option<i32>, bool)> {
            rustix::thread::set_no_new_privs(true)?;
            // load the number; getppid → errno 77; else allow
            let getppid = u32::try_from(libc::SYS_getppid).unwrap_or(0);
            let mut program = Vec::new();
            for (code, jt, jf, k) in [
                (0x20u16, 0u8, 0u8, 0u32),
                (0x15, 0, 1, getppid),
                (0x06, 0, 0, 0x0005_0000 | 77),
                (0x06, 0, 0, 0x7fff_0000),
            ] {
                program.extend(code.to_ne_bytes());
                program.extend([jt, jf]);
                program.extend(k.to_ne_bytes());
            }
            load(&program)?;
            // SAFETY: getppid takes nothing and cannot fail but by the filter.
            let refused = unsafe { libc::syscall(libc::SYS_getppid) } == -1;
            let errno = io::Error::last_os_error().raw_os_error();
            // SAFETY: as above.
            let allowed = unsafe { libc::syscall(libc::SYS_getpid) } > 0;
            Ok((errno.filter(|_| refused), allowed))
        })
        .join();
        assert_eq!(filtered.ok().and_then(Result::ok), Some((Some(77), true)));
    }

    #[test]
    fn what_is_no_program_is_refused() {
        assert!(load(&[]).is_err());
        assert!(load(&[0; 7]).is_err());
        assert!(load(&vec![0; INSTRUCTION * (MOST_INSTRUCTIONS + 1)]).is_err());
    }
}
