//! The source against a real directory and a real inotify.

mod following;
mod node;
mod samples;
