//! What comes of the node's verdict about a new pod. The verdict itself is `node_policy::admission`'s.
//!
//! ```text
//!               the kernel was looked at            who makes room has ended
//!  Undecided ─────────────┬───────────► Admitted(after) ──────────────────► Admitted()
//!                         └───────────► Rejected
//! ```
//!
//! A pod is judged once. A verdict is a recorded fact: a new agent does not judge again, whatever it finds its node to be. As with a
//! kubelet, a pod that was rejected stays so: another try needs another pod, that is another manifest.

use crate::step::Scene;
use crate::{PartState, Retry, Stage};
use node_policy::admission::{Rejection, RejectionReason};
use pod_model::{PodUid, Reason, SandboxPart};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What the node says of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Admission {
    /// Nothing is known of it but that it is wanted. It may run already, for an agent whose record is lost: so the kernel is looked at
    /// first.
    Undecided,
    /// It is taken on, once the pods in `after` have ended, which make room for it.
    Admitted { after: BTreeSet<PodUid> },
    /// It is not taken on, for good.
    Rejected(Rejection),
}

impl Default for Admission {
    /// Of a record that says nothing about it: the pod was begun.
    fn default() -> Self {
        Admission::Admitted {
            after: BTreeSet::new(),
        }
    }
}

impl Admission {
    /// Nothing may be done for the pod yet.
    pub(crate) fn holds_back(&self) -> bool {
        match self {
            Admission::Undecided => true,
            Admission::Admitted { after } => !after.is_empty(),
            Admission::Rejected(_) => false,
        }
    }
}

/// Something to count, as a kubelet's metrics do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tally {
    /// A pod was not taken on.
    Rejected(RejectionReason),
    /// A pod ends to make room. `signal` names the resource of which there was too little.
    Preempted { signal: &'static str },
}

impl Scene<'_> {
    pub(crate) fn absorb_admitted(&mut self, after: &BTreeSet<PodUid>) {
        self.record.admission = Admission::Admitted {
            after: after.clone(),
        };
    }

    pub(crate) fn absorb_made_room(&mut self, by: &PodUid) {
        if let Admission::Admitted { after } = &mut self.record.admission {
            after.remove(by);
        }
    }

    /// Nothing was begun. What is there all the same is of a former pod of this uid, and goes.
    pub(crate) fn absorb_rejected(&mut self, rejection: &Rejection) {
        if self.record.stage != Stage::Admitted {
            return;
        }
        let reason = rejection.reason.as_str();
        self.say(Reason::warning(reason, rejection.message.clone()));
        self.record.admission = Admission::Rejected(rejection.clone());
        self.record.start_time.get_or_insert(self.now.wall);
        self.record.stage = Stage::Finished;
        for part in SandboxPart::ALL {
            let state = self.record.sandbox.part_mut(part);
            if *state != PartState::Absent {
                *state = PartState::Undoing {
                    retry: Retry::default(),
                };
            }
        }
    }
}
