//! The device allow-list as an eBPF program, which is how cgroup v2 takes it.
//!
//! The kernel asks the program at every open and mknod of a device node with `struct bpf_cgroup_dev_ctx { access << 16 | type, major, minor }`;
//! 1 allows, 0 is `EPERM`.

use crate::devices::{DEFAULT_ALLOWED, DevicePolicy, DeviceRule, DeviceType};
use crate::error::CgroupError;
use linux_sys::bpf::{self, BpfInstruction};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::OnceLock;

/// Programs that were loaded, once per agent; every container's cgroup has the same one attached.
#[derive(Debug, Default)]
pub(crate) struct DeviceFilters {
    default: OnceLock<OwnedFd>,
}

impl DeviceFilters {
    pub(crate) fn attach(&self, cgroup: &Path, policy: DevicePolicy) -> Result<(), CgroupError> {
        if policy == DevicePolicy::All {
            return Ok(());
        }
        let failed = |source| CgroupError::DeviceFilter {
            path: cgroup.to_owned(),
            source,
        };
        let program = match self.default.get() {
            Some(program) => program,
            None => {
                let loaded =
                    bpf::load_cgroup_device_program(&compile(&DEFAULT_ALLOWED)).map_err(failed)?;
                self.default.get_or_init(|| loaded)
            }
        };
        let directory = std::fs::File::open(cgroup).map_err(failed)?;
        match bpf::attach_cgroup_device_program(&directory, program) {
            // attached by an earlier call for this container
            Err(e) if e.kind() == std::io::ErrorKind::InvalidInput => Ok(()),
            other => other.map_err(failed),
        }
    }
}

// instruction classes and operations of linux/bpf.h
const LOAD_WORD: u8 = 0x61; // dst = *(u32 *)(src + offset)
const MOVE_REGISTER: u8 = 0xbf;
const MOVE: u8 = 0xb7;
const SHIFT_RIGHT: u8 = 0x77;
const AND: u8 = 0x57;
const JUMP_IF_NOT_EQUAL: u8 = 0x55;
const EXIT: u8 = 0x95;

// registers: 0 is the answer, 1 the context and later scratch
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const TYPE: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

const ACCESS_MKNOD: i32 = 1;
const ACCESS_READ_WRITE: i32 = 2 | 4;

fn op(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> BpfInstruction {
    BpfInstruction {
        code,
        registers: to | (from << 4),
        offset,
        immediate,
    }
}

/// One block per rule, each falling to the next when something does not match; refuse at the end.
pub(crate) fn compile(rules: &[DeviceRule]) -> Vec<BpfInstruction> {
    let mut program = vec![
        op(LOAD_WORD, TYPE, CONTEXT, 0, 0),
        op(MOVE_REGISTER, ACCESS, TYPE, 0, 0),
        op(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        op(AND, TYPE, 0, 0, 0xffff),
        op(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        op(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules {
        let kind = match rule.kind {
            DeviceType::Block => 1,
            DeviceType::Char => 2,
        };
        let allowed = if rule.read_write {
            ACCESS_READ_WRITE
        } else {
            0
        } | if rule.mknod { ACCESS_MKNOD } else { 0 };
        // every jump goes to the end of this block; the offsets are filled in when its length is known
        let mut block = vec![
            op(JUMP_IF_NOT_EQUAL, TYPE, 0, 0, kind),
            op(MOVE_REGISTER, CONTEXT, ACCESS, 0, 0),
            op(AND, CONTEXT, 0, 0, !allowed & 7),
            op(JUMP_IF_NOT_EQUAL, CONTEXT, 0, 0, 0),
        ];
        for (register, number) in [(MAJOR, rule.major), (MINOR, rule.minor)] {
            if let Some(number) = number {
                block.push(op(JUMP_IF_NOT_EQUAL, register, 0, 0, number.cast_signed()));
            }
        }
        block.push(op(MOVE, ANSWER, 0, 0, 1));
        block.push(op(EXIT, 0, 0, 0, 0));
        let length = block.len();
        for (at, instruction) in block.iter_mut().enumerate() {
            if instruction.code == JUMP_IF_NOT_EQUAL {
                // a block has at most 8 instructions
                instruction.offset = i16::try_from(length - at - 1).unwrap_or(i16::MAX);
            }
        }
        program.extend(block);
    }
    program.push(op(MOVE, ANSWER, 0, 0, 0));
    program.push(op(EXIT, 0, 0, 0, 0));
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program as the kernel would.
    fn allows(program: &[BpfInstruction], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let context = [access << 16 | kind, major, minor];
        let mut r = [0u64; 16];
        let mut pc = 0usize;
        loop {
            let i = program[pc];
            let (to, from) = (usize::from(i.registers & 15), usize::from(i.registers >> 4));
            let value = i64::from(i.immediate).cast_unsigned();
            pc += 1;
            match i.code {
                LOAD_WORD => {
                    r[to] = u64::from(context[usize::try_from(i.offset).unwrap_or(99) / 4])
                }
                MOVE_REGISTER => r[to] = r[from],
                MOVE => r[to] = value,
                SHIFT_RIGHT => r[to] >>= value,
                AND => r[to] &= value,
                JUMP_IF_NOT_EQUAL => {
                    if r[to] != value {
                        pc = pc.saturating_add_signed(i.offset.into());
                    }
                }
                EXIT => return r[0] == 1,
                other => unreachable!("code {other:#x}"),
            }
        }
    }

    #[test]
    fn only_the_listed_nodes_may_be_opened_and_any_may_be_made() {
        let program = compile(&DEFAULT_ALLOWED);
        let (block, char, mknod, read, write) = (1, 2, 1, 2, 4);
        assert!(allows(&program, char, read | write, 1, 3), "null");
        assert!(allows(&program, char, read | write | mknod, 5, 2), "ptmx");
        assert!(allows(&program, char, write, 136, 77), "a pts");
        assert!(allows(&program, block, mknod, 8, 0), "mknod of a disk");
        assert!(!allows(&program, block, read, 8, 0), "a disk");
        assert!(!allows(&program, block, read | mknod, 8, 0));
        assert!(!allows(&program, char, read, 1, 1), "mem");
        assert!(!allows(&program, char, write, 1, 11), "kmsg");
        assert!(!allows(&program, char, read | write, 10, 229), "fuse");
        assert!(
            !allows(&program, block, read, 1, 3),
            "a block device of null's number"
        );
    }
}
