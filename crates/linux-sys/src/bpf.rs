//! `bpf(2)`, as far as device filters of cgroup v2 need it: load one small program, attach it to a cgroup.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

/// One eBPF instruction, as `struct bpf_insn` of `linux/bpf.h`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BpfInstruction {
    pub code: u8,
    /// Destination in the low four bits, source in the high four.
    pub registers: u8,
    pub offset: i16,
    pub immediate: i32,
}

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

/// The head of `union bpf_attr` for `BPF_PROG_LOAD`. The kernel takes a shorter union than its own and reads the rest as zero.
#[repr(C)]
struct LoadAttributes {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

/// The same for `BPF_PROG_ATTACH`.
#[repr(C)]
struct AttachAttributes {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// A descriptor as the kernel's structures hold it; an open one is never negative.
fn number(fd: RawFd) -> io::Result<u32> {
    u32::try_from(fd).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))
}

/// Loads a program of type `BPF_PROG_TYPE_CGROUP_DEVICE`. It lives as long as the descriptor or a cgroup that it is attached to.
///
/// # Errors
/// What the verifier says to the program (`EINVAL`, `EACCES`), `EPERM` without `CAP_BPF` or `CAP_SYS_ADMIN`, `ENOSYS` without BPF.
pub fn load_cgroup_device_program(program: &[BpfInstruction]) -> io::Result<OwnedFd> {
    let attributes = LoadAttributes {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len())
            .map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?,
        insns: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
    };
    // SAFETY: `attributes` lives through the call and its size is given; it points to `insn_cnt` instructions of the kernel's layout and
    // to a terminated text, which the kernel copies before it returns.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_LOAD,
            &raw const attributes,
            size_of::<LoadAttributes>(),
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = RawFd::try_from(fd).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: the kernel has just made this descriptor (close-on-exec, as always for bpf) and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a device program to a cgroup v2 directory, beside those of its ancestors: all of them must allow.
///
/// # Errors
/// `EINVAL` when this program is attached there already, `EBADF` when the directory is no cgroup v2.
pub fn attach_cgroup_device_program(cgroup: impl AsFd, program: impl AsFd) -> io::Result<()> {
    let attributes = AttachAttributes {
        target_fd: number(cgroup.as_fd().as_raw_fd())?,
        attach_bpf_fd: number(program.as_fd().as_raw_fd())?,
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: `attributes` lives through the call and its size is given; both descriptors are borrowed for as long.
    let done = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_ATTACH,
            &raw const attributes,
            size_of::<AttachAttributes>(),
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

    /// `r0 = 0; exit`
    const REFUSE_ALL: [BpfInstruction; 2] = [
        BpfInstruction {
            code: 0xb7,
            registers: 0,
            offset: 0,
            immediate: 0,
        },
        BpfInstruction {
            code: 0x95,
            registers: 0,
            offset: 0,
            immediate: 0,
        },
    ];

    #[test]
    fn a_program_loads_and_a_wrong_one_does_not() -> io::Result<()> {
        if !nix::unistd::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "CI must run this as root");
            return Ok(());
        }
        load_cgroup_device_program(&REFUSE_ALL)?;
        let endless = load_cgroup_device_program(&REFUSE_ALL[..1]);
        assert_eq!(
            endless.map_err(|e| e.raw_os_error()).err(),
            Some(Some(libc::EINVAL))
        );
        Ok(())
    }

    #[test]
    fn a_directory_that_is_no_cgroup_is_refused() -> io::Result<()> {
        if !nix::unistd::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "CI must run this as root");
            return Ok(());
        }
        let program = load_cgroup_device_program(&REFUSE_ALL)?;
        let directory = std::fs::File::open("/")?;
        assert!(attach_cgroup_device_program(&directory, &program).is_err());
        Ok(())
    }
}
