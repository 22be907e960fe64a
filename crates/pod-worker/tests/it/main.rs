//! The worker between a core and executors that are made up.

mod changing;
mod node;
mod probing;
