//! The containers of a node, over a keeper that may die and an agent that may die.
//!
//! In: launches that are fully decided ([`Launch`]), signals, kills, removals, exec sessions. Out: the exits, as they happen, and a
//! complete look with a version ([`ContainerHost::look`]). One task ([`ContainerHost::run`]) keeps a keeper: it connects to the one that is
//! there, starts one if there is none, and hands over what lives.
//!
//! What is known is in one table in memory, which is made from the run directory, the keeper and the kernel each time either process
//! begins anew; nothing of it is on disk but what the launch itself needs. Every change of the table has a number ([`pod_model::Seq`]).
//!
//! It does not know what a pod is beyond its uid, why a container is started or stopped, images, networks or volumes.

mod attempt;
mod exec;
mod host;
mod known;
mod life;
mod link;
mod paths;

pub use attempt::Launch;
pub use exec::ExecSession;
pub use host::{ContainerHost, HostConfig, HostError};
pub use known::{ExecExit, Started};
pub use link::LinkError;
pub use paths::{HostPaths, pod_log_dir};
