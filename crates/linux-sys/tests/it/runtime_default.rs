//! RuntimeDefault, compiled by `launch-plan` and loaded: what the kernel answers, not what the program should.

use launch_plan::seccomp::{KernelVersion, Programs};
use linux_sys::probe::{Call, Through, errnos_under};
use std::sync::Arc;

/// containerd's fourteen capabilities.
const CAPABILITIES: u64 = 0xa804_25fb;
const CLONE_NEWUSER: i64 = 0x1000_0000;
const AF_UNIX: i64 = 1;
const AF_ALG: i64 = 38;
const AF_VSOCK: i64 = 40;
const SOCK_STREAM: i64 = 1;
const EPERM: i32 = libc::EPERM;

type Answer = Result<(), Box<dyn std::error::Error>>;

fn program() -> Result<Arc<[u8]>, Box<dyn std::error::Error>> {
    Ok(Programs::new(KernelVersion(6, 1), false).runtime_default(CAPABILITIES)?)
}

fn check(through: Through, expected: &[(&str, i64, [i64; 3], i32)]) -> Answer {
    let calls: Vec<Call> = expected
        .iter()
        .map(|(_, number, [a, b, c], _)| Call {
            through,
            number: *number,
            arguments: [*a, *b, *c, 0, 0, 0],
        })
        .collect();
    let answers = errnos_under(&program()?, &calls)?;
    let got: Vec<_> = expected.iter().map(|e| e.0).zip(&answers).collect();
    let wanted: Vec<_> = expected.iter().map(|e| (e.0, &e.3)).collect();
    assert_eq!(got, wanted);
    Ok(())
}

#[test]
fn the_kernel_refuses_what_runtime_default_refuses() -> Answer {
    check(
        Through::Native,
        &[
            ("keyctl", libc::SYS_keyctl, [-1, 0, 0], EPERM),
            ("add_key", libc::SYS_add_key, [0, 0, 0], EPERM),
            ("bpf", libc::SYS_bpf, [-1, 0, 0], EPERM),
            ("io_uring_setup", libc::SYS_io_uring_setup, [1, 0, 0], EPERM),
            ("userfaultfd", libc::SYS_userfaultfd, [-1, 0, 0], EPERM),
            (
                "perf_event_open",
                libc::SYS_perf_event_open,
                [0, -1, -1],
                EPERM,
            ),
            (
                "open_by_handle_at",
                libc::SYS_open_by_handle_at,
                [-1, 0, 0],
                EPERM,
            ),
            ("kexec_load", libc::SYS_kexec_load, [0, 99, 0], EPERM),
            ("mount", libc::SYS_mount, [0, 0, 0], EPERM),
            ("open_tree", libc::SYS_open_tree, [-1, 0, -1], EPERM),
            ("unshare", libc::SYS_unshare, [CLONE_NEWUSER, 0, 0], EPERM),
            ("setns", libc::SYS_setns, [-1, 0, 0], EPERM),
            (
                "clone a user namespace",
                libc::SYS_clone,
                [CLONE_NEWUSER, 0, 0],
                EPERM,
            ),
            ("clone3", libc::SYS_clone3, [0, 0, 0], libc::ENOSYS),
            (
                "AF_VSOCK",
                libc::SYS_socket,
                [AF_VSOCK, SOCK_STREAM, 0],
                EPERM,
            ),
            ("AF_ALG", libc::SYS_socket, [AF_ALG, 5, 0], EPERM),
            (
                "AF_ALG by a trick",
                libc::SYS_socket,
                [AF_ALG | 1 << 32, 5, 0],
                EPERM,
            ),
            (
                "personality",
                libc::SYS_personality,
                [0x0040_0000, 0, 0],
                EPERM,
            ),
            ("newer than the list", 4000, [0, 0, 0], libc::ENOSYS),
        ],
    )
}

#[test]
fn the_kernel_lets_ordinary_calls_through() -> Answer {
    check(
        Through::Native,
        &[
            ("getpid", libc::SYS_getpid, [0, 0, 0], 0),
            ("AF_UNIX", libc::SYS_socket, [AF_UNIX, SOCK_STREAM, 0], 0),
            ("close", libc::SYS_close, [-1, 0, 0], libc::EBADF),
            ("personality", libc::SYS_personality, [0xffff_ffff, 0, 0], 0),
            ("ptrace", libc::SYS_ptrace, [-1, 0, 0], libc::ESRCH),
            (
                "memfd_create",
                libc::SYS_memfd_create,
                [0, 0, 0],
                libc::EFAULT,
            ),
        ],
    )
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_32_bit_interface_is_filtered_too() -> Answer {
    // of i386: getpid 20, mount 21, ptrace 26, unshare 310, keyctl 288, bpf 357, socket 359, clone3 435
    let getpid = Call {
        through: Through::I386,
        number: 20,
        arguments: [0; 6],
    };
    if errnos_under(&program()?, &[getpid])? != [0] {
        // a kernel without IA32 emulation kills the child at `int 0x80`: nothing to filter
        return Ok(());
    }
    check(
        Through::I386,
        &[
            ("getpid", 20, [0, 0, 0], 0),
            ("mount", 21, [0, 0, 0], EPERM),
            ("unshare", 310, [CLONE_NEWUSER, 0, 0], EPERM),
            ("keyctl", 288, [-1, 0, 0], EPERM),
            ("bpf", 357, [-1, 0, 0], EPERM),
            ("AF_ALG", 359, [AF_ALG, 5, 0], EPERM),
            ("AF_UNIX", 359, [AF_UNIX, SOCK_STREAM, 0], 0),
            ("clone3", 435, [0, 0, 0], libc::ENOSYS),
        ],
    )
}
