//! pod-volumes
