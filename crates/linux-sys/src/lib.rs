//! Safe wrappers around the Linux calls that `rustix` and `nix` lack. The only crate of the workspace with `unsafe`.
//!
//! One file per kernel facility; each `unsafe` block says which invariants make it sound, and each wrapper is tested against the
//! running kernel. A facility that an older kernel lacks answers with the error of that kernel (`ENOSYS`, `EINVAL`, `ENOTTY`) or, where
//! its absence is expected, with `None`; nothing here falls back by itself and nothing knows what a container is.
//!
//! | module | facility |
//! |---|---|
//! | [`bpf`] | device filters of cgroup v2: load and attach a program |
//! | [`clock`] | `CLOCK_BOOTTIME` and `CLOCK_REALTIME` in nanoseconds |
//! | [`clone`] | `clone3` for a process with one thread |
//! | [`descriptors`] | close-on-exec for all, and what is inherited on purpose |
//! | [`mapping`] | a small shared file mapping whose stores survive the death of the process |
//! | [`memory`] | the allocator of a process that must stay small |
//! | [`mount_attr`] | `mount_setattr`: flags and propagation by descriptor |
//! | [`pidfd`] | open, signal, wait, and the exit of a process that somebody else reaped |
//! | [`privilege`] | capability sets as masks |
//! | [`probe`] | what a seccomp program answers, for tests |
//! | [`process`] | start time of a process, which makes a pid number an identity |
//! | [`reaper`] | the life of a PID 1 that only collects orphans |
//! | [`seccomp`] | loading a finished program |
//! | [`signals`] | default actions and an empty mask |
#![allow(unsafe_code)]

pub mod bpf;
pub mod clock;
pub mod clone;
pub mod descriptors;
pub mod mapping;
pub mod memory;
pub mod mount_attr;
pub mod pidfd;
pub mod privilege;
pub mod probe;
pub mod process;
pub mod reaper;
pub mod seccomp;
pub mod signals;
