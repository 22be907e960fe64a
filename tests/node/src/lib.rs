//! node-tests
