//! RuntimeDefault: what containerd allows a container by default (`contrib/seccomp/seccomp_default.go`, August 2026), as data.
//!
//! Everything not named here is `EPERM`; calls newer than the list are `ENOSYS`. Three things are stricter than there: the family of
//! `socket(2)` and the argument of `personality(2)` are compared as the `int` that the kernel reads, not as 64 bits with room for a trick;
//! every call through x32 is `ENOSYS`, as on the kernels of all distributions, which leave it out or switched off; and a hardened node takes
//! the native interface only, because on i386 `socketcall(2)` hides the family in memory.

use super::abi::{Abi, Machine};
use super::profile::{Action, Comparison, Condition, ENOSYS, EPERM, Profile, Rule};
use crate::capabilities::bit;
use std::borrow::Cow;

/// Allowed to everybody. Names that an interface lacks count for nothing there.
const ALWAYS: &str = "
    _llseek _newselect accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32 clock_adjtime
    clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range
    connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait
    epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark
    fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr
    fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake
    futimesat get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups
    getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32
    getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init
    inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ioctl ioprio_get
    ioprio_set ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link linkat listen
    listmount listxattr listxattrat llistxattr lremovexattr lseek lsetxattr lsm_get_self_attr lsm_list_modules lsm_set_self_attr lstat
    lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap
    mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap
    mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat open openat openat2 pause
    pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2
    prlimit64 process_mrelease process_vm_readv process_vm_writev pselect6 pselect6_time64 ptrace pwrite64 pwritev pwritev2 read readahead
    readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat rename renameat
    renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
    rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr
    sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
    sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg
    sendto set_robust_list set_thread_area set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32
    setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid
    setsockopt setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn
    socketcall socketpair splice stat stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee
    tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create
    timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink
    unlinkat uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev";

const ON_X86: &str = "arch_prctl modify_ldt";
const ON_ARM: &str =
    "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2";

/// Allowed to who holds the capability anyway.
const BY_CAPABILITY: [(&str, &str); 14] = [
    ("DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount open_tree
         perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    ("SYS_BOOT", "reboot"),
    ("SYS_CHROOT", "chroot"),
    ("SYS_MODULE", "delete_module finit_module init_module"),
    ("SYS_PACCT", "acct"),
    (
        "SYS_PTRACE",
        "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    ),
    ("SYS_RAWIO", "ioperm iopl"),
    (
        "SYS_TIME",
        "clock_settime clock_settime64 settimeofday stime",
    ),
    ("SYS_TTY_CONFIG", "vhangup"),
    (
        "SYS_NICE",
        "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    ),
    ("SYSLOG", "syslog"),
    ("BPF", "bpf"),
    ("PERFMON", "perf_event_open"),
];

const AF_ALG: u64 = 38;
const AF_VSOCK: u64 = 40;
/// NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET, NEWCGROUP: `clone(2)` may not make namespaces.
const NAMESPACE_FLAGS: u64 = 0x7e02_0000;
/// `PER_LINUX`, `PER_LINUX32`, `UNAME26` with either, and "tell me".
const PERSONALITIES: [u64; 5] = [0, 0x0008, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// The profile for a process whose bounding set is `capabilities`.
pub fn runtime_default(machine: Machine, capabilities: u64, hardened: bool) -> Profile {
    let mut rules = vec![allow(ALWAYS, &[])];
    rules.push(match machine {
        Machine::X86_64 => allow(ON_X86, &[]),
        Machine::Aarch64 => allow(ON_ARM, &[]),
    });
    for (capability, names) in BY_CAPABILITY {
        if bit(capability).is_some_and(|b| capabilities & b != 0) {
            rules.push(allow(names, &[]));
        }
    }
    if bit("SYS_ADMIN").is_some_and(|b| capabilities & b == 0) {
        let no_namespaces = argument(0, Comparison::MaskedEqual { second: 0 }, NAMESPACE_FLAGS);
        rules.push(allow("clone", &[no_namespaces]));
        // its flags lie in memory where no filter can see them; programs fall back to clone
        rules.push(Rule {
            names: names("clone3"),
            conditions: Vec::new(),
            action: Action::Errno(ENOSYS),
        });
    }
    rules.push(allow(
        "socket",
        &[
            argument(0, Comparison::NotEqual, AF_ALG),
            argument(0, Comparison::NotEqual, AF_VSOCK),
        ],
    ));
    for value in PERSONALITIES {
        rules.push(allow(
            "personality",
            &[argument(0, Comparison::Equal, value)],
        ));
    }
    Profile {
        default: Action::Errno(EPERM),
        abis: if hardened {
            vec![machine.native()]
        } else {
            let x32 = |abi: &Abi| *abi == Abi::X32;
            machine.abis().iter().copied().filter(|a| !x32(a)).collect()
        },
        other_abis: Some(Action::Errno(ENOSYS)),
        rules,
        newer_is_enosys: true,
    }
}

fn names(text: &'static str) -> Vec<Cow<'static, str>> {
    text.split_ascii_whitespace().map(Cow::Borrowed).collect()
}

fn allow(text: &'static str, conditions: &[Condition]) -> Rule {
    Rule {
        names: names(text),
        conditions: conditions.to_vec(),
        action: Action::Allow,
    }
}

fn argument(index: u8, comparison: Comparison, value: u64) -> Condition {
    Condition {
        index,
        comparison,
        value,
        low_half: true,
    }
}
