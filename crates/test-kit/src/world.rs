//! A node in memory: the production [`NodeCore`] on a [`Machine`], in virtual time.
//!
//! ```text
//!            ┌────────── NodeCore ◄─────────┐ facts, exits, looks
//!            │ records  actions   statuses  │
//!            ▼     ▼                 ▼      │
//!          disk   work ──(time)──► Machine ─┘
//! ```
//!
//! Records go to the disk as JSON before actions go to work, as a driver has to do it; a crash throws away everything but disk and
//! machine. Every step is checked; a violation is a panic with the history.

mod driver;

use crate::machine::Machine;
use crate::summary::summary;
use k8s_openapi::api::core::v1::{PodCondition, PodStatus};
use pod_lifecycle::{Input, NodeCore, PodRecord, Settings, StatusUpdate, Tally};
use pod_model::{
    Action, AdmittedPod, ContainerKey, ContainerName, MonoTime, Now, Observed, PodUid, ProbeKind,
    ProbeTarget, Probed, Reason, WallTime,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// 2026-01-01T00:00:00Z, when every world begins.
const BEGIN: i64 = 1_767_225_600;
/// More actions than this without time passing is a loop.
const MOST_AT_ONCE: u32 = 20_000;
const HISTORY: usize = 400;

/// Whether what was in work when the agent died was done by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// Nothing of it.
    BeforeEffects,
    /// All of it; only nobody heard of it.
    AfterEffects,
}

#[derive(Debug)]
struct Work {
    action: Action,
    /// `None`: it waits for its turn to pull.
    done_at: Option<MonoTime>,
    began: MonoTime,
}

#[derive(Debug)]
pub struct World {
    pub machine: Machine,
    settings: Settings,
    core: NodeCore,
    now: Now,
    work: Vec<Work>,
    /// Records and pods as a driver keeps them.
    disk: BTreeMap<PodUid, (Option<String>, AdmittedPod)>,
    desired: BTreeMap<PodUid, AdmittedPod>,
    statuses: BTreeMap<PodUid, StatusUpdate>,
    events: Vec<(PodUid, Reason)>,
    tallies: Vec<Tally>,
    issued: Vec<Action>,
    history: VecDeque<String>,
    /// Exits reach the core at once; if not, only looks tell them.
    pub exits_are_told: bool,
    /// How many statuses were told so far: for tests of how much is told.
    pub published: u32,
}

impl Default for World {
    fn default() -> Self {
        Self::new(Settings {
            host_ips: vec!["192.0.2.1".to_owned()],
            kernel_slots: 64,
            ..Settings::default()
        })
    }
}

impl World {
    /// A node that has started: it has looked at its machine, and its sources are ready.
    pub fn new(settings: Settings) -> Self {
        let mut world = Self::starting(settings);
        world.look();
        world.sources_ready();
        world
    }
    /// A node whose agent has just begun: it has neither looked nor read a source.
    pub fn starting(settings: Settings) -> Self {
        let settings = Settings {
            check: true,
            ..settings
        };
        Self {
            machine: Machine::default(),
            core: NodeCore::new(settings.clone()),
            settings,
            now: Now {
                mono: MonoTime(1_000_000_000),
                wall: WallTime(BEGIN * 1_000_000_000),
            },
            work: Vec::new(),
            disk: BTreeMap::new(),
            desired: BTreeMap::new(),
            statuses: BTreeMap::new(),
            events: Vec::new(),
            tallies: Vec::new(),
            issued: Vec::new(),
            history: VecDeque::new(),
            exits_are_told: true,
            published: 0,
        }
    }

    // what a person or a kernel does

    pub fn desire(&mut self, pod: &AdmittedPod) {
        self.desired.insert(pod.uid().clone(), pod.clone());
        self.disk
            .entry(pod.uid().clone())
            .or_insert_with(|| (None, pod.clone()))
            .1 = pod.clone();
        self.input(Input::Desired(pod.clone()));
    }
    pub fn delete(&mut self, pod: &AdmittedPod) {
        self.delete_within(pod, None);
    }
    pub fn delete_within(&mut self, pod: &AdmittedPod, grace: Option<Duration>) {
        self.desired.remove(pod.uid());
        self.input(Input::Deleted {
            uid: pod.uid().clone(),
            grace,
        });
    }
    pub fn evict(&mut self, pod: &AdmittedPod, message: &str) {
        self.input(Input::Evicted {
            uid: pod.uid().clone(),
            message: message.to_owned(),
        });
    }
    /// A probe of this attempt says something new.
    pub fn probed(
        &mut self,
        pod: &AdmittedPod,
        container: &str,
        attempt: u32,
        says: (ProbeKind, bool),
    ) {
        let container = self.key(pod, container, attempt);
        let (kind, healthy) = says;
        self.input(Input::Probed(Probed {
            container,
            kind,
            healthy,
            message: "connection refused".to_owned(),
        }));
    }
    /// What is to be probed now, as `app.0 startup`.
    pub fn targets(&self, pod: &AdmittedPod) -> Vec<String> {
        let Some(record) = self.core.record(pod.uid()) else {
            return Vec::new();
        };
        let text = |target: ProbeTarget| format!("{} {}", target.container.dir_name(), target.kind);
        pod_lifecycle::targets(record, pod)
            .into_iter()
            .map(text)
            .collect()
    }
    pub fn look(&mut self) {
        let observed = self.machine.observe();
        self.show(observed);
    }
    /// A look that was made earlier, or is made up.
    pub fn show(&mut self, observed: Observed) {
        self.input(Input::Observed(observed));
    }
    pub fn sources_ready(&mut self) {
        self.input(Input::SourcesReady);
    }
    pub fn input(&mut self, input: Input) {
        self.note(shorten(&input));
        self.core.handle(input, self.now);
        self.settle();
    }
    /// Everything is well from now on; what hung is answered.
    pub fn mend(&mut self) {
        self.machine.script.mend();
        self.exits_are_told = true;
        for work in &mut self.work {
            work.done_at = Some(self.now.mono);
        }
        self.settle();
    }

    /// Lets time pass.
    pub fn run_for(&mut self, how_long: Duration) {
        let end = self.now.mono.plus(how_long);
        while let Some(next) = self.next_happening().filter(|at| *at <= end) {
            self.pass_to(next);
            self.core.handle(Input::Tick, self.now);
            self.settle();
        }
        self.pass_to(end);
        self.core.handle(Input::Tick, self.now);
        self.settle();
    }
    pub fn run_secs(&mut self, seconds: u64) {
        self.run_for(Duration::from_secs(seconds));
    }
    /// The wall clock is set; nothing else changes.
    pub fn set_wall_clock(&mut self, forward_seconds: i64) {
        self.now.wall.0 += forward_seconds * 1_000_000_000;
    }

    /// `kill -9` of the agent, and a new one, which has not looked yet. Containers live on.
    pub fn crash(&mut self, crash: Crash) {
        self.crash_with(|_| crash);
    }
    /// For each action in work, whether it was done.
    pub fn crash_with(&mut self, mut was_done: impl FnMut(&Action) -> Crash) {
        self.note("the agent dies".to_owned());
        for work in std::mem::take(&mut self.work) {
            if was_done(&work.action) == Crash::AfterEffects && work.done_at.is_some() {
                self.execute(&work);
            }
        }
        // exits while nobody listens are found by a look only
        while self.machine.end_next(self.now).is_some() {}
        self.begin(|record, _| record);
    }
    /// The machine is switched off and on.
    pub fn reboot(&mut self) {
        self.note("the machine boots".to_owned());
        self.work.clear();
        self.machine.boot();
        self.now.mono = MonoTime(500_000_000);
        self.now.wall.0 += 60_000_000_000;
        self.begin(PodRecord::rebooted);
    }
    fn begin(&mut self, convert: impl Fn(PodRecord, Now) -> PodRecord) {
        self.core = NodeCore::new(self.settings.clone());
        self.statuses.clear();
        let mut stored = Vec::new();
        for (record, pod) in self.disk.values() {
            if let Some(text) = record {
                let record: PodRecord =
                    serde_json::from_str(text).expect("a record can be read back");
                stored.push((convert(record, self.now), pod.clone()));
            }
        }
        self.core.restore(stored, self.now);
        self.settle();
        self.tell_leftovers();
    }
    /// What executors hold; a new agent asks them first of all.
    fn tell_leftovers(&mut self) {
        let lost = self.disk.iter().filter(|(_, (record, _))| record.is_none());
        let held = self.machine.parts.iter().map(|(uid, _)| uid);
        let held = held.chain(lost.map(|(uid, _)| uid));
        let held: BTreeSet<PodUid> = held.cloned().collect();
        self.input(Input::Leftovers(held.into_iter().collect()));
    }
    /// What a new agent does next: look, read the sources.
    pub fn recover(&mut self) {
        self.look();
        for pod in self.desired.values().cloned().collect::<Vec<_>>() {
            self.input(Input::Desired(pod));
        }
        self.sources_ready();
    }
    /// An agent that is not simulated here left this record; the next one finds it.
    pub fn store(&mut self, record: PodRecord, pod: &AdmittedPod) {
        let text = serde_json::to_string(&record).expect("a record can be written");
        self.disk
            .insert(pod.uid().clone(), (Some(text), pod.clone()));
    }
    /// The record's file is damaged: it is as if there were none.
    pub fn forget_record(&mut self, pod: &AdmittedPod) {
        if let Some((record, _)) = self.disk.get_mut(pod.uid()) {
            *record = None;
        }
    }

    // what can be seen

    pub fn now(&self) -> Now {
        self.now
    }
    pub fn core(&self) -> &NodeCore {
        &self.core
    }
    pub fn status(&self, pod: &AdmittedPod) -> PodStatus {
        self.statuses
            .get(pod.uid())
            .map(|update| PodStatus::clone(&update.status))
            .unwrap_or_default()
    }
    pub fn update(&self, pod: &AdmittedPod) -> Option<&StatusUpdate> {
        self.statuses.get(pod.uid())
    }
    /// The status in one line; see [`summary()`].
    pub fn line(&self, pod: &AdmittedPod) -> String {
        summary(&self.status(pod))
    }
    pub fn condition(&self, pod: &AdmittedPod, type_: &str) -> PodCondition {
        self.status(pod)
            .conditions
            .into_iter()
            .flatten()
            .find(|c| c.type_ == type_)
            .unwrap_or_default()
    }
    /// Events of the pod since the last call, as `reason: message`.
    pub fn take_events(&mut self, pod: &AdmittedPod) -> Vec<String> {
        let (its, others) = std::mem::take(&mut self.events)
            .into_iter()
            .partition(|(uid, _)| uid == pod.uid());
        self.events = others;
        let its: Vec<(PodUid, Reason)> = its;
        its.into_iter()
            .map(|(_, r)| format!("{}: {}", r.reason, r.message))
            .collect()
    }
    /// What was counted since the last call.
    pub fn take_tallies(&mut self) -> Vec<Tally> {
        std::mem::take(&mut self.tallies)
    }
    /// Actions issued since the last call.
    pub fn take_issued(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.issued)
    }
    /// The same, as short texts: `Start app.0`, `Prepare Network`.
    pub fn take_issued_texts(&mut self) -> Vec<String> {
        self.take_issued().iter().map(text_of).collect()
    }
    /// Actions in work, as short texts.
    pub fn in_work(&self) -> Vec<String> {
        self.work.iter().map(|work| text_of(&work.action)).collect()
    }
    pub fn is_forgotten(&self, pod: &AdmittedPod) -> bool {
        self.core.record(pod.uid()).is_none() && !self.disk.contains_key(pod.uid())
    }
    pub fn key(&self, pod: &AdmittedPod, container: &str, attempt: u32) -> ContainerKey {
        let name = ContainerName::new(container).expect("a container's name");
        ContainerKey::new(pod.uid().clone(), name, pod_model::Attempt(attempt))
    }
    /// What happened last, oldest first.
    pub fn history(&self) -> String {
        self.history
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("\n")
    }
}

fn text_of(action: &Action) -> String {
    match action {
        Action::Prepare { part, .. } => format!("Prepare {part:?}"),
        Action::EnsureImage { container, .. } => format!("EnsureImage {container}"),
        Action::Start { container, .. } => format!("Start {}", container.dir_name()),
        Action::PostStart { container } => format!("PostStart {}", container.dir_name()),
        Action::PreStop { container } => format!("PreStop {}", container.dir_name()),
        Action::Stop { container } => format!("Stop {}", container.dir_name()),
        Action::Kill { container } => format!("Kill {}", container.dir_name()),
        Action::Remove { container } => format!("Remove {}", container.dir_name()),
        Action::Undo { part, .. } => format!("Undo {part:?}"),
        Action::Forget { .. } => "Forget".to_owned(),
    }
}

fn shorten(input: &Input) -> String {
    match input {
        Input::Desired(pod) => format!("desired {}", pod.uid()),
        Input::Observed(observed) => {
            let keys: Vec<String> = observed
                .containers
                .keys()
                .map(ToString::to_string)
                .collect();
            format!("look as of {}: [{}]", observed.as_of.0, keys.join(" "))
        }
        other => format!("{other:?}"),
    }
}
