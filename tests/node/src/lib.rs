//! The harness of the node's specification: real nodes on a real kernel, each alone in its own corner of it.
//!
//! | part | gives |
//! |---|---|
//! | [`sandbox`] | a network and a mount namespace in which a node and what it talks to live; gone when the last of them goes |
//! | [`node`] | the real binary, run with directories, cgroups and addresses of its own; started, killed, asked, removed |
//! | [`view`] | what the node says of a pod, read by name |
//! | [`leaks`] | everything a node may leave behind, counted before and after |
//! | [`image`], [`archive`], [`registry`], [`liar`] | images made layer by layer, as archives, in a real registry, or served by one that lies |
//! | [`answering`] | servers that a test answers for |
//! | [`prometheus`] | a real Prometheus that scrapes, and promtool |
//! | [`http`], [`process`], [`wait`] | a small HTTP client, `/proc`, waiting for a predicate with a deadline |
//!
//! It knows the product only as a program: no crate of it is used here. Nothing sleeps to wait, and nothing outlives a test that
//! panics: every fixture takes itself away when dropped.
//!
//! Needs root and the packages that `cargo xtask test` installs. `CORACLE_BIN` names the binary; without it, it is built.
#![allow(
    clippy::print_stderr,
    reason = "a failing test shows what its node said"
)]

pub mod answering;
pub mod archive;
pub mod http;
pub mod image;
pub mod leaks;
pub mod liar;
pub mod manifest;
pub mod node;
pub mod process;
pub mod prometheus;
pub mod registry;
pub mod sandbox;
pub mod view;
pub mod wait;

pub use image::{Image, Layer};
pub use manifest::{pod, sh};
pub use node::{Node, NodeBuilder};
pub use sandbox::Sandbox;
pub use wait::{seconds, wait_for, wait_until};
