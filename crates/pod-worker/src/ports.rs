//! What the worker needs of the world. The binary provides it; tests provide fakes.

use pod_model::{Action, AdmittedPod, Failure, Now, Outcome, PodUid, ProbeTarget, Seq};
use std::future::Future;
use std::time::Duration;
use tokio::sync::watch;

/// What an executor says of one action. The worker makes the [`pod_model::Fact`] of it.
#[derive(Debug)]
pub struct Done {
    pub outcome: Result<Outcome, Failure>,
    /// The container host's version after the action.
    pub seq: Seq,
    /// Where the time went, in order.
    pub spans: Vec<(String, Duration)>,
    /// When the last span ended, where it is known better than by the moment of this answer.
    pub ended_at: Option<Now>,
}

/// What the core has to say to an action that is being carried out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) may_pull: bool,
    pub(crate) is_cancelled: bool,
}

/// An action's line to the core while it is carried out.
#[derive(Debug, Clone)]
pub struct Line {
    pub(crate) word: watch::Receiver<Word>,
    pub(crate) ask: crate::Inputs,
    pub(crate) action: Action,
}

impl Line {
    /// Asks for this image's turn to be pulled and waits for it: how many pulls run at once is the core's decision. `false`: cancelled.
    pub async fn turn_to_pull(&mut self) -> bool {
        if self
            .ask
            .observe(pod_lifecycle::Input::PullWanted(self.action.clone()))
            .is_err()
        {
            return false;
        }
        let word = self
            .word
            .wait_for(|word| word.may_pull || word.is_cancelled)
            .await;
        word.is_ok_and(|word| !word.is_cancelled)
    }
    /// Returns when nobody waits for the action any more. It may break off then, and answers all the same.
    pub async fn cancelled(&mut self) {
        if self.word.wait_for(|word| word.is_cancelled).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Carries actions out. Idempotent by key: the same action again finds what the first did and answers the same.
pub trait Executor: Send + Sync + 'static {
    /// `pod` is the desired pod, if it is known; a pod that only the kernel knows has none.
    fn run(
        &self,
        action: Action,
        pod: Option<AdmittedPod>,
        line: Line,
    ) -> impl Future<Output = Done> + Send;
}

/// Keeps the records over the death of the agent, and of the machine.
///
/// `save_record` is called before the actions that the record speaks of are issued, on the worker's own thread: it must not wait for a
/// disk.
pub trait Records: Send + 'static {
    /// A pod that is new; its text never changes.
    ///
    /// # Errors
    /// When it is not saved: the pod runs, and would be forgotten by a restart.
    fn save_pod(&mut self, pod: &AdmittedPod) -> Result<(), state_file::WriteError>;
    /// # Errors
    /// When it is not saved; it is tried again with the next change.
    fn save_record(
        &mut self,
        uid: &PodUid,
        version: u32,
        record: &[u8],
    ) -> Result<(), state_file::WriteError>;
    fn remove(&mut self, uid: &PodUid);
}

/// Probes what the core names, and tells what it finds by [`Inputs::observe`](crate::Inputs::observe). Called from the loop: it begins and
/// ends, and does not wait.
pub trait Probes: Send + 'static {
    /// From now on these are the pod's targets, and no others. Told again, it changes nothing.
    fn tend(&mut self, pod: &AdmittedPod, targets: Vec<ProbeTarget>);
    /// The pod is gone.
    fn forget(&mut self, uid: &PodUid);
}

/// Probes nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProbes;

impl Probes for NoProbes {
    fn tend(&mut self, _: &AdmittedPod, _: Vec<ProbeTarget>) {}
    fn forget(&mut self, _: &PodUid) {}
}

/// Both clocks, read once.
pub trait Clock: Clone + Send + Sync + 'static {
    fn now(&self) -> Now;
}
