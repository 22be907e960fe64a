//! What goes into [`NodeCore`](crate::NodeCore), and the status that comes out of it.

use k8s_openapi::api::core::v1::PodStatus;
use pod_model::{Action, AdmittedPod, ExitSeen, Fact, Observed, PodUid, ProbeFailed, Probed};
use std::sync::Arc;
use std::time::Duration;

/// Everything that can happen to a node's pods.
#[derive(Debug)]
pub enum Input {
    /// The pod is wanted; new, or changed, or told again. A uid that is going away is taken on again once it is gone.
    Desired(AdmittedPod),
    /// The pod is not wanted any more. `grace` of `None` is what its spec says, zero is: kill now. Told again, it only shortens.
    Deleted {
        uid: PodUid,
        grace: Option<Duration>,
    },
    /// The pod broke a limit that only its end can enforce: it fails, at once, with `message`. Ignored of a pod that is ending.
    Evicted {
        uid: PodUid,
        message: String,
    },
    /// An action was answered.
    Fact(Fact),
    Exit(ExitSeen),
    /// A probe's answer has changed. Ignored of an attempt that is not the living one.
    Probed(Probed),
    /// A probe failed once: an event.
    ProbeFailed(ProbeFailed),
    /// A full listing. Nothing is started and nothing taken away before the first one.
    Observed(Observed),
    /// Every source has been read once: what no source has named by now, nobody wants.
    SourcesReady,
    /// Pods of which an executor holds something (a lease, a directory, a cgroup). Those that nobody knows are taken away.
    Leftovers(Vec<PodUid>),
    /// Somebody has brought images onto the node: who waits before looking for his image again looks at once.
    ImagesCame,
    /// The executor of this [`Action::EnsureImage`] found no image and asks for its turn to pull; [`NodeCore::poll_pull`](crate::NodeCore::poll_pull) gives it.
    PullWanted(Action),
    /// Time has passed.
    Tick,
}

/// A status to be shown to the world.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusUpdate {
    pub uid: PodUid,
    pub status: Arc<PodStatus>,
    /// It is on its way out: `deletionTimestamp` is set, or the manifest is gone.
    pub deleting: bool,
    /// No process of it lives and its resources are free: an API object of it may be deleted.
    pub released: bool,
}
