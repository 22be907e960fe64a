//! The writer against the real kernel: killed at random moments, and on a full disk.

mod full_disk;
mod killed;
mod lines;
