//! container-host
