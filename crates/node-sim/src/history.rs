//! A history: everything that happens to a node from outside, as data. It can be written down, read back and shortened.

use crate::kind::{CrashPoint, Kind};
use k8s_openapi::api::core::v1::{ContainerRestartRule, ContainerRestartRuleOnExitCodes};
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
    /// What it has for its pods; `None`: enough.
    #[serde(default)]
    pub room: Option<Room>,
}

/// What a node can give to all its pods together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    pub pods: i64,
    /// In bytes.
    pub memory: i64,
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
    /// What a probe found is told later, perhaps of a container that is gone by then.
    #[serde(default)]
    pub probe_late: u8,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodPlan {
    /// Static pods of one name are one manifest: writing one takes the others away.
    pub name: String,
    pub uid: String,
    /// As in `restartPolicy`.
    pub policy: String,
    pub grace_seconds: i64,
    pub from_api: bool,
    /// `activeDeadlineSeconds`.
    #[serde(default)]
    pub deadline_seconds: Option<u64>,
    /// It has a readiness gate, closed at first.
    #[serde(default)]
    pub gate: bool,
    /// What it asks for, in bytes.
    #[serde(default)]
    pub memory: i64,
    #[serde(default)]
    pub priority: Option<i32>,
    pub containers: Vec<ContainerPlan>,
    /// Ephemeral containers that people may add, one after the other.
    #[serde(default)]
    pub ephemeral: Vec<ContainerPlan>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerPlan {
    pub name: String,
    pub init: bool,
    /// Of an ephemeral container: it is refused as long as this container does not run.
    #[serde(default)]
    pub target: Option<String>,
    /// Its own `restartPolicy`, if it is no sidecar, and the exit codes with which it is started again all the same.
    #[serde(default)]
    pub policy: Option<String>,
    #[serde(default)]
    pub restart_on: Vec<i32>,
    /// It is started again with all other exit codes than those of `restart_on`.
    #[serde(default)]
    pub restart_unless: bool,
    /// The exit codes with which all containers of its pod begin again.
    #[serde(default)]
    pub restart_all_on: Vec<i32>,
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
    /// Whether its rules start it again by itself.
    pub(crate) fn is_restarted_on(&self, code: i32) -> bool {
        let has_rule = self.policy.is_some() && !self.restart_on.is_empty();
        has_rule && self.restart_on.contains(&code) != self.restart_unless
    }
    /// Whether its rules let all containers of its pod begin again.
    pub(crate) fn restarts_all_on(&self, code: i32) -> bool {
        self.policy.is_some() && self.restart_all_on.contains(&code)
    }
    fn image_now(&self, is_other: bool) -> String {
        if is_other {
            format!("{}-other", self.image)
        } else {
            self.image.clone()
        }
    }
    fn rules(&self) -> Vec<ContainerRestartRule> {
        let rule = |action: &str, operator: &str, codes: &[i32]| ContainerRestartRule {
            action: action.to_owned(),
            exit_codes: Some(ContainerRestartRuleOnExitCodes {
                operator: operator.to_owned(),
                values: Some(codes.to_vec()),
            }),
        };
        let operator = if self.restart_unless { "NotIn" } else { "In" };
        [
            ("RestartAllContainers", "In", &self.restart_all_on),
            ("Restart", operator, &self.restart_on),
        ]
        .into_iter()
        .filter(|(_, _, codes)| !codes.is_empty())
        .map(|(action, operator, codes)| rule(action, operator, codes))
        .collect()
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
    /// When its startup probe fails for good, from its start; then it never passes.
    #[serde(default)]
    pub startup_fails_after_ms: Option<u64>,
    /// So often its readiness changes again after it was fit, once every `flap_ms`.
    #[serde(default)]
    pub flaps: u8,
    #[serde(default)]
    pub flap_ms: u64,
    #[serde(default)]
    pub post_start_fails: bool,
}

impl Program {
    pub(crate) fn own_code(&self) -> i32 {
        if self.oom { 137 } else { self.code }
    }

    /// What a probe finds so long after the program's start, `None` as long as it finds nothing new; and when to look again.
    pub(crate) fn answer(&self, kind: ProbeKind, after_ms: u64) -> (Option<bool>, Option<u64>) {
        let once = |at: u64, healthy| {
            let is_over = after_ms >= at;
            (is_over.then_some(healthy), (!is_over).then_some(at))
        };
        match kind {
            ProbeKind::Startup => match self.startup_fails_after_ms {
                Some(at) => once(at, false),
                None => once(self.fit_after_ms, true),
            },
            ProbeKind::Liveness => self
                .sick_after_ms
                .map_or((None, None), |at| once(at, false)),
            ProbeKind::Readiness if after_ms < self.fit_after_ms => once(self.fit_after_ms, true),
            ProbeKind::Readiness => {
                let period = self.flap_ms.max(1);
                let changes = ((after_ms - self.fit_after_ms) / period).min(self.flaps.into());
                let next = self.fit_after_ms + (changes + 1) * period;
                let is_over = changes == u64::from(self.flaps);
                (Some(changes % 2 == 0), (!is_over).then_some(next))
            }
        }
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
    /// A pod of an API server is changed in its place.
    Edit {
        pod: usize,
        what: Edit,
    },
    /// It broke a limit of the node.
    Evict(usize),
    /// Somebody brings an image onto the node.
    BringImage(String),
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
pub enum Edit {
    /// Nothing that matters to its containers.
    Label,
    Deadline {
        seconds: u64,
    },
    /// The next ephemeral container is added.
    Debug,
    /// A container has another image, or the first one again.
    Image {
        container: usize,
    },
    /// Its readiness gate opens or closes.
    Gate {
        open: bool,
    },
}

/// What a pod was made of its plan by edits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edited {
    pub(crate) generation: i64,
    pub(crate) deadline_seconds: Option<u64>,
    pub(crate) gate_is_open: bool,
    /// So many ephemeral containers were added.
    pub(crate) ephemeral: usize,
    /// Containers that have another image than at first, a bit each.
    pub(crate) images: u64,
}

impl Edited {
    pub(crate) fn new(plan: &PodPlan) -> Self {
        Self {
            generation: 1,
            deadline_seconds: plan.deadline_seconds,
            gate_is_open: false,
            ephemeral: 0,
            images: 0,
        }
    }
    pub(crate) fn edit(&mut self, what: Edit) {
        match what {
            Edit::Label => self.generation += 1,
            Edit::Deadline { seconds } => {
                self.generation += 1;
                self.deadline_seconds = Some(seconds);
            }
            Edit::Gate { open } => self.gate_is_open = open,
            Edit::Debug => {
                self.generation += 1;
                self.ephemeral += 1;
            }
            Edit::Image { container } => {
                self.generation += 1;
                self.images ^= 1 << (container % 64);
            }
        }
    }
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
    pub(crate) fn pod(&self, edited: Edited) -> AdmittedPod {
        let mut pod = test_kit::pod(&self.name)
            .uid(&self.uid)
            .restart_policy(&self.policy)
            .grace_seconds(self.grace_seconds);
        if self.from_api {
            pod = pod.from_api().generation(edited.generation);
        }
        if let Some(seconds) = edited.deadline_seconds {
            let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
            pod = pod.spec(|spec| spec.active_deadline_seconds = Some(seconds));
        }
        if self.gate {
            pod = pod.gate("test/gate", edited.gate_is_open);
        }
        pod = pod.spec(|spec| spec.priority = self.priority);
        let first_main = self.containers.iter().position(|c| !c.init);
        for (number, container) in self.containers.iter().enumerate() {
            pod = if container.sidecar {
                pod.sidecar(&container.name)
            } else if container.init {
                pod.init(&container.name)
            } else {
                pod.container(&container.name)
            };
            let is_other = edited.images & (1 << (number % 64)) != 0;
            let image = container.image_now(is_other);
            pod = pod.image(&image).pull(&container.pull);
            if self.memory > 0 && first_main == Some(number) {
                pod = pod.request("memory", &self.memory.to_string());
            }
            if let Some(policy) = &container.policy {
                let rules = container.rules();
                pod = pod.own_policy(policy, &[]).configure(|c| {
                    c.restart_policy_rules = (!rules.is_empty()).then_some(rules);
                });
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
        for container in self.ephemeral.iter().take(edited.ephemeral) {
            pod = pod.ephemeral(&container.name, container.target.as_deref());
        }
        pod.build()
    }
    pub(crate) fn is_ephemeral(&self, name: &str) -> bool {
        self.ephemeral.iter().any(|c| c.name == name)
    }
}
