//! YAML and JSON text as values that know the line they stand on.
//!
//! In: the text of a file that a person wrote. Out: one [`Node`] per document, a tree in which every key and value carries its
//! [`Place`], or the first [`SyntaxError`] with its place. [`Node::to_json`] gives the plain value, [`Node::locate`] finds the place of
//! a field path such as `spec.containers[0].image`, [`nearest`] guesses what a misspelt name was meant to be.
//!
//! Scalars mean what they mean to a kubelet, whose reader is YAML 1.1 turned into JSON: `yes` and `off` are booleans, `0644` is octal, a
//! key that stands twice is an error. What one text may cost is bounded: nesting, nodes, aliases and their expansion.
//!
//! This crate knows no schema and opens no file.

mod names;
mod node;
mod path;
mod read;

#[cfg(test)]
mod tests;

pub use names::nearest;
pub use node::{Entry, Kind, Node, Place, describe};
pub use read::{SyntaxError, read};
