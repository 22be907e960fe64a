//! The agent: the kernel crates joined to the core.
//!
//! [`run()`] builds everything in order and lives until a signal; the executor carries actions out, one file per group of them; `view` is
//! what the HTTP server asks; `source` feeds manifests to the worker.

mod accountant;
mod boot;
mod command;
mod containers;
mod debug;
mod down;
mod eviction;
mod executor;
mod facts;
mod hooks;
mod housekeeping;
mod images;
mod last_words;
mod outcome;
mod parts;
mod probing;
mod run;
mod sandbox;
mod seccomp;
mod session;
mod shm;
mod source;
mod terminal;
mod view;

pub(crate) use run::run;
