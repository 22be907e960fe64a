//! The node's HTTP face: the kubelet's read-only API on loopback, and the same with more on a unix socket for people's commands.
//!
//! - Tasks: one accept loop per listener, one task per connection, one per streamed answer (a followed log, an exec session, a pull).
//! - In: requests; the node's state and deeds through [`Node`], which the binary implements; log files by their path.
//! - Out: `v1` JSON, Prometheus text, log text, JSON lines of progress ([`wire`]), exec sessions as frames ([`frames`]).
//! - It knows no pod's life, no cgroup and no image: it asks. What it may show on TCP is decided by the router that serves it, not by
//!   a check in a handler: exec, pull and down have no route there.
//!
//! Nothing here grows with what a client does: connections, header time, body size and buffers are bounded.

mod answer;
mod debug;
mod exec;
pub mod frames;
mod guard;
mod images;
mod logs;
mod metrics;
mod node;
mod resource;
mod router;
mod server;
mod state;
mod summary;
mod view;
pub mod wire;

pub use node::{
    ContainerUsage, ExecExit, ExecRequest, ExecSession, Node, NodeError, NodeEvent, NodeInfo,
    NodeUsage, PodUsage, PodView, TerminalSize, TimelineEntry,
};
pub use server::{ListenError, Server, ServerConfig};
pub use view::{event_of, pod_of};
