//! node-policy
