//! container-logs
