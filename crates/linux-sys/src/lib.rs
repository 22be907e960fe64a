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
//! | [`pidfd`] | open, signal, wait, and the exit of a process that somebody else reaped |
//! | [`mapping`] | a small shared file mapping whose stores survive the death of the process |
//! | [`process`] | start time of a process, which makes a pid number an identity |
#![allow(unsafe_code)]

pub mod bpf;
pub mod clock;
pub mod mapping;
pub mod pidfd;
pub mod process;
