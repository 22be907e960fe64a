//! Carries out the probes of a node's containers.
//!
//! ```text
//!  Probes::tend(pod, targets) ──► Prober ──► a connection, or a command by Exec ──► Answer
//!  Probes::forget(pod)              │ one task, one schedule                          │ thresholds
//!                                   ▼                                                 ▼
//!                                 Said::Tried (each)   Said::Failed (each failure)   Said::Probed (a change)
//! ```
//!
//! In: which attempts are probed, after each change of a pod. Out: what was found, to a [`Listen`]. One task runs all probes of the node
//! ([`Prober::run`]); a probe that waits costs an entry in a schedule. Every try has a connection of its own, as a kubelet's has: it asks
//! whether the next client would be served.
//!
//! What it deliberately does not know: why a container is probed, what an answer means for its pod, how a command gets into a container
//! ([`Exec`] does), and anything of an earlier agent but what a target says of it.

mod answer;
mod count;
mod dial;
mod exec;
mod grpc;
mod http;
mod plan;
mod prober;
mod schedule;
mod tls;
mod url;

pub use answer::{Answer, ErrorResult, MOST_OUTPUT};
pub use exec::{Exec, Ran, timed_out};
pub use http::{Asker, GetError, HttpGet, HttpResponse};
pub use prober::{Listen, Named, Prober, Probes, Said, TryResult};
