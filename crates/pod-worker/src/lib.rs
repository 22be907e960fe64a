//! pod-worker
