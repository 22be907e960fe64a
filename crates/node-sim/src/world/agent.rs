//! The worker around the production core, in the order in which `pod_worker` does things: records are written, then statuses are
//! shown, then actions go out. It dies at the points where it is told to.

use super::disk::Stored;
use super::issuing::{text_of, without_try};
use super::probing::Prober;
use super::{Happening, MS, SECOND, World, note};
use crate::kind::{Kind, Moment};
use pod_lifecycle::{Input, NodeCore, PodRecord, Settings};
use pod_model::{
    Action, ContainerKey, ExitSeen, Fact, Failure, MonoTime, Observed, ObservedState, PodUid, Seq,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The slow full listing behind the events, as in `pod_worker`.
const LOOK_EVERY: u64 = 60 * SECOND;
/// How long changes are gathered for the root directory.
const GATHER: u64 = 2 * SECOND;

pub(super) struct Agent {
    pub(super) core: NodeCore,
    pub(super) work: BTreeMap<Action, Work>,
    /// Pods that the source has named to this agent.
    pub(super) told: BTreeSet<PodUid>,
    pub(super) sources_read: bool,
    /// The keeper was heard, and the table of containers is whole.
    pub(super) linked: bool,
    look_waits: bool,
    pub(super) looked: bool,
    /// The version of the container host's view.
    pub(super) seq: u64,
    /// Kinds of the answers that the core has and nothing was written of.
    answered: Vec<Kind>,
    /// What failed and did not succeed since, by its key without the number of the try.
    pub(super) failed: BTreeMap<Action, Failed>,
    /// Hooks that were answered.
    pub(super) hooks_run: BTreeSet<Action>,
    pub(super) prober: Prober,
    /// Whether the readiness gate of a pod was open when this agent was told of it.
    pub(super) gates: BTreeMap<PodUid, bool>,
}

/// How often something failed in a row, and when it may be tried again.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Failed {
    times: u32,
    pub(super) again_from: MonoTime,
}

/// An action that an executor has.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) token: u64,
    pub(super) hangs: bool,
    pub(super) takes: u64,
    pub(super) fails: Option<(Failure, bool)>,
    /// It waits for its turn to pull.
    pub(super) waits_for_pull: bool,
    pub(super) broken_off: bool,
    /// It is done, and its answer is on the way.
    pub(super) done: bool,
}

impl Agent {
    /// Whether a look had to wait for the keeper; it does not any more.
    pub(super) fn stops_waiting(&mut self) -> bool {
        std::mem::take(&mut self.look_waits)
    }
}

impl World<'_> {
    pub(super) fn begin_agent(&mut self) {
        if self.agent.is_some() {
            return;
        }
        self.life += 1;
        let now = self.now();
        let node = &self.history.node;
        let settings = Settings {
            host_ips: vec!["192.0.2.1".to_owned()],
            max_container_restart_period: Duration::from_secs(node.longest_back_off_seconds),
            kernel_slots: node.kernel_slots,
            max_parallel_image_pulls: node.pulls,
            check: true,
            node: self.admitting_node(),
        };
        let stored = self.disk.load();
        let life = self.life;
        self.truth.agent_begins();
        note!(self, "agent {life} begins, {} pods on disk", stored.len());
        let mut restored = Vec::new();
        for Stored {
            pod,
            record,
            from_earlier_boot,
        } in stored
        {
            let uid = pod.uid().clone();
            if let Some(record) = &record {
                self.truth.found(&uid, record.first_seen.wall);
            }
            let was_read = record.as_ref().map(reread);
            let is_old = self.disk.stale.contains(&uid);
            if was_read.is_none() || is_old {
                self.figures.records_lost += 1;
                self.truth.found_damaged(&uid);
            }
            let record = was_read.unwrap_or_else(|| PodRecord::new(&pod, now));
            let record = if from_earlier_boot {
                record.rebooted(now)
            } else {
                record
            };
            self.truth.life(&uid).deleted = record.deleted;
            restored.push((record, pod));
        }
        for (uid, life) in &mut self.truth.lives {
            let is_known = restored.iter().any(|(record, _)| record.uid == *uid);
            if !is_known {
                // its files were never written, or are damaged
                life.tainted = true;
                life.deleted = false;
            }
        }
        for process in self.kernel.processes.values_mut() {
            process.noted = false;
        }
        if self.disk.has_pending() && !self.flush_is_due {
            self.flush_is_due = true;
            self.after(GATHER, Happening::Flush);
        }
        let mut core = NodeCore::deciding_by(self.decide, settings);
        core.restore(restored, now);
        self.agent = Some(Agent {
            core,
            work: BTreeMap::new(),
            told: BTreeSet::new(),
            sources_read: false,
            linked: false,
            look_waits: false,
            looked: false,
            seq: 0,
            answered: Vec::new(),
            failed: BTreeMap::new(),
            hooks_run: BTreeSet::new(),
            prober: Prober::default(),
            gates: BTreeMap::new(),
        });
        let mut chance = self.chance("begin");
        self.after(0, Happening::Leftovers { life });
        let link = chance.below(200) * MS;
        let link_at = (self.t + link).max(self.keeper_back_at.unwrap_or(0));
        self.schedule(link_at, Happening::LinkUp { life });
        self.after(0, Happening::Look { life });
        let read = chance.pick(&[1, 1, 5, 50, 300, 3_000, 20_000]) * MS;
        let read = if self.calm { read.min(50 * MS) } else { read };
        self.after(read, Happening::SourcesRead { life });
        self.settle();
    }

    /// The container host knows everything: what it finds, it counts; exits that nobody heard of are told.
    pub(super) fn link_up(&mut self) {
        let found = self.kernel.processes.len() as u64;
        let Some(agent) = &mut self.agent else { return };
        agent.linked = true;
        agent.seq += found;
        let waits = agent.stops_waiting();
        self.tell_unheard_exits();
        if waits {
            self.look();
        }
    }

    pub(super) fn input(&mut self, input: Input) {
        self.figures.inputs += 1;
        let now = self.now();
        if let Some(agent) = &mut self.agent {
            agent.core.handle(input, now);
        }
    }
    pub(super) fn tick(&mut self) {
        let mono = self.now().mono;
        let is_due = self
            .agent
            .as_ref()
            .and_then(|agent| agent.core.next_wake())
            .is_some_and(|at| at <= mono);
        if is_due {
            self.input(Input::Tick);
        }
    }

    pub(super) fn tell_leftovers(&mut self) {
        let uids: BTreeSet<PodUid> = self
            .kernel
            .uids()
            .chain(self.disk.uids())
            .cloned()
            .collect();
        note!(self, "leftovers {uids:?}");
        self.input(Input::Leftovers(uids.into_iter().collect()));
    }

    /// Takes what has to be looked at now and shows it a little later.
    pub(super) fn look(&mut self) {
        let (life, keeper_is_down) = (self.life, self.keeper_back_at.is_some());
        let Some(agent) = &mut self.agent else { return };
        if !agent.linked || keeper_is_down {
            agent.look_waits = true;
            return;
        }
        let observed = self.kernel.observe(Seq(agent.seq));
        self.after(LOOK_EVERY, Happening::Look { life });
        let weather = self.history.weather;
        if self.is_bad_weather(weather.look_lost, "look lost") {
            note!(self, "a look is lost");
            return;
        }
        let late = if self.is_bad_weather(weather.look_late, "look late") {
            self.chance("how late").pick(&[100, 3_000, 30_000, 90_000]) * MS
        } else {
            self.chance("look").below(5) * MS
        };
        self.after(late, Happening::LookTold { life, observed });
    }
    pub(super) fn look_told(&mut self, observed: Observed) {
        note!(
            self,
            "look as of {}: {}",
            observed.as_of.0,
            observed
                .containers
                .iter()
                .map(|(key, c)| format!("{key} {}", word(&c.state)))
                .collect::<Vec<_>>()
                .join(", ")
        );
        if let Some(agent) = &mut self.agent {
            agent.looked = true;
        }
        for (key, container) in &observed.containers {
            if container.state != ObservedState::Created && self.truth.known_attempt(key).is_some()
            {
                self.truth.attempt(key).known.made = true;
            }
        }
        self.input(Input::Observed(observed));
    }

    /// The container host hears of an exit, and tells it.
    pub(super) fn tell_unheard_exits(&mut self) {
        let keeper_is_down = self.keeper_back_at.is_some();
        let life = self.life;
        let Some(agent) = self.agent.as_mut().filter(|a| a.linked && !keeper_is_down) else {
            return;
        };
        let mut heard = Vec::new();
        for (key, process) in &mut self.kernel.processes {
            let Some(exit) = process.exit.clone().filter(|_| !process.noted) else {
                continue;
            };
            process.noted = true;
            agent.seq += 1;
            heard.push(ExitSeen {
                container: key.clone(),
                exit,
                seq: Seq(agent.seq),
                last_words: None,
            });
        }
        let weather = self.history.weather;
        for seen in heard {
            if self.is_bad_weather(weather.exit_lost, "exit lost") {
                note!(self, "the exit of {} is not told", seen.container);
                continue;
            }
            if self.is_bad_weather(weather.exit_twice, "exit twice") {
                let again = self.chance("again").pick(&[1, 100, 10_000, 100_000]) * MS;
                let seen = seen.clone();
                self.after(again, Happening::ExitTold { life, seen });
            }
            let late = if self.is_bad_weather(weather.exit_late, "exit late") {
                self.chance("how late").pick(&[3, 300, 5_000, 70_000]) * MS
            } else {
                self.chance("exit").below(MS)
            };
            self.after(late, Happening::ExitTold { life, seen });
        }
    }
    pub(super) fn exit_told(&mut self, seen: ExitSeen) {
        note!(
            self,
            "exit told: {} code {} {:?}",
            seen.container,
            seen.exit.code,
            seen.exit.cause
        );
        if self.truth.known_attempt(&seen.container).is_some() {
            self.truth.attempt(&seen.container).known.made = true;
        }
        self.input(Input::Exit(seen.clone()));
        self.judge_exit_told(&seen);
    }

    pub(super) fn pull_wanted(&mut self, action: Action) {
        self.input(Input::PullWanted(action));
    }

    pub(super) fn answered(&mut self, fact: Fact) {
        note!(
            self,
            "answer: {} {}",
            text_of(&fact.key),
            match &fact.outcome {
                Ok(_) => "ok".to_owned(),
                Err(failure) => format!("{:?}", failure.reason),
            }
        );
        let mut is_broken_off = false;
        if let Some(agent) = &mut self.agent {
            let work = agent.work.remove(&fact.key);
            is_broken_off = work.is_some_and(|work| work.broken_off);
            agent.answered.push(Kind::of(&fact.key));
        }
        if fact.outcome.is_err() {
            self.figures.failed_actions += 1;
        }
        if !is_broken_off {
            self.hook_answered(&fact);
        }
        if let (Action::Start { container, .. }, Ok(_)) = (&fact.key, &fact.outcome) {
            self.truth.attempt(container).known.made = true;
        }
        // of a former life, perhaps, while the next one waits to begin the same
        if !is_broken_off {
            self.note_failure(&fact);
        }
        let is_forgotten = match &fact.key {
            Action::Forget { pod } if fact.outcome.is_ok() => Some(pod.clone()),
            _ => None,
        };
        self.input(Input::Fact(fact));
        if let Some(uid) = is_forgotten {
            self.life_is_over(&uid);
        }
    }

    fn hook_answered(&mut self, fact: &Fact) {
        let (Action::PostStart { container } | Action::PreStop { container }) = &fact.key else {
            return;
        };
        if let Some(agent) = &mut self.agent {
            agent.hooks_run.insert(fact.key.clone());
        }
        if !matches!(fact.key, Action::PostStart { .. }) {
            return;
        }
        let plan = self.plan_of(container);
        let is_planned = plan.is_some_and(|c| c.program(container.attempt.0).post_start_fails);
        let has_failed = fact.outcome.is_err();
        let attempt = self.truth.attempt(container);
        attempt.failed |= has_failed;
        self.truth.life(&container.pod).disturbed |= has_failed && !is_planned;
    }

    fn note_failure(&mut self, fact: &Fact) {
        let now = self.now().mono;
        let Some(agent) = &mut self.agent else { return };
        let record = agent.core.record(fact.key.pod());
        if record.is_none_or(|record| !record.in_flight.contains(&fact.key)) {
            return;
        }
        let what = without_try(&fact.key);
        match &fact.outcome {
            Ok(_) => {
                agent.failed.remove(&what);
                if let Action::Forget { pod } = &what {
                    agent.failed.retain(|other, _| other.pod() != pod);
                }
            }
            Err(failure) => {
                let (first, longest) = match Kind::of(&what) {
                    // a kubelet's back-off for pulls is forgotten at times; it is never shorter than this
                    Kind::EnsureImage => (10, 10),
                    Kind::Start => (10, 60),
                    // signals are sent when they are due, and sent again
                    Kind::PostStart | Kind::PreStop | Kind::Stop | Kind::Kill => (0, 0),
                    Kind::Prepare(_) | Kind::Undo(_) | Kind::Remove | Kind::Forget => (1, 30),
                };
                let failed = agent.failed.entry(what).or_default();
                let wait = (first << failed.times.min(8)).min(longest);
                let wait = Duration::from_secs(wait).max(failure.retry_after.unwrap_or_default());
                failed.times += 1;
                failed.again_from = now.plus(wait);
            }
        }
    }

    /// Everything that the core wants now.
    pub(super) fn settle(&mut self) {
        let Some(agent) = &mut self.agent else { return };
        let core = &mut agent.core;
        let records: Vec<PodUid> = std::iter::from_fn(|| core.poll_record()).collect();
        let updates: Vec<_> = std::iter::from_fn(|| core.poll_publish()).collect();
        let reasons: Vec<_> = std::iter::from_fn(|| core.poll_reason()).collect();
        let actions: Vec<Action> = std::iter::from_fn(|| core.poll_action()).collect();
        let pulls: Vec<Action> = std::iter::from_fn(|| core.poll_pull()).collect();
        let cancels: Vec<Action> = std::iter::from_fn(|| core.poll_cancel()).collect();
        let violation = core.poll_violation();
        let answered = std::mem::take(&mut agent.answered);

        for (uid, reason) in reasons {
            note!(self, "  {uid} {}: {}", reason.reason, reason.message);
        }
        if let Some(violation) = violation {
            return self.find(violation.rule, || violation.to_string());
        }
        for kind in answered {
            if self.dies_at(kind, Moment::Answered) {
                return;
            }
        }
        for action in &actions {
            let Some(armed) = self.falls_due(Kind::of(action), Moment::Decided) else {
                continue;
            };
            // records of other pods may have been written before
            let written = self.chance("written").index(records.len());
            for uid in records.iter().take(written).filter(|u| *u != action.pod()) {
                self.persist(uid);
            }
            return self.dies_of(armed);
        }
        for uid in &records {
            self.persist(uid);
        }
        for action in &actions {
            if self.dies_at(Kind::of(action), Moment::Recorded) {
                return;
            }
        }
        for update in updates {
            self.published(&update);
        }
        for uid in &records {
            self.probe(uid);
        }
        for action in actions {
            let kind = Kind::of(&action);
            self.issue(action);
            if self.finding.is_some() || self.dies_at(kind, Moment::Issued) {
                return;
            }
        }
        self.judge_room();
        for action in pulls {
            self.begin_pull(action);
        }
        for action in cancels {
            self.break_off(&action);
        }
    }

    fn persist(&mut self, uid: &PodUid) {
        let Some(agent) = &self.agent else { return };
        self.figures.records += 1;
        // one that was told while the former pod of this uid went away
        let pod = agent.core.pod(uid);
        if let Some(pod) = pod.filter(|pod| self.disk.has_other_pod(pod)) {
            self.disk.save_pod(pod);
        }
        match agent.core.record(uid) {
            Some(record) => {
                self.disk.save_record(record);
                let record = record.clone();
                if !self.disk.run_full {
                    self.truth.life(uid).is_written();
                }
                self.recorded(&record);
            }
            None => self.disk.remove(uid),
        }
        if self.disk.has_pending() && !self.flush_is_due {
            self.flush_is_due = true;
            self.after(GATHER, Happening::Flush);
        }
    }

    /// `kill -9`. What executors had in work was done, half done or not begun.
    pub(super) fn agent_dies(&mut self, down_ms: u64) {
        let Some(agent) = self.agent.take() else {
            return;
        };
        note!(self, "the agent dies");
        self.figures.crashes += 1;
        self.disk.agent_died();
        for (action, work) in agent.work {
            if work.hangs || work.waits_for_pull || work.broken_off || work.done {
                continue;
            }
            match self.chance(&("crash", &action)).below(4) {
                0 => {
                    self.leave_half(&action);
                }
                1 if work.fails.is_none() => {
                    // done, and nobody hears of it
                    let _ = self.carry_out(&action, false);
                }
                _ => {}
            }
        }
        self.after(down_ms * MS, Happening::AgentBegins);
    }

    /// Containers whose end no agent has written down: when the machine dies, nobody will ever know it.
    pub(super) fn unwritten_ends(&self) -> Vec<ContainerKey> {
        let records = self.disk.root.values().filter_map(|f| f.record.as_ref());
        let live = records.flat_map(|record| {
            record.containers.iter().filter_map(|container| {
                let attempt = container.state.live_attempt()?;
                let (uid, name) = (record.uid.clone(), container.name.clone());
                Some(ContainerKey::new(uid, name, attempt))
            })
        });
        live.collect()
    }
}

/// As it comes back from a file.
fn reread(record: &PodRecord) -> PodRecord {
    let text = serde_json::to_vec(record).unwrap_or_default();
    // a record that cannot be read back is a defect that no history can miss
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("a record cannot be read: {error}"))
}

fn word(state: &ObservedState) -> &'static str {
    match state {
        ObservedState::Created => "made",
        ObservedState::Running { .. } => "runs",
        ObservedState::Exited(_) => "ended",
    }
}
