//! Profile → program.
//!
//! ```text
//! load arch ─► one block per arch token: load number ─► balanced tree over ranges of numbers ─► return, or compare arguments and return
//! ```
//!
//! A range of numbers with one verdict is one leaf, and leaves with one verdict share one return, so the tree over some hundred calls has
//! some eighty nodes on seven levels. Loading translates every instruction to machine code and runs the program once per number, to remember
//! what is always allowed: a short program and short paths are paid back at every start. See [`super::emit`] for how it is laid out.

use super::abi::{self, Abi, Machine, X32_BIT};
use super::emit::{Emitter, Label};
use super::profile::{Action, Comparison, Condition, ENOSYS, Profile, Rule};
use super::program::{Instruction, MAX_INSTRUCTIONS};
use std::collections::{BTreeMap, BTreeSet};

const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    #[error("the profile compiles to {instructions} instructions; the kernel takes {limit}")]
    TooLong { instructions: usize, limit: usize },
    #[error(
        "the profile refuses the system call {name:?}, which is not known here, so it cannot be refused"
    )]
    UnknownRefused { name: String },
}

/// What one number of one interface gets.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Always(Action),
    /// The first whose conditions hold, else the default.
    ByArguments {
        rules: Vec<(Vec<Condition>, Action)>,
        otherwise: Action,
    },
}

/// Compiles for a machine.
///
/// # Errors
/// When the program would be too long, or when a name that is unknown should be refused while unknown calls are let through.
pub fn compile(profile: &Profile, machine: Machine) -> Result<Vec<Instruction>, CompileError> {
    check_names(profile)?;
    let listed: BTreeSet<Abi> = std::iter::once(machine.native())
        .chain(profile.abis.iter().copied())
        .filter(|a| machine.abis().contains(a))
        .collect();
    let mut code = Emitter::default();
    let mut entries: Vec<(u32, Label)> = Vec::new();
    for abi in machine.abis() {
        let token = abi.token();
        if entries.iter().all(|(t, _)| *t != token) {
            let ranges = arch_ranges(profile, &listed, machine, token);
            let tree = tree(&mut code, &ranges);
            code.follow_with(tree);
            entries.push((token, code.load(NUMBER)));
        }
    }
    let mut next = code.ret(Action::KillProcess.code());
    for (token, entry) in entries.into_iter().rev() {
        next = code.branch(Instruction::JUMP_EQUAL, token, entry, next);
    }
    code.follow_with(next);
    code.load(ARCH);
    let program = code.finish();
    if program.len() > MAX_INSTRUCTIONS {
        return Err(CompileError::TooLong {
            instructions: program.len(),
            limit: MAX_INSTRUCTIONS,
        });
    }
    Ok(program)
}

/// A name that no interface has is harmless where unknown calls are refused. Where they are let through, a profile that names one in order to
/// refuse it would promise what it does not keep.
fn check_names(profile: &Profile) -> Result<(), CompileError> {
    if !profile.default.lets_through() {
        return Ok(());
    }
    for rule in profile.rules.iter().filter(|r| !r.action.lets_through()) {
        if let Some(name) = rule.names.iter().find(|n| !abi::is_known(n)) {
            return Err(CompileError::UnknownRefused {
                name: name.to_string(),
            });
        }
    }
    Ok(())
}

/// All interfaces of one token. On x86-64 two share it.
fn arch_ranges(
    profile: &Profile,
    listed: &BTreeSet<Abi>,
    machine: Machine,
    token: u32,
) -> Vec<(u32, Verdict)> {
    let mut ranges = Vec::new();
    for abi in machine.abis().iter().filter(|a| a.token() == token) {
        let base = if *abi == Abi::X32 { X32_BIT } else { 0 };
        let of_abi = if listed.contains(abi) {
            verdict_ranges(profile, *abi)
        } else {
            let action = profile.other_abis.unwrap_or(Action::KillProcess);
            vec![(0, Verdict::Always(action))]
        };
        ranges.extend(of_abi.into_iter().map(|(start, v)| (base + start, v)));
    }
    merge(&mut ranges);
    ranges
}

/// From which number on which verdict holds, beginning with 0.
fn verdict_ranges(profile: &Profile, abi: Abi) -> Vec<(u32, Verdict)> {
    let numbers = abi::numbers(abi);
    let mut by_number: BTreeMap<u32, Vec<&Rule>> = BTreeMap::new();
    for rule in &profile.rules {
        for name in &rule.names {
            if let Some(number) = numbers.get(name.as_ref()) {
                by_number.entry(*number).or_default().push(rule);
            }
        }
    }
    let newest = by_number.keys().next_back().copied();
    let mut ranges = vec![(0, Verdict::Always(profile.default))];
    for (number, rules) in by_number {
        ranges.push((number, verdict(&rules, profile.default)));
        ranges.push((number + 1, Verdict::Always(profile.default)));
    }
    if let Some(newest) = newest
        && profile.newer_is_enosys
        && !profile.default.lets_through()
    {
        ranges.push((newest + 1, Verdict::Always(Action::Errno(ENOSYS))));
    }
    // of two that begin at one number the later was meant
    let mut unique: Vec<(u32, Verdict)> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match unique.last_mut() {
            Some(last) if last.0 == range.0 => *last = range,
            _ => unique.push(range),
        }
    }
    unique
}

fn verdict(rules: &[&Rule], default: Action) -> Verdict {
    let mut conditional = Vec::new();
    let mut otherwise = default;
    for rule in rules {
        if rule.conditions.is_empty() {
            otherwise = rule.action;
            break;
        }
        conditional.push((rule.conditions.clone(), rule.action));
    }
    // conditions whose outcome is the same either way need not be looked at
    while conditional.last().is_some_and(|(_, a)| *a == otherwise) {
        conditional.pop();
    }
    if conditional.is_empty() {
        Verdict::Always(otherwise)
    } else {
        Verdict::ByArguments {
            rules: conditional,
            otherwise,
        }
    }
}

/// Neighbours with one verdict become one.
fn merge(ranges: &mut Vec<(u32, Verdict)>) {
    ranges.dedup_by(|next, kept| next.1 == kept.1);
}

/// Where the verdict over these ranges (never none) is found.
fn tree(code: &mut Emitter, ranges: &[(u32, Verdict)]) -> Label {
    if let [(_, verdict)] = ranges {
        return leaf(code, verdict);
    }
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let above = tree(code, high);
    let below = tree(code, low);
    code.branch(Instruction::JUMP_GREATER_EQUAL, high[0].0, above, below)
}

fn leaf(code: &mut Emitter, verdict: &Verdict) -> Label {
    match verdict {
        Verdict::Always(action) => code.ret(action.code()),
        Verdict::ByArguments { rules, otherwise } => {
            let mut next = code.ret(otherwise.code());
            for (conditions, action) in rules.iter().rev() {
                next = rule(code, conditions, *action, next);
            }
            next
        }
    }
}

/// Where a comparison goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    /// The next step.
    Next,
    /// The condition holds: to the next condition.
    Holds,
    /// It does not: to the next rule.
    Fails,
}

struct Step {
    code: u16,
    value: u32,
    when: [To; 2],
}

fn load(offset: u32) -> Step {
    Step {
        code: Instruction::LOAD,
        value: offset,
        when: [To::Next; 2],
    }
}

fn mask(value: u32) -> Step {
    Step {
        code: Instruction::AND,
        value,
        when: [To::Next; 2],
    }
}

fn test(code: u16, value: u32, yes: To, no: To) -> Step {
    Step {
        code,
        value,
        when: [yes, no],
    }
}

/// All conditions must hold for the action; where one fails, `fails` goes on.
fn rule(code: &mut Emitter, conditions: &[Condition], action: Action, fails: Label) -> Label {
    let mut holds = code.ret(action.code());
    for one in conditions.iter().rev() {
        let mut next = holds;
        for step in condition(one).into_iter().rev() {
            let to = |to| match to {
                To::Next => next,
                To::Holds => holds,
                To::Fails => fails,
            };
            next = match step.code {
                Instruction::LOAD | Instruction::AND => {
                    code.follow_with(next);
                    code.plain(step.code, step.value)
                }
                comparison => {
                    code.branch(comparison, step.value, to(step.when[0]), to(step.when[1]))
                }
            };
        }
        holds = next;
    }
    holds
}

fn condition(c: &Condition) -> Vec<Step> {
    // little endian: the low half comes first
    let low_at = ARGUMENTS + 8 * u32::from(c.index);
    let high_at = low_at + 4;
    let low = (c.value & 0xffff_ffff) as u32;
    let high = (c.value >> 32) as u32;
    use Instruction as I;
    use To::{Fails, Holds, Next};

    // the high half decides alone unless it is equal
    let by_high = |greater: To, less: To| -> Vec<Step> {
        if c.low_half {
            Vec::new()
        } else {
            vec![
                load(high_at),
                test(I::JUMP_GREATER, high, greater, Next),
                test(I::JUMP_EQUAL, high, Next, less),
            ]
        }
    };
    let mut steps = match c.comparison {
        Comparison::Equal => {
            let mut s = Vec::new();
            if !c.low_half {
                s.push(load(high_at));
                s.push(test(I::JUMP_EQUAL, high, Next, Fails));
            }
            s.push(load(low_at));
            s.push(test(I::JUMP_EQUAL, low, Holds, Fails));
            s
        }
        Comparison::NotEqual => {
            let mut s = Vec::new();
            if !c.low_half {
                s.push(load(high_at));
                s.push(test(I::JUMP_EQUAL, high, Next, Holds));
            }
            s.push(load(low_at));
            s.push(test(I::JUMP_EQUAL, low, Fails, Holds));
            s
        }
        Comparison::MaskedEqual { second } => {
            let mut s = Vec::new();
            if !c.low_half {
                s.push(load(high_at));
                s.push(mask(high));
                s.push(test(I::JUMP_EQUAL, (second >> 32) as u32, Next, Fails));
            }
            s.push(load(low_at));
            s.push(mask(low));
            s.push(test(
                I::JUMP_EQUAL,
                (second & 0xffff_ffff) as u32,
                Holds,
                Fails,
            ));
            s
        }
        Comparison::Greater | Comparison::GreaterOrEqual => by_high(Holds, Fails),
        Comparison::Less | Comparison::LessOrEqual => by_high(Fails, Holds),
    };
    let last = match c.comparison {
        Comparison::Greater => Some(test(I::JUMP_GREATER, low, Holds, Fails)),
        Comparison::GreaterOrEqual => Some(test(I::JUMP_GREATER_EQUAL, low, Holds, Fails)),
        Comparison::Less => Some(test(I::JUMP_GREATER_EQUAL, low, Fails, Holds)),
        Comparison::LessOrEqual => Some(test(I::JUMP_GREATER, low, Fails, Holds)),
        _ => None,
    };
    if let Some(last) = last {
        steps.push(load(low_at));
        steps.push(last);
    }
    steps
}
