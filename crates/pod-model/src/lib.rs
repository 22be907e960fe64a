//! The words every other crate speaks: ids, time, the desired pod, what was observed, what is to be done and what came of it.
//!
//! Nothing here does anything: no I/O, no clock, no task. Values go in and out.
//!
//! | module | holds |
//! |---|---|
//! | [`ids`] | [`PodUid`], [`ContainerName`], [`Attempt`], [`ContainerKey`], [`ContainerId`], [`PodName`] |
//! | [`time`] | [`Now`], [`MonoTime`], [`WallTime`] |
//! | [`pod`] | [`AdmittedPod`]: a `v1` Pod that was defaulted and validated, and cannot change any more |
//! | [`action`] | [`Action`], its [`ActionKey`], the [`Fact`] an executor answers with, [`Failure`] |
//! | [`observed`] | [`Observed`]: what the kernel shows, with the version of the look |
//! | [`probe`] | [`ProbeTarget`]: what is to be probed; [`Probed`], [`ProbeFailed`]: what came of it |
//! | [`reason`] | [`Reason`]: why the core did something; the Kubernetes event and the metric label come from it |
//!
//! What it deliberately does not know: how a pod lives (`pod-lifecycle`), how a container is made (`launch-plan`, `keeper`).

pub mod action;
pub mod ids;
pub mod observed;
pub mod pod;
pub mod probe;
pub mod quantity;
pub mod reason;
pub mod time;

pub use action::{
    Action, ActionKey, ExitSeen, Fact, Failure, FailureReason, Fault, ImageFact, Outcome,
    ProcessFacts, SandboxPart, Signal,
};
pub use ids::{Attempt, ContainerId, ContainerKey, ContainerName, IdError, PodName, PodUid};
pub use observed::{ExitCause, ExitRecord, Observed, ObservedContainer, ObservedState, Seq};
pub use pod::{AdmittedPod, ContainerRole, FieldError, ImagePullPolicy, QosClass, RestartPolicy};
pub use probe::{ProbeFailed, ProbeKind, ProbeTarget, Probed};
pub use quantity::{Quantity, QuantityFormat};
pub use reason::{EventType, Reason};
pub use time::{MonoTime, Now, WallTime};
