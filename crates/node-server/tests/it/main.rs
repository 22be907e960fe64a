//! The server over real sockets, with a node that is made up.

mod api;
mod ask;
mod exec;
mod fake;
mod logs;
mod metrics;
