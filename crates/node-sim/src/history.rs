//! A history: everything that happens to a node from outside, as data. It can be written down, read back and shortened.

use crate::kind::{CrashPoint, Kind};
use pod_model::{AdmittedPod, FailureReason, ProbeKind};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// What chance of the moment (how long an action takes, whether an event is late) is drawn from.
    pub salt: u64,
    pub node: Node,
    pub weather: Weather,
    pub pods: Vec<PodPlan>,
    /// What happens, and how many milliseconds after what is before it.
    pub ops: Vec<(u64, Op)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub kernel_slots: usize,
    pub pulls: usize,
    pub longest_back_off_seconds: u64,
    /// The kernel does not tell the exit code of a process that nobody was there to reap.
    pub old_kernel: bool,
}

/// How often, in percent, something goes wrong by itself while faults are on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weather {
    pub exit_late: u8,
    pub exit_lost: u8,
    pub exit_twice: u8,
    pub look_late: u8,
    pub look_lost: u8,
    pub action_slow: u8,
    pub answer_late: u8,
    /// Several inputs are taken in before anything is written or issued.
    pub batched: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodPlan {
    /// Static pods of one name are one manifest: writing one takes the others away.
    pub name: String,
    pub uid: String,
    /// As in `restartPolicy`.
    pub policy: String,
    pub grace_seconds: i64,
    pub from_api: bool,
    pub containers: Vec<ContainerPlan>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerPlan {
    pub name: String,
    pub init: bool,
    /// Of a main container: its own `restartPolicy`, and the exit codes with which it is started again all the same.
    #[serde(default)]
    pub policy: Option<String>,
    #[serde(default)]
    pub restart_on: Vec<i32>,
    /// Of an init container: it runs on.
    #[serde(default)]
    pub sidecar: bool,
    #[serde(default)]
    pub post_start: bool,
    #[serde(default)]
    pub pre_stop: bool,
    #[serde(default)]
    pub probes: Vec<ProbeKind>,
    pub image: String,
    /// As in `imagePullPolicy`.
    pub pull: String,
    /// What each attempt does, from the first; the last stays.
    pub programs: Vec<Program>,
}

impl ContainerPlan {
    /// Its own policy, or its pod's.
    pub(crate) fn policy<'a>(&'a self, of_pod: &'a str) -> &'a str {
        self.policy.as_deref().unwrap_or(of_pod)
    }
    pub(crate) fn program(&self, attempt: u32) -> Program {
        let list = &self.programs;
        list.get(attempt as usize)
            .or(list.last())
            .copied()
            .unwrap_or_default()
    }
}

/// What one attempt does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// It ends by itself after this; `None`: it runs until it is stopped.
    pub runs_ms: Option<u64>,
    pub code: i32,
    /// The kernel ends it for want of memory.
    pub oom: bool,
    /// What it does when told to stop: how long it takes, and its code. `None`: it ignores that.
    pub stops: Option<(u64, i32)>,
    /// It hangs in the kernel: even a kill takes this long.
    pub hangs_ms: u64,
    /// When its startup and readiness probes pass, from its start.
    #[serde(default)]
    pub fit_after_ms: u64,
    /// When its liveness probe fails for good, from its start.
    #[serde(default)]
    pub sick_after_ms: Option<u64>,
}

impl Program {
    pub(crate) fn own_code(&self) -> i32 {
        if self.oom { 137 } else { self.code }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// The manifest is there from now on.
    Write(usize),
    /// It is gone; a pod of an API server may be given another grace period.
    Take {
        pod: usize,
        grace_seconds: Option<u64>,
    },
    /// A pod that goes is to go faster.
    Hurry {
        pod: usize,
        grace_seconds: u64,
    },
    /// A source names again what it has named.
    TellAgain(usize),
    /// The next `times` actions of a kind.
    Trouble {
        kind: Kind,
        what: Trouble,
        times: u32,
    },
    /// All trouble with actions ends, what hung goes on.
    Mend,
    /// The agent dies when an action of this kind comes to this moment, `skip` times passed over; another starts afterwards.
    CrashAt {
        point: CrashPoint,
        skip: u32,
        down_ms: u64,
    },
    /// The agent dies now.
    Crash {
        down_ms: u64,
    },
    /// The machine dies now, and boots.
    Reboot {
        down_ms: u64,
    },
    /// The keeper dies, and another takes over; containers live on.
    KeeperDies {
        down_ms: u64,
    },
    /// The `nth` container that runs is gone, and nobody knows how.
    Vanish(usize),
    /// A file of the agent is damaged; the next agent finds out.
    DamageRecord(usize),
    DamagePod(usize),
    /// Nothing can be written: records in the run directory, copies in the root directory.
    DiskFull {
        run: bool,
        root: bool,
    },
    DiskFree,
    /// An image is deleted.
    DeleteImage(String),
    /// The wall clock is set.
    StepClock {
        seconds: i64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trouble {
    Fails {
        reason: FailureReason,
        retry_after_seconds: Option<u64>,
        /// It was done half.
        half: bool,
    },
    Takes {
        ms: u64,
    },
    /// Not answered until the trouble ends.
    Hangs,
}

impl PodPlan {
    /// The pod that this plan is of, as the API server or the manifest source hands it over.
    pub(crate) fn pod(&self) -> AdmittedPod {
        let mut pod = test_kit::pod(&self.name)
            .uid(&self.uid)
            .restart_policy(&self.policy)
            .grace_seconds(self.grace_seconds);
        if self.from_api {
            pod = pod.from_api();
        }
        for container in &self.containers {
            pod = if container.sidecar {
                pod.sidecar(&container.name)
            } else if container.init {
                pod.init(&container.name)
            } else {
                pod.container(&container.name)
            };
            pod = pod.image(&container.image).pull(&container.pull);
            if let Some(policy) = &container.policy {
                pod = pod.own_policy(policy, &container.restart_on);
            }
            if container.post_start {
                pod = pod.post_start();
            }
            if container.pre_stop {
                pod = pod.pre_stop();
            }
            for kind in &container.probes {
                pod = pod.probe(*kind, None);
            }
        }
        pod.build()
    }
}
