//! Profile → program.
//!
//! ```text
//! load arch ─► one block per arch token: load number ─► balanced tree over ranges of numbers ─► return, or compare arguments and return
//! ```
//!
//! A range of numbers with one verdict is one leaf, so the tree over some hundred calls has some sixty leaves and six levels. The kernel runs
//! the program once per number when it is loaded, to remember what is always allowed; a short path is paid back twice.

use super::abi::{self, Abi, Machine, X32_BIT};
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
    let mut program = vec![Instruction::plain(Instruction::LOAD, ARCH)];
    let mut tokens: Vec<u32> = Vec::new();
    for abi in machine.abis() {
        let token = abi.token();
        if tokens.contains(&token) {
            continue;
        }
        tokens.push(token);
        let block = arch_block(profile, &listed, machine, token);
        program.push(Instruction {
            code: Instruction::JUMP_EQUAL,
            jump_true: 1,
            jump_false: 0,
            value: token,
        });
        program.push(Instruction::plain(Instruction::JUMP, length(&block)));
        program.extend(block);
    }
    program.push(ret(Action::KillProcess));
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

fn ret(action: Action) -> Instruction {
    Instruction::plain(Instruction::RETURN, action.code())
}

fn length(block: &[Instruction]) -> u32 {
    u32::try_from(block.len()).unwrap_or(u32::MAX)
}

/// All interfaces of one token. On x86-64 two share it.
fn arch_block(
    profile: &Profile,
    listed: &BTreeSet<Abi>,
    machine: Machine,
    token: u32,
) -> Vec<Instruction> {
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
    let mut block = vec![Instruction::plain(Instruction::LOAD, NUMBER)];
    block.extend(tree(&ranges));
    block
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

fn tree(ranges: &[(u32, Verdict)]) -> Vec<Instruction> {
    match ranges {
        [] => Vec::new(),
        [(_, verdict)] => leaf(verdict),
        _ => {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            let below = tree(low);
            let above = tree(high);
            let mut out = Vec::with_capacity(below.len() + above.len() + 2);
            match u8::try_from(below.len()) {
                Ok(skip) => out.push(Instruction {
                    code: Instruction::JUMP_GREATER_EQUAL,
                    jump_true: skip,
                    jump_false: 0,
                    value: high[0].0,
                }),
                // a comparison skips at most 255, a plain jump as far as it likes
                Err(_) => {
                    out.push(Instruction {
                        code: Instruction::JUMP_GREATER_EQUAL,
                        jump_true: 0,
                        jump_false: 1,
                        value: high[0].0,
                    });
                    out.push(Instruction::plain(Instruction::JUMP, length(&below)));
                }
            }
            out.extend(below);
            out.extend(above);
            out
        }
    }
}

fn leaf(verdict: &Verdict) -> Vec<Instruction> {
    match verdict {
        Verdict::Always(action) => vec![ret(*action)],
        Verdict::ByArguments { rules, otherwise } => {
            let mut out = Vec::new();
            for (conditions, action) in rules {
                out.extend(rule(conditions, *action));
            }
            out.push(ret(*otherwise));
            out
        }
    }
}

/// Where a comparison goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    Next,
    /// The condition holds: past its end.
    Holds,
    /// It does not: past the end of the rule.
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

/// All conditions, then the return; whoever fails lands behind it. A rule has at most six conditions of at most six steps, so every jump is
/// short (a condition on one argument twice makes two rules).
fn rule(conditions: &[Condition], action: Action) -> Vec<Instruction> {
    let steps: Vec<Vec<Step>> = conditions.iter().map(condition).collect();
    let total: usize = steps.iter().map(Vec::len).sum::<usize>() + 1;
    let mut out = Vec::with_capacity(total);
    let mut condition_end = 0;
    for of_condition in steps {
        condition_end += of_condition.len();
        for step in of_condition {
            let here = out.len() + 1;
            let skip = |to| {
                let target = match to {
                    To::Next => here,
                    To::Holds => condition_end,
                    To::Fails => total,
                };
                u8::try_from(target - here).unwrap_or(u8::MAX)
            };
            out.push(Instruction {
                code: step.code,
                jump_true: skip(step.when[0]),
                jump_false: skip(step.when[1]),
                value: step.value,
            });
        }
    }
    out.push(ret(action));
    out
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
