//! Classic BPF as seccomp takes it (`linux/filter.h`, `seccomp(2)`).

/// One instruction, laid out as the kernel's `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    pub code: u16,
    /// How many instructions to skip when a comparison holds, and when it does not.
    pub jump_true: u8,
    pub jump_false: u8,
    pub value: u32,
}

impl Instruction {
    /// `A = *(u32 *)(seccomp_data + value)`
    pub const LOAD: u16 = 0x20;
    /// `pc += value`
    pub const JUMP: u16 = 0x05;
    pub const JUMP_EQUAL: u16 = 0x15;
    pub const JUMP_GREATER: u16 = 0x25;
    pub const JUMP_GREATER_EQUAL: u16 = 0x35;
    /// `A &= value`
    pub const AND: u16 = 0x54;
    pub const RETURN: u16 = 0x06;

    pub(super) const fn plain(code: u16, value: u32) -> Self {
        Self {
            code,
            jump_true: 0,
            jump_false: 0,
            value,
        }
    }
}

/// The kernel's `BPF_MAXINSNS`.
pub const MAX_INSTRUCTIONS: usize = 4096;

/// `struct sock_filter[]`, ready to load on this machine.
pub(super) fn bytes(program: &[Instruction]) -> Vec<u8> {
    let mut out = Vec::with_capacity(program.len() * 8);
    for i in program {
        out.extend_from_slice(&i.code.to_ne_bytes());
        out.push(i.jump_true);
        out.push(i.jump_false);
        out.extend_from_slice(&i.value.to_ne_bytes());
    }
    out
}

/// What the kernel shows the program of a call.
#[cfg(test)]
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) arch: u32,
    pub(super) number: u32,
    pub(super) arguments: [u64; 6],
}

/// Runs a program as the kernel does, and counts its steps.
#[cfg(test)]
pub(super) fn run(program: &[Instruction], call: &Call) -> (u32, usize) {
    let load = |offset: u32| match offset {
        0 => call.number,
        4 => call.arch,
        16..64 if offset.is_multiple_of(4) => {
            let argument = call.arguments[((offset - 16) / 8) as usize];
            (argument >> (if offset.is_multiple_of(8) { 0 } else { 32 })) as u32
        }
        other => unreachable!("load of {other}"),
    };
    let (mut pc, mut a, mut steps) = (0usize, 0u32, 0);
    loop {
        let i = program[pc];
        pc += 1;
        steps += 1;
        let mut branch = |holds: bool| {
            pc += usize::from(if holds { i.jump_true } else { i.jump_false });
        };
        match i.code {
            Instruction::LOAD => a = load(i.value),
            Instruction::AND => a &= i.value,
            Instruction::JUMP => pc += i.value as usize,
            Instruction::JUMP_EQUAL => branch(a == i.value),
            Instruction::JUMP_GREATER => branch(a > i.value),
            Instruction::JUMP_GREATER_EQUAL => branch(a >= i.value),
            Instruction::RETURN => return (i.value, steps),
            other => unreachable!("code {other:#x}"),
        }
    }
}
