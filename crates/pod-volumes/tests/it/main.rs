//! Volumes on a real kernel, in a mount namespace of the test's own.

mod empty_dirs;
mod host_paths;
mod lab;
mod removal;
mod sub_paths;
