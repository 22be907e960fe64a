//! manifest-source
