//! What the rest of the node tells the worker, and by what.

use pod_lifecycle::Input;
use pod_model::{AdmittedPod, FieldError, Now, PodUid};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// What the rest of the node tells the worker.
#[derive(Debug)]
pub enum Command {
    /// The pod is wanted as its source says; `seen` is when that was read. Ephemeral containers that one of this uid has, it keeps.
    Desired { pod: AdmittedPod, seen: Now },
    /// Somebody changes the pod, as it is then: so nobody's change is lost. Answered when it is changed, or with what is wrong; the
    /// answer is dropped if the pod is not known, or on its way out.
    Changed {
        uid: PodUid,
        change: Change,
        answer: oneshot::Sender<Result<(), Vec<FieldError>>>,
    },
    /// It is not wanted any more. `grace` shortens what its spec says.
    Deleted {
        uid: PodUid,
        grace: Option<Duration>,
    },
    /// An observation: an exit, a listing.
    Input(Box<Input>),
    /// Answered when every pod is gone.
    WhenEmpty(oneshot::Sender<()>),
}

/// Makes of a pod what it is to be, with the same uid.
pub struct Change(Box<MakeChange>);

type MakeChange = dyn FnOnce(&AdmittedPod) -> Result<AdmittedPod, Vec<FieldError>> + Send;

impl Change {
    pub fn new(
        make: impl FnOnce(&AdmittedPod) -> Result<AdmittedPod, Vec<FieldError>> + Send + 'static,
    ) -> Self {
        Self(Box::new(make))
    }

    pub(crate) fn of(self, pod: &AdmittedPod) -> Result<AdmittedPod, Vec<FieldError>> {
        (self.0)(pod)
    }
}

impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Change")
    }
}

/// A handle that feeds the worker.
#[derive(Debug, Clone)]
pub struct Inputs(mpsc::UnboundedSender<Command>);

/// The worker has ended; nobody listens any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the pod worker has stopped")]
pub struct Stopped;

impl Inputs {
    pub(crate) fn new(sender: mpsc::UnboundedSender<Command>) -> Self {
        Self(sender)
    }
    /// # Errors
    /// When the worker has ended.
    pub fn send(&self, command: Command) -> Result<(), Stopped> {
        self.0.send(command).map_err(|_| Stopped)
    }
    /// # Errors
    /// When the worker has ended.
    pub fn observe(&self, input: Input) -> Result<(), Stopped> {
        self.send(Command::Input(Box::new(input)))
    }
}
