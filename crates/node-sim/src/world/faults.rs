//! What the history does to the node: manifests come and go, and things break.

use super::disk::Files;
use super::{ActiveTrouble, Armed, Happening, MS, World, note};
use crate::history::{Edit, Op};
use crate::truth::{End, Holds};
use pod_lifecycle::Input;
use pod_model::{Action, Attempt, ContainerKey, PodUid};
use std::time::Duration;

/// A kubelet's `minimumGracePeriodInSeconds`.
pub(super) const LEAST_GRACE: Duration = Duration::from_secs(2);

impl World<'_> {
    pub(super) fn operate(&mut self, index: usize) {
        let history = self.history;
        let Some((_, op)) = history.ops.get(index) else {
            return;
        };
        note!(self, "--- {op:?}");
        match op {
            Op::Write(pod) => self.write(*pod),
            Op::Take { pod, grace_seconds } => self.take(*pod, *grace_seconds),
            Op::Hurry { pod, grace_seconds } => self.hurry(*pod, *grace_seconds),
            Op::TellAgain(pod) => self.tell_again(*pod),
            Op::Edit { pod, what } => self.edit(*pod, *what),
            Op::Evict(pod) => self.evict(*pod),
            Op::BringImage(image) => self.bring_image(image),
            Op::Trouble { kind, what, times } => self.troubles.push(ActiveTrouble {
                kind: *kind,
                what: *what,
                left: *times,
            }),
            Op::Mend => self.mend(),
            Op::CrashAt {
                point,
                skip,
                down_ms,
            } => self.armed.push(Armed {
                point: *point,
                skip: *skip,
                down_ms: *down_ms,
            }),
            Op::Crash { down_ms } => self.agent_dies(*down_ms),
            Op::Reboot { down_ms } => self.reboot(*down_ms),
            Op::KeeperDies { down_ms } => {
                let back_at = self.t + down_ms * MS;
                if self.keeper_back_at.is_none() {
                    self.keeper_back_at = Some(back_at);
                    self.schedule(back_at, Happening::KeeperBack);
                }
            }
            Op::Vanish(nth) => self.vanish(*nth),
            Op::DamageRecord(pod) => self.disk.damage_record(self.pods[*pod].uid()),
            Op::DamagePod(pod) => self.disk.damage_pod(self.pods[*pod].uid()),
            Op::DiskFull { run, root } => {
                (self.disk.run_full, self.disk.root_full) = (*run, *root);
            }
            Op::DiskFree => (self.disk.run_full, self.disk.root_full) = (false, false),
            Op::DeleteImage(image) => {
                self.kernel.images.remove(image);
            }
            Op::StepClock { seconds } => {
                self.wall_offset += seconds * 1_000_000_000;
                self.clock_stepped = true;
            }
        }
    }

    /// The manifest of a static pod takes the place of the one of that name.
    fn write(&mut self, index: usize) {
        let plan = &self.history.pods[index];
        if !plan.from_api {
            let pods = &self.history.pods;
            self.source.wanted.retain(|_, other| {
                *other == index || pods[*other].from_api || pods[*other].name != plan.name
            });
        }
        let uid = self.pods[index].uid().clone();
        self.source.wanted.insert(uid, index);
        self.source_changed();
    }
    fn take(&mut self, index: usize, grace_seconds: Option<u64>) {
        let uid = self.pods[index].uid().clone();
        self.source.wanted.remove(&uid);
        let is_static = !self.history.pods[index].from_api;
        match grace_seconds.filter(|_| !is_static) {
            Some(grace) => self.source.graces.insert(uid, grace),
            None => self.source.graces.remove(&uid),
        };
        self.source_changed();
    }
    fn source_changed(&mut self) {
        let life = self.life;
        let soon = self.chance("source").pick(&[0, 1, 20, 400]) * MS;
        self.after(soon, Happening::SourceTold { life });
    }

    /// A source is followed by its newest state: what is in between is never seen.
    pub(super) fn tell_source(&mut self) {
        let Some(agent) = self.agent.as_ref().filter(|a| a.sources_read) else {
            return;
        };
        let wanted = &self.source.wanted;
        let gone: Vec<PodUid> = agent
            .told
            .iter()
            .filter(|uid| !wanted.contains_key(*uid))
            .cloned()
            .collect();
        let new: Vec<usize> = wanted
            .iter()
            .filter(|(uid, _)| !agent.told.contains(*uid))
            .map(|(_, index)| *index)
            .collect();
        for uid in gone {
            let grace = self.source.graces.get(&uid).copied();
            self.tell_deleted(&uid, grace);
        }
        for index in new {
            self.tell_desired(index);
        }
    }
    pub(super) fn sources_read(&mut self) {
        if let Some(agent) = &mut self.agent {
            agent.sources_read = true;
        }
        self.tell_source();
        let unwanted: Vec<PodUid> = self
            .agent
            .iter()
            .flat_map(|a| a.core.uids().filter(|uid| !a.told.contains(*uid)))
            .cloned()
            .collect();
        for uid in &unwanted {
            self.is_to_go(uid, None);
        }
        note!(self, "sources ready, unwanted {unwanted:?}");
        self.input(Input::SourcesReady);
    }

    fn tell_desired(&mut self, index: usize) {
        let pod = self.pods[index].clone();
        note!(self, "desired {}", pod.uid());
        let Some(agent) = &mut self.agent else { return };
        agent.told.insert(pod.uid().clone());
        let is_new = agent.core.pod(pod.uid()).is_none();
        if is_new {
            self.disk.save_pod(&pod);
        }
        let edited = self.edited[index];
        agent.gates.insert(pod.uid().clone(), edited.gate_is_open);
        let goes = agent.core.record(pod.uid()).is_some_and(|r| r.deleted);
        let life = self.truth.life(pod.uid());
        life.told = true;
        if !life.deleted || !life.begun {
            life.has_deadline(edited.deadline_seconds);
        }
        if !life.begun && !goes {
            life.deleted = false;
            life.ends_itself = false;
            life.kill_from = None;
        }
        self.note_images(&pod);
        let before = self
            .agent
            .as_ref()
            .and_then(|a| a.core.pod(pod.uid()))
            .cloned();
        self.input(Input::Desired(pod.clone()));
        let taken = self.agent.as_ref().and_then(|a| a.core.pod(pod.uid()));
        if !is_new && taken == Some(&pod) && taken != before.as_ref() {
            self.disk.save_pod(&pod);
        }
    }
    fn tell_deleted(&mut self, uid: &PodUid, grace_seconds: Option<u64>) {
        note!(self, "deleted {uid} {grace_seconds:?}");
        let grace = self.is_to_go(uid, grace_seconds);
        self.has_to_go_within(uid, grace, &self.starting());
        if let Some(agent) = &mut self.agent {
            // whoever wants it again has to say so again
            agent.told.remove(uid);
        }
        self.input(Input::Deleted {
            uid: uid.clone(),
            grace: grace_seconds.map(Duration::from_secs),
        });
    }
    /// What the rules say from now on of a pod that goes. How much time it has.
    fn is_to_go(&mut self, uid: &PodUid, grace_seconds: Option<u64>) -> Duration {
        let mono = self.now().mono;
        let spec = self.pods.iter().find(|pod| pod.uid() == uid);
        let grace = match grace_seconds {
            Some(0) => Duration::ZERO,
            Some(seconds) => Duration::from_secs(seconds).max(LEAST_GRACE),
            None => spec.map_or(Duration::ZERO, |pod| pod.grace_period().max(LEAST_GRACE)),
        };
        let (agent, looked) = (
            self.life,
            self.agent.as_ref().is_some_and(|agent| agent.looked),
        );
        let starting = self.starting();
        let ends_itself = self.ends_itself(uid) || self.may_be_past_deadline(uid);
        let life = self.truth.life(uid);
        let is_cut_short = life.evicted.max(life.preempted) != Holds::No;
        let ends_itself = ends_itself || is_cut_short;
        let is_first = !std::mem::replace(&mut life.deleted, true);
        let from = mono.plus(grace);
        life.ends_itself |= is_first && ends_itself;
        life.kill_from = Some(life.kill_from.map_or(from, |at| at.min(from)));
        if grace.is_zero() {
            // who waited for a hook or for its turn is not told any more
            life.deleted_to = None;
        }
        if !is_first || !looked || grace.is_zero() {
            return grace;
        }
        life.deleted_to = Some(agent);
        for (name, container) in &mut life.containers {
            for (number, attempt) in &mut container.attempts {
                let key = ContainerKey::new(uid.clone(), name.clone(), Attempt(*number));
                let runs = attempt.executed && attempt.end.is_none();
                let has_time = !life.ends_itself && !starting.contains(&key);
                attempt.has_to_be_told |= runs && has_time;
            }
        }
        grace
    }
    /// What runs of it and is known to run is killed by then, if this agent lives.
    pub(super) fn has_to_go_within(
        &mut self,
        uid: &PodUid,
        grace: Duration,
        starting: &[ContainerKey],
    ) {
        let life = self.life;
        if !self.agent.as_ref().is_some_and(|agent| agent.looked) {
            return;
        }
        let truth = self.truth.life(uid);
        truth.told_to_go = Some(life);
        for (name, container) in &mut truth.containers {
            for (number, attempt) in &mut container.attempts {
                let key = ContainerKey::new(uid.clone(), name.clone(), Attempt(*number));
                attempt.has_to_go |= attempt.lives() && !starting.contains(&key);
            }
        }
        let nanos = u64::try_from((grace + LEAST_GRACE).as_nanos()).unwrap_or(u64::MAX);
        let uid = uid.clone();
        self.after(nanos + 1_000 * MS, Happening::GraceIsOver { life, uid });
    }

    fn edit(&mut self, index: usize, what: Edit) {
        let plan = &self.history.pods[index];
        if !plan.from_api {
            return;
        }
        self.edited[index].edit(what);
        self.pods[index] = plan.pod(self.edited[index]);
        self.tell_again(index);
    }

    fn evict(&mut self, index: usize) {
        let uid = self.pods[index].uid().clone();
        let is_known = |agent: &super::agent::Agent| agent.core.record(&uid).is_some();
        if !self.agent.as_ref().is_some_and(is_known) {
            return;
        }
        let is_over = self
            .truth
            .lives
            .get(&uid)
            .is_none_or(|l| l.deleted || l.phase >= 2);
        if !is_over {
            let goes_on = !self.ends_itself(&uid) && !self.may_be_past_deadline(&uid);
            let from = self.now().mono.plus(LEAST_GRACE);
            let life = self.truth.life(&uid);
            if goes_on && life.preempted == Holds::No {
                life.evicted = Holds::Yes;
                life.kill_from = Some(life.kill_from.map_or(from, |at| at.min(from)));
                self.has_to_go_within(&uid, LEAST_GRACE, &self.starting());
            } else {
                life.evicted = life.evicted.max(Holds::Maybe);
            }
        }
        let message = "as the history says".to_owned();
        self.input(Input::Evicted { uid, message });
    }

    fn bring_image(&mut self, image: &str) {
        self.kernel.images.insert(image.to_owned());
        if let Some(agent) = &mut self.agent {
            // what was looked for in vain is looked for again
            agent
                .failed
                .retain(|action, _| !matches!(action, Action::EnsureImage { .. }));
        }
        self.input(Input::ImagesCame);
    }

    pub(super) fn starting(&self) -> Vec<ContainerKey> {
        let work = self.agent.iter().flat_map(|agent| agent.work.keys());
        work.filter_map(|action| match action {
            Action::Start { container, .. } => Some(container.clone()),
            _ => None,
        })
        .collect()
    }

    fn hurry(&mut self, index: usize, grace_seconds: u64) {
        let uid = self.pods[index].uid().clone();
        let goes = self
            .agent
            .as_ref()
            .is_some_and(|a| a.core.record(&uid).is_some_and(|r| r.deleted));
        if goes && !self.source.wanted.contains_key(&uid) {
            self.tell_deleted(&uid, Some(grace_seconds));
        }
    }
    fn tell_again(&mut self, index: usize) {
        let uid = self.pods[index].uid().clone();
        let told = self.agent.as_ref().is_some_and(|a| a.told.contains(&uid));
        if told {
            self.tell_desired(index);
        }
    }

    fn reboot(&mut self, down_ms: u64) {
        self.figures.reboots += 1;
        self.disk.agent_died();
        self.agent = None;
        // root may hold what was forgotten a moment ago
        for uid in self.disk.root.keys() {
            let ghost = !self.truth.lives.contains_key(uid);
            let life = self.truth.life(uid);
            life.told = true;
            life.tainted |= ghost;
        }
        let at = self.now().mono;
        for key in self.unwritten_ends() {
            let attempt = self.truth.attempt(&key);
            attempt.is_recorded();
            attempt.end = Some(End {
                code: 137,
                at,
                unknown: true,
            });
        }
        self.truth.rebooted(at);
        for (uid, life) in &mut self.truth.lives {
            let (run, root) = (self.disk.run.get(uid), self.disk.root.get(uid));
            let record = |files: Option<&Files>| files.and_then(|files| files.record.clone());
            let is_copied = record(run) == record(root)
                && run
                    .is_none_or(|run| run.pod.is_none() || root.is_some_and(|r| r.pod == run.pod));
            life.tainted |= !is_copied || self.disk.stale.contains(uid);
        }
        self.disk.rebooted();
        self.kernel.rebooted();
        self.keeper_back_at = None;
        self.t += down_ms * MS;
        self.booted_at = self.t;
        self.schedule(self.t, Happening::AgentBegins);
    }

    pub(super) fn keeper_is_back(&mut self) {
        if self.keeper_back_at.is_some_and(|at| at <= self.t) {
            self.keeper_back_at = None;
            note!(self, "another keeper answers");
            self.tell_unheard_exits();
            let waits = self
                .agent
                .as_mut()
                .is_some_and(|a| a.linked && a.stops_waiting());
            if waits {
                self.look();
            }
        }
    }

    /// It ends, and nobody and nothing tells how.
    fn vanish(&mut self, nth: usize) {
        let keys: Vec<_> = self.kernel.living().map(|(key, _)| key.clone()).collect();
        if keys.is_empty() {
            return;
        }
        let key = &keys[nth % keys.len()];
        note!(self, "{key} vanishes");
        self.kernel.processes.remove(key);
        if let Some(agent) = &mut self.agent {
            agent.seq += 1;
        }
        let at = self.now().mono;
        self.truth.attempt(key).vanished = true;
        self.truth.ended(
            key,
            End {
                code: 137,
                at,
                unknown: true,
            },
        );
    }

    /// Nothing fails, is slow or hangs any more.
    pub(super) fn mend(&mut self) {
        self.troubles.clear();
        let Some(agent) = &mut self.agent else { return };
        let hanging: Vec<_> = agent
            .work
            .iter_mut()
            .filter_map(|(action, work)| {
                let hung = std::mem::take(&mut work.hangs);
                hung.then(|| (action.clone(), work.waits_for_pull))
            })
            .collect();
        for (action, waits_for_pull) in hanging {
            if !waits_for_pull {
                let token = self.effect_after(MS, &action);
                self.set_token(&action, token);
            }
        }
    }
}
