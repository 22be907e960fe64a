//! Laying a program out. It is written from its end to its beginning, because a jump goes forward only: what it goes to is there already, and
//! the distance is known.

use super::program::Instruction;
use std::collections::HashMap;

/// A place in the program, counted from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label(usize);

/// A comparison skips at most 255 instructions. Some room is kept for what is put in between.
const NEAR: usize = 250;

#[derive(Debug, Default)]
pub(super) struct Emitter {
    /// Last instruction first.
    backwards: Vec<Instruction>,
    /// The nearest return of each value.
    returns: HashMap<u32, Label>,
}

impl Emitter {
    fn push(&mut self, instruction: Instruction) -> Label {
        self.backwards.push(instruction);
        Label(self.backwards.len() - 1)
    }

    /// How many instructions one that is put before all others would have to skip.
    fn distance(&self, label: Label) -> usize {
        self.backwards.len() - 1 - label.0
    }

    /// A return of this value, a shared one if there is one in reach.
    pub(super) fn ret(&mut self, value: u32) -> Label {
        if let Some(label) = self.returns.get(&value)
            && self.distance(*label) < NEAR
        {
            return *label;
        }
        let label = self.push(Instruction::plain(Instruction::RETURN, value));
        self.returns.insert(value, label);
        label
    }

    /// The same place within reach of a comparison: by way of a plain jump, which goes as far as it likes.
    fn near(&mut self, label: Label) -> Label {
        if self.distance(label) < NEAR {
            label
        } else {
            self.jump(label)
        }
    }

    fn jump(&mut self, label: Label) -> Label {
        let skip = u32::try_from(self.distance(label)).unwrap_or(u32::MAX);
        self.push(Instruction::plain(Instruction::JUMP, skip))
    }

    /// Compares the accumulator and goes on at one of two places.
    pub(super) fn branch(&mut self, code: u16, value: u32, yes: Label, no: Label) -> Label {
        let yes = self.near(yes);
        let no = self.near(no);
        // `near` has put at most one instruction in between
        let skip = |label| u8::try_from(self.distance(label)).unwrap_or(u8::MAX);
        let instruction = Instruction {
            code,
            jump_true: skip(yes),
            jump_false: skip(no),
            value,
        };
        self.push(instruction)
    }

    /// Makes `label` what comes next after whatever is put before it now.
    pub(super) fn follow_with(&mut self, label: Label) {
        if self.distance(label) > 0 {
            self.jump(label);
        }
    }

    /// An instruction that goes on with the next one.
    pub(super) fn plain(&mut self, code: u16, value: u32) -> Label {
        self.push(Instruction::plain(code, value))
    }

    pub(super) fn load(&mut self, offset: u32) -> Label {
        self.plain(Instruction::LOAD, offset)
    }

    /// The program; it begins with what was put last.
    pub(super) fn finish(mut self) -> Vec<Instruction> {
        self.backwards.reverse();
        self.backwards
    }
}
