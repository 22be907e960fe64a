//! The node's configuration: what its files and flags say, as one plain value.
//!
//! In: `coracle.yaml` for people, a `KubeletConfiguration` file with its drop-in directory for clusters, and the flags of the command line
//! as [`Settings`]. Out: a [`NodeConfig`] with every default filled in, and warnings; or every mistake with its file and line.
//!
//! The order, weakest first: defaults, `coracle.yaml`, the `KubeletConfiguration`, its drop-ins by name, flags.
//!
//! No key is parsed and ignored. One that nobody knows is refused with the nearest that is known; one that a kubelet knows and this agent
//! does not implement is refused by name, unless ignoring it changes nothing for any pod: then it is accepted, and all such keys of a file
//! are told of in one warning. Both tables, `coracle_file` and `kubelet_file`, are the only lists of keys.
//!
//! This crate touches nothing but the files that it is told to read.

mod coracle_file;
mod kubelet_file;
mod kubelet_keys;
mod load;
mod mistake;
mod settings;
mod units;
mod values;

#[cfg(test)]
mod tests;

pub use load::{Files, Loaded, load};
pub use mistake::{ConfigError, Mistake};
pub use settings::{NodeConfig, Settings};
pub use units::{ByteSize, format_duration, parse_duration};
