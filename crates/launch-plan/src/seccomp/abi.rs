//! The system call interfaces that a machine has, and their numbers.

use std::collections::HashMap;

/// One way to make system calls; a 64-bit kernel also takes those of its 32-bit forebear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Abi {
    X86_64,
    I386,
    /// 64-bit instructions with 32-bit pointers: x86-64's token, its numbers with bit 30 set.
    X32,
    Aarch64,
    Arm,
}

/// The kind of machine that programs are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Machine {
    X86_64,
    Aarch64,
}

impl Machine {
    /// The one that this binary runs on.
    pub const HERE: Option<Machine> = if cfg!(target_arch = "x86_64") {
        Some(Machine::X86_64)
    } else if cfg!(target_arch = "aarch64") {
        Some(Machine::Aarch64)
    } else {
        None
    };

    pub fn native(self) -> Abi {
        match self {
            Machine::X86_64 => Abi::X86_64,
            Machine::Aarch64 => Abi::Aarch64,
        }
    }

    /// All that its kernel may be built to take, the native one first.
    pub fn abis(self) -> &'static [Abi] {
        match self {
            Machine::X86_64 => &[Abi::X86_64, Abi::I386, Abi::X32],
            Machine::Aarch64 => &[Abi::Aarch64, Abi::Arm],
        }
    }
}

/// Bit 30 of a number marks a call of x32.
pub(super) const X32_BIT: u32 = 0x4000_0000;

impl Abi {
    /// `AUDIT_ARCH_*` of `linux/audit.h`.
    pub(super) fn token(self) -> u32 {
        match self {
            Abi::X86_64 | Abi::X32 => 0xc000_003e,
            Abi::I386 => 0x4000_0003,
            Abi::Aarch64 => 0xc000_00b7,
            Abi::Arm => 0x4000_0028,
        }
    }

    /// The name in an OCI profile. `None`: an architecture that is none of ours, which cannot run here.
    pub(super) fn of_oci(name: &str) -> Option<Self> {
        Some(match name {
            "SCMP_ARCH_X86_64" => Abi::X86_64,
            "SCMP_ARCH_X86" => Abi::I386,
            "SCMP_ARCH_X32" => Abi::X32,
            "SCMP_ARCH_AARCH64" => Abi::Aarch64,
            "SCMP_ARCH_ARM" => Abi::Arm,
            _ => return None,
        })
    }
}

/// `name x86_64 i386 aarch64 arm`, a line each.
const TABLE: &str = include_str!("syscalls.txt");

/// x32 has its own numbers where pointers are handed over in memory (`arch/x86/entry/syscalls/syscall_64.tbl`).
const X32_OWN: [(&str, u32); 36] = [
    ("rt_sigaction", 512),
    ("rt_sigreturn", 513),
    ("ioctl", 514),
    ("readv", 515),
    ("writev", 516),
    ("recvfrom", 517),
    ("sendmsg", 518),
    ("recvmsg", 519),
    ("execve", 520),
    ("ptrace", 521),
    ("rt_sigpending", 522),
    ("rt_sigtimedwait", 523),
    ("rt_sigqueueinfo", 524),
    ("sigaltstack", 525),
    ("timer_create", 526),
    ("mq_notify", 527),
    ("kexec_load", 528),
    ("waitid", 529),
    ("set_robust_list", 530),
    ("get_robust_list", 531),
    ("vmsplice", 532),
    ("move_pages", 533),
    ("preadv", 534),
    ("pwritev", 535),
    ("rt_tgsigqueueinfo", 536),
    ("recvmmsg", 537),
    ("sendmmsg", 538),
    ("process_vm_readv", 539),
    ("process_vm_writev", 540),
    ("setsockopt", 541),
    ("getsockopt", 542),
    ("io_setup", 543),
    ("io_submit", 544),
    ("execveat", 545),
    ("preadv2", 546),
    ("pwritev2", 547),
];

/// Every call of an interface by name; on x32 without the marking bit.
pub(super) fn numbers(abi: Abi) -> HashMap<&'static str, u32> {
    let column = match abi {
        Abi::X86_64 | Abi::X32 => 0,
        Abi::I386 => 1,
        Abi::Aarch64 => 2,
        Abi::Arm => 3,
    };
    let mut all: HashMap<_, _> = rows()
        .filter_map(|(name, mut numbers)| Some((name, numbers.nth(column)?.parse().ok()?)))
        .collect();
    if abi == Abi::X32 {
        all.extend(X32_OWN);
    }
    all
}

/// Whether any interface has a call of this name.
pub(super) fn is_known(name: &str) -> bool {
    rows().any(|(known, _)| known == name)
}

fn rows() -> impl Iterator<Item = (&'static str, std::str::SplitAsciiWhitespace<'static>)> {
    TABLE
        .lines()
        .filter(|l| !l.starts_with('#'))
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            Some((words.next()?, words))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds_every_interface_and_no_number_twice() {
        for (abi, some, at_least) in [
            (Abi::X86_64, ("io_uring_setup", 425), 360),
            (Abi::I386, ("socketcall", 102), 430),
            (Abi::X32, ("execve", 520), 360),
            (Abi::Aarch64, ("openat", 56), 310),
            (Abi::Arm, ("set_tls", 0xf0005), 400),
        ] {
            let all = numbers(abi);
            assert_eq!(all.get(some.0), Some(&some.1), "{abi:?}");
            assert!(all.len() >= at_least, "{abi:?}: {}", all.len());
            // 341 of arm has two names
            let distinct: std::collections::BTreeSet<_> = all.values().collect();
            let doubled = usize::from(abi == Abi::Arm);
            assert_eq!(distinct.len() + doubled, all.len(), "{abi:?}");
        }
    }
}
