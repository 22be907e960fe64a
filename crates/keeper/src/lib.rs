//! keeper

pub mod client;
pub mod exit_slot;
pub mod pid_file;
pub mod protocol;
