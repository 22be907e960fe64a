//! What the node says of itself: log lines on stderr, and metrics in the Prometheus text format.
//!
//! - [`logging`] sets `tracing` up once, from a level or a filter.
//! - [`metrics`] has the values that code counts with (one atomic operation each) and the encoder.
//! - [`NodeMetrics`] is the table of every `kubelet_*` metric that this agent has a value for; the binary makes one and shares it.
//! - [`ProcessMetrics`] reads what the kernel knows of this process when somebody asks.
//!
//! In: counts, durations, log events. Out: text. It knows no pods and no HTTP.

pub mod logging;
pub mod metrics;
mod node;
mod process;

pub use node::{ContainerKind, NodeMetrics, ProbeLabels};
pub use process::ProcessMetrics;
