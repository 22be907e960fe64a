use super::abi::numbers;
use super::program::{Call, run};
use super::*;
use crate::capabilities;
use proptest::prelude::*;

const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;
const KILL: u32 = 0x8000_0000;
/// containerd's fourteen.
const DEFAULT_CAPABILITIES: u64 = 0xa804_25fb;

fn call(abi: Abi, name: &str, arguments: &[u64]) -> Call {
    let number = numbers(abi)[name] | if abi == Abi::X32 { 0x4000_0000 } else { 0 };
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    Call {
        arch: abi.token(),
        number,
        arguments: all,
    }
}

fn default_program(machine: Machine, caps: u64, hardened: bool) -> Vec<Instruction> {
    match compile(&runtime_default(machine, caps, hardened), machine) {
        Ok(program) => program,
        Err(e) => panic!("{e}"),
    }
}

/// What RuntimeDefault says to a call on x86-64.
fn verdict(caps: u64, abi: Abi, name: &str, arguments: &[u64]) -> u32 {
    run(
        &default_program(Machine::X86_64, caps, false),
        &call(abi, name, arguments),
    )
    .0
}

#[test]
fn runtime_default_refuses_what_containerd_refuses() {
    for abi in [Abi::X86_64, Abi::I386] {
        for name in [
            "keyctl",
            "add_key",
            "request_key",
            "bpf",
            "io_uring_setup",
            "io_uring_enter",
            "userfaultfd",
            "perf_event_open",
            "open_by_handle_at",
            "kexec_load",
            "mount",
            "umount2",
            "move_mount",
            "open_tree",
            "pivot_root",
            "setns",
            "unshare",
            "init_module",
            "finit_module",
            "reboot",
            "swapon",
            "settimeofday",
            "sethostname",
            "syslog",
            "quotactl",
            "acct",
            "iopl",
            "move_pages",
            "process_madvise",
            "fanotify_init",
        ] {
            assert_eq!(
                verdict(DEFAULT_CAPABILITIES, abi, name, &[]),
                EPERM,
                "{abi:?} {name}"
            );
        }
        assert_eq!(verdict(DEFAULT_CAPABILITIES, abi, "clone3", &[]), ENOSYS);
        for name in [
            "read", "execve", "openat", "ptrace", "chroot", "seccomp", "fork",
        ] {
            assert_eq!(
                verdict(DEFAULT_CAPABILITIES, abi, name, &[]),
                ALLOW,
                "{name}"
            );
        }
    }
}

#[test]
fn arguments_decide_for_clone_socket_and_personality() {
    let on = |name, arguments: &[u64]| verdict(DEFAULT_CAPABILITIES, Abi::X86_64, name, arguments);
    assert_eq!(on("clone", &[0x11]), ALLOW, "a fork");
    assert_eq!(on("clone", &[0x003d_0f00]), ALLOW, "a thread");
    for flag in [
        0x0002_0000u64,
        0x0200_0000,
        0x0400_0000,
        0x0800_0000,
        0x1000_0000,
        0x2000_0000,
        0x4000_0000,
    ] {
        assert_eq!(on("clone", &[flag | 0x11]), EPERM, "{flag:#x}");
    }
    for family in [1u64, 2, 10, 16, 17, 39, 41] {
        assert_eq!(on("socket", &[family]), ALLOW, "family {family}");
    }
    for family in [38u64, 40] {
        assert_eq!(on("socket", &[family]), EPERM, "family {family}");
        let with_a_bit_that_the_kernel_does_not_see = family | 1 << 32;
        assert_eq!(
            on("socket", &[with_a_bit_that_the_kernel_does_not_see]),
            EPERM
        );
    }
    for persona in [0u64, 8, 0x20000, 0x20008, 0xffff_ffff, u64::MAX] {
        assert_eq!(on("personality", &[persona]), ALLOW, "{persona:#x}");
    }
    assert_eq!(on("personality", &[0x004_0000]), EPERM, "ADDR_NO_RANDOMIZE");
}

#[test]
fn a_capability_brings_its_calls() {
    let with = |cap: &str, name| {
        let caps = DEFAULT_CAPABILITIES | capabilities::bit(cap).unwrap_or(0);
        verdict(caps, Abi::X86_64, name, &[])
    };
    for (cap, name) in [
        ("SYS_ADMIN", "mount"),
        ("SYS_ADMIN", "clone3"),
        ("SYS_ADMIN", "unshare"),
        ("BPF", "bpf"),
        ("SYS_TIME", "settimeofday"),
        ("SYS_MODULE", "init_module"),
        ("DAC_READ_SEARCH", "open_by_handle_at"),
        ("SYS_NICE", "mbind"),
        ("PERFMON", "perf_event_open"),
    ] {
        assert_eq!(with(cap, name), ALLOW, "{cap} {name}");
    }
    let no_chroot = DEFAULT_CAPABILITIES & !capabilities::bit("SYS_CHROOT").unwrap_or(0);
    assert_eq!(verdict(no_chroot, Abi::X86_64, "chroot", &[]), EPERM);
}

#[test]
fn a_call_that_the_profile_is_too_old_for_is_enosys() {
    let program = default_program(Machine::X86_64, DEFAULT_CAPABILITIES, false);
    let newest = numbers(Abi::X86_64)["removexattrat"];
    for (number, expected) in [
        (newest, ALLOW),
        (newest + 1, ENOSYS),
        (900, ENOSYS),
        (0x3fff_ffff, ENOSYS),
        (u32::MAX, ENOSYS),
        (182, EPERM),
    ] {
        let call = Call {
            arch: Abi::X86_64.token(),
            number,
            arguments: [0; 6],
        };
        assert_eq!(run(&program, &call).0, expected, "{number}");
    }
}

#[test]
fn a_foreign_architecture_is_killed_and_a_hardened_node_takes_its_own_only() {
    let program = default_program(Machine::X86_64, DEFAULT_CAPABILITIES, false);
    let foreign = Call {
        arch: 0xc000_00f3,
        number: 0,
        arguments: [0; 6],
    };
    assert_eq!(run(&program, &foreign).0, KILL);
    for name in ["read", "mount", "keyctl"] {
        assert_eq!(
            run(&program, &call(Abi::X32, name, &[])).0,
            ENOSYS,
            "{name}"
        );
    }
    let hardened = default_program(Machine::X86_64, DEFAULT_CAPABILITIES, true);
    assert_eq!(run(&hardened, &call(Abi::X86_64, "read", &[])).0, ALLOW);
    for abi in [Abi::I386, Abi::X32] {
        assert_eq!(run(&hardened, &call(abi, "read", &[])).0, ENOSYS, "{abi:?}");
    }
}

#[test]
fn the_default_program_is_short_and_shallow() {
    for (machine, most, deepest) in [(Machine::X86_64, 240, 16), (Machine::Aarch64, 240, 16)] {
        let program = default_program(machine, DEFAULT_CAPABILITIES, false);
        assert!(
            program.len() <= most,
            "{machine:?}: {} instructions",
            program.len()
        );
        let steps = numbers(machine.native())
            .keys()
            .map(|name| run(&program, &call(machine.native(), name, &[])).1)
            .max();
        assert!(steps <= Some(deepest), "{machine:?}: {steps:?} steps");
    }
}

const TARGET: Target = Target {
    machine: Machine::X86_64,
    kernel: KernelVersion(6, 1),
    capabilities: DEFAULT_CAPABILITIES,
};

fn of_json(json: &str) -> Result<Vec<Instruction>, SeccompError> {
    Ok(compile(&parse(json.as_bytes(), &TARGET)?, TARGET.machine)?)
}

#[test]
fn a_profile_file_is_obeyed() -> Result<(), SeccompError> {
    let program = of_json(
        r#"{
            "defaultAction": "SCMP_ACT_ALLOW",
            "archMap": [
                {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
                {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]}
            ],
            "syscalls": [
                {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13, "comment": "no"},
                {"names": ["kill"], "action": "SCMP_ACT_KILL_PROCESS",
                 "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 9, "op": "SCMP_CMP_EQ"}]},
                {"names": ["lseek"], "action": "SCMP_ACT_TRAP",
                 "args": [{"index": 2, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 2, "value": 2, "op": "SCMP_CMP_EQ"}]},
                {"name": "swapon", "action": "SCMP_ACT_LOG"},
                {"names": ["bpf"], "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_BPF"]}},
                {"names": ["chroot"], "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_SYS_CHROOT"]}},
                {"names": ["acct"], "action": "SCMP_ACT_ERRNO", "includes": {"minKernel": "6.2"}},
                {"names": ["sync"], "action": "SCMP_ACT_ERRNO", "includes": {"arches": ["arm64"]}}
            ]
        }"#,
    )?;
    let says = |name, arguments: &[u64]| run(&program, &call(Abi::X86_64, name, arguments)).0;
    assert_eq!(says("mkdir", &[]), 0x0005_000d);
    assert_eq!(says("kill", &[1, 9]), KILL);
    assert_eq!(says("kill", &[1 | 1 << 32, 9]), ALLOW, "all 64 bits count");
    assert_eq!(says("kill", &[1, 15]), ALLOW);
    assert_eq!(says("lseek", &[0, 0, 1]), 0x0003_0000);
    assert_eq!(
        says("lseek", &[0, 0, 2]),
        0x0003_0000,
        "either, as runc has it"
    );
    assert_eq!(says("lseek", &[0, 0, 0]), ALLOW);
    assert_eq!(says("swapon", &[]), 0x7ffc_0000);
    assert_eq!(says("bpf", &[]), EPERM);
    for name in ["chroot", "acct", "sync", "getpid"] {
        assert_eq!(says(name, &[]), ALLOW, "{name}");
    }
    let newest = Call {
        number: 5000,
        ..call(Abi::X86_64, "read", &[])
    };
    assert_eq!(run(&program, &newest).0, ALLOW, "the default allows");
    assert_eq!(run(&program, &call(Abi::I386, "mkdir", &[])).0, 0x0005_000d);
    assert_eq!(
        run(&program, &call(Abi::X32, "read", &[])).0,
        KILL,
        "not listed"
    );
    Ok(())
}

#[test]
fn a_profile_that_is_none_is_refused_and_never_unconfined() {
    let rule = |extra: &str| {
        format!(
            r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{{"names":["read"],"action":"SCMP_ACT_ALLOW"{extra}}}]}}"#
        )
    };
    for (json, part) in [
        (String::new(), "no valid profile"),
        ("{".to_owned(), "no valid profile"),
        ("[]".to_owned(), "no valid profile"),
        ("{}".to_owned(), "defaultAction"),
        ("[".repeat(100_000), "no valid profile"),
        (
            r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#.to_owned(),
            "SCMP_ACT_NOTIFY",
        ),
        (r#"{"defaultAction":"allow"}"#.to_owned(), "allow"),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","flagz":[]}"#.to_owned(),
            "flagz",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_LOG"]}"#.to_owned(),
            "SECCOMP_FILTER_FLAG_LOG",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/x"}"#.to_owned(),
            "listenerPath",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":5000}"#.to_owned(),
            "errnoRet",
        ),
        (
            rule(r#","args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]"#),
            "argument index",
        ),
        (
            rule(r#","args":[{"index":0,"value":0,"op":"EQ"}]"#),
            "comparison",
        ),
        (
            rule(r#","includes":{"caps":["CAP_NONSENSE"]}"#),
            "CAP_NONSENSE",
        ),
        (rule(r#","includes":{"minKernel":"new"}"#), "kernel version"),
    ] {
        let got = of_json(&json);
        assert!(
            got.as_ref().is_err_and(|e| e.to_string().contains(part)),
            "{} -> {got:?}",
            &json[..json.len().min(80)]
        );
    }
    let long = vec![b' '; MAX_PROFILE_BYTES + 1];
    assert!(matches!(
        parse(&long, &TARGET),
        Err(SeccompError::TooLarge { .. })
    ));
    let unknown = of_json(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["reed"],"action":"SCMP_ACT_ERRNO"}]}"#,
    );
    assert_eq!(
        unknown,
        Err(SeccompError::Compile(CompileError::UnknownRefused {
            name: "reed".to_owned()
        }))
    );
}

#[test]
fn programs_are_made_once() -> Result<(), SeccompError> {
    let programs = Programs::new(KernelVersion(6, 1), false);
    let first = programs.runtime_default(DEFAULT_CAPABILITIES)?;
    assert!(Arc::ptr_eq(
        &first,
        &programs.runtime_default(DEFAULT_CAPABILITIES)?
    ));
    assert!(!Arc::ptr_eq(&first, &programs.runtime_default(0)?));
    assert_eq!(first.len() % 8, 0);
    let json = br#"{"defaultAction":"SCMP_ACT_ALLOW"}"#;
    assert!(Arc::ptr_eq(
        &programs.localhost(json, 0)?,
        &programs.localhost(json, 0)?
    ));
    Ok(())
}

/// What a profile means, without a program.
fn meaning(profile: &Profile, machine: Machine, call: &Call) -> Option<Action> {
    let abi = Abi::X86_64;
    if call.arch != abi.token() || machine != Machine::X86_64 || call.number >= 0x4000_0000 {
        return None;
    }
    let numbers = numbers(abi);
    let is = |rule: &&Rule| {
        rule.names
            .iter()
            .any(|n| numbers.get(n.as_ref()) == Some(&call.number))
    };
    let named: Vec<u32> = profile
        .rules
        .iter()
        .flat_map(|r| &r.names)
        .filter_map(|n| numbers.get(n.as_ref()).copied())
        .collect();
    if profile.newer_is_enosys
        && matches!(
            profile.default,
            Action::Errno(_) | Action::KillProcess | Action::Trap
        )
        && named.iter().max().is_some_and(|m| call.number > *m)
    {
        return Some(Action::Errno(38));
    }
    let holds = |c: &Condition| {
        let keep = |v: u64| if c.low_half { v & 0xffff_ffff } else { v };
        let (a, v) = (keep(call.arguments[usize::from(c.index)]), keep(c.value));
        match c.comparison {
            Comparison::NotEqual => a != v,
            Comparison::Less => a < v,
            Comparison::LessOrEqual => a <= v,
            Comparison::Equal => a == v,
            Comparison::GreaterOrEqual => a >= v,
            Comparison::Greater => a > v,
            Comparison::MaskedEqual { second } => a & v == keep(second),
        }
    };
    let fits = profile
        .rules
        .iter()
        .filter(is)
        .find(|r| r.conditions.iter().all(holds));
    Some(fits.map_or(profile.default, |r| r.action))
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::Allow),
        Just(Action::Errno(1)),
        Just(Action::Errno(22)),
        Just(Action::KillProcess),
        Just(Action::Trap),
        Just(Action::Log),
    ]
}

fn value() -> impl Strategy<Value = u64> {
    prop_oneof![
        0u64..4,
        Just(u64::MAX),
        (0u64..4).prop_map(|v| v << 32 | 1),
        any::<u64>()
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    let comparison = prop_oneof![
        Just(Comparison::NotEqual),
        Just(Comparison::Less),
        Just(Comparison::LessOrEqual),
        Just(Comparison::Equal),
        Just(Comparison::GreaterOrEqual),
        Just(Comparison::Greater),
        value().prop_map(|second| Comparison::MaskedEqual { second }),
    ];
    (0u8..6, comparison, value(), any::<bool>()).prop_map(|(index, comparison, value, low_half)| {
        Condition {
            index,
            comparison,
            value,
            low_half,
        }
    })
}

fn profile() -> impl Strategy<Value = Profile> {
    let name = prop_oneof![
        Just("read"),
        Just("write"),
        Just("open"),
        Just("close"),
        Just("stat"),
        Just("socket"),
        Just("clone"),
        Just("mount"),
        Just("personality"),
        Just("bpf"),
        Just("clone3"),
        Just("mseal"),
        Just("no_such_call"),
    ];
    let rule = (
        prop::collection::vec(name, 1..5),
        prop::collection::vec(condition(), 0..4),
        action(),
    )
        .prop_map(|(names, conditions, action)| Rule {
            names: names.into_iter().map(Into::into).collect(),
            conditions,
            action,
        });
    (action(), prop::collection::vec(rule, 0..12), any::<bool>()).prop_map(
        |(default, rules, newer_is_enosys)| Profile {
            default,
            abis: vec![Abi::X86_64],
            other_abis: None,
            rules,
            newer_is_enosys,
        },
    )
}

proptest! {
    #[test]
    fn a_program_does_what_its_profile_means(
        profile in profile(),
        number in prop_oneof![0u32..6, Just(41), Just(56), Just(135), Just(165), Just(321), Just(435), Just(462), 0u32..700],
        arguments in prop::array::uniform6(value()),
    ) {
        let call = Call { arch: Abi::X86_64.token(), number, arguments };
        if let Ok(program) = compile(&profile, Machine::X86_64) {
            let got = run(&program, &call).0;
            let expected = meaning(&profile, Machine::X86_64, &call).map(Action::code);
            prop_assert_eq!(Some(got), expected);
        }
    }
}

#[test]
fn a_program_too_long_for_short_jumps_still_goes_the_right_way() -> Result<(), CompileError> {
    // every second call by its first argument, with an errno of its own
    let numbers = numbers(Abi::X86_64);
    let mut names: Vec<_> = numbers.iter().map(|(n, number)| (*number, *n)).collect();
    names.sort_unstable();
    let rules = names
        .iter()
        .step_by(2)
        .map(|(number, name)| Rule {
            names: vec![(*name).into()],
            conditions: vec![Condition {
                index: 0,
                comparison: Comparison::Greater,
                value: 7,
                low_half: false,
            }],
            action: Action::Errno(100 + u16::try_from(*number % 1000).unwrap_or(0)),
        })
        .collect();
    let profile = Profile {
        default: Action::Allow,
        abis: vec![Abi::X86_64],
        other_abis: None,
        rules,
        newer_is_enosys: true,
    };
    let program = compile(&profile, Machine::X86_64)?;
    assert!(program.len() > 1000, "{}", program.len());
    for (number, _) in names {
        for first in [0, 7, 8, u64::MAX] {
            let call = Call {
                arch: Abi::X86_64.token(),
                number,
                arguments: [first, 0, 0, 0, 0, 0],
            };
            assert_eq!(
                Some(run(&program, &call).0),
                meaning(&profile, Machine::X86_64, &call).map(Action::code),
                "{number} {first}"
            );
        }
    }
    Ok(())
}
